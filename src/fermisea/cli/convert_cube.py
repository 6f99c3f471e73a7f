"""``fermisea convert cube``, and functions shared by the conversions."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import fermisea
from fermisea.cli.common import Json, print_json, pseudopotential_files
from fermisea.terminal import facts, stdout

if TYPE_CHECKING:
    from fermisea.data.snapshot import Snapshot
    from fermisea.physics.ions import Ion

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replacement of existing files.")]

_UNKNOWN_CORE = (
    "the pseudopotentials were not given, so their core charge is unknown; convert again with --pseudopotentials"
)


class Smearing(StrEnum):
    """Smearing of an SCF run, which defines the kernel of pp.x."""

    FERMI_DIRAC = "fermi-dirac"
    GAUSSIAN = "gaussian"
    METHFESSEL_PAXTON = "methfessel-paxton"


class Constants(StrEnum):
    """Sets of physical constants."""

    CODATA2018 = "codata2018"
    MALA = "mala"


def cube(
    source: Annotated[
        list[Path],
        typer.Argument(help="Cube files of an LDOS, one for each energy, or a folder of them; or a snapshot (*.nc)."),
    ],
    out: Annotated[
        Path,
        typer.Option(help="Output: snapshot (*.nc) for cube files, folder for a snapshot.", show_default=False),
    ],
    electron_temperature: Annotated[
        float | None, typer.Option(help="Electronic temperature of the DFT run, K; required for cube files.")
    ] = None,
    pseudopotentials: Annotated[
        list[str] | None,
        typer.Option(
            help="Pseudopotentials: gth, or SYMBOL=FILE (UPF) for each element.  [dim]\\[default: none, --valence is "
            "required][/]"
        ),
    ] = None,
    valence: Annotated[
        list[str] | None,
        typer.Option(
            help="Number of valence electrons of each element, SYMBOL=NUMBER; replaces --pseudopotentials, without "
            "total energies."
        ),
    ] = None,
    functional: Annotated[
        str, typer.Option(help="Exchange-correlation functional of the DFT run: lda, pz, pbe or pbesol.")
    ] = "pbe",
    energies: Annotated[
        tuple[float, float, int] | None,
        typer.Option(help="Energy grid: START (eV) SPACING (eV) SIZE.  [dim]\\[default: from the files][/]"),
    ] = None,
    smearing: Annotated[
        Smearing, typer.Option(help="Smearing of the SCF run, the kernel of pp.x.")
    ] = Smearing.FERMI_DIRAC,
    broadening: Annotated[
        float | None, typer.Option(help="Broadening (standard deviation), eV.  [dim]\\[default: from --smearing][/]")
    ] = None,
    density: Annotated[
        Path | None, typer.Option(help="Cube file of the valence density.  [dim]\\[default: from the LDOS][/]")
    ] = None,
    structure: Annotated[
        Path | None,
        typer.Option(
            help="Structure file with more digits than the cube files.  [dim]\\[default: from the cube files][/]"
        ),
    ] = None,
    ion_temperature: Annotated[
        float | None, typer.Option(help="Ionic temperature (tau_i), K.  [dim]\\[default: unknown][/]")
    ] = None,
    constants: Annotated[
        Constants, typer.Option(help="Physical constants for the conversion of bohr and Ry.")
    ] = Constants.CODATA2018,
    energy: Annotated[
        float | None, typer.Option(help="Single energy of the LDOS to write, eV.  [dim]\\[default: all][/]")
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Make a snapshot from cube files of pp.x (plot_num=3), or write the fields of a snapshot as cube files.

    Example: [bold]fermisea convert cube cubes/ --electron-temperature 300 --pseudopotentials Be=Be.upf --out be.nc[/]

    Example: [bold]fermisea convert cube data/al-300K-00.nc --out cubes/[/]
    """
    if [path.suffix for path in source] == [".nc"]:
        files = _write(fermisea.Snapshot.load(source[0]), out, energy, overwrite=overwrite)
        show_files(files, out, json=json)
        return
    from fermisea.interop.cube import read_cube  # noqa: PLC0415
    from fermisea.interop.cube_snapshot import snapshot_from_cubes  # noqa: PLC0415
    from fermisea.interop.ldos_cubes import cube_files  # noqa: PLC0415
    from fermisea.physics.broadening import Broadening  # noqa: PLC0415  # not needed for --help

    check_output(out, ".nc", overwrite=overwrite)
    if electron_temperature is None:
        raise fermisea.InputError(
            "--electron-temperature: missing, but required for cube files; give tau_e of the DFT run in K"
        )
    files = cube_files(source[0] if len(source) == 1 and source[0].is_dir() else source)
    symbols = sorted(set(read_cube(files[0]).atoms.symbols))
    ions, obstacle = _ions(symbols, pseudopotentials, valence, functional)
    snapshot = snapshot_from_cubes(
        files,
        electron_temperature=electron_temperature,
        ions=ions,
        functional=functional,
        energy_grid=None if energies is None else fermisea.EnergyGrid(*energies),
        smearing=smearing.value,
        broadening=None if broadening is None else Broadening("as given", broadening),
        density=density,
        atoms=None if structure is None else fermisea.structures.read_structure(structure),
        ion_temperature=ion_temperature,
        total_energy_obstacle=obstacle,
        constants=constants.value,
    )
    snapshot.save(out)
    show_snapshot(snapshot, out, json=json)


def check_output(out: Path, ending: str, *, overwrite: bool) -> None:
    """Raises InputError if the suffix of a file name is wrong or the file exists and must not be replaced."""
    if out.suffix != ending:
        raise fermisea.InputError(f"--out: got {out}, expected a name that ends with {ending}")
    if out.exists() and not overwrite:
        raise fermisea.InputError(f"{out}: the file exists already; choose another name or --overwrite")


def show_files(files: list[Path], out: Path, *, json: bool) -> None:
    """Prints the written files."""
    if json:
        print_json({"files": files})
    else:
        stdout().print(f"{out}: {len(files)} files" if len(files) > 1 else str(files[0]))


def show_snapshot(snapshot: Snapshot, out: Path, *, json: bool) -> None:
    """Prints the content of a converted snapshot."""
    grid = snapshot.energy_grid
    level = snapshot.density_of_states.fermi_level(snapshot.electrons, snapshot.electron_temperature)
    values = {
        "kind": "snapshot",
        "formula": snapshot.atoms.get_chemical_formula(),
        "grid": list(snapshot.grid.shape),
        "energies_eV": {"start": grid.start, "stop": grid.stop, "spacing": grid.spacing, "size": grid.size},
        "broadening_eV": snapshot.broadening.standard_deviation,
        "broadening_kernel": snapshot.broadening.kernel,
        "electron_temperature": snapshot.electron_temperature,
        "electrons": snapshot.electrons,
        "fermi_level_of_ldos_eV": level,
        "closure_error": _closure_error(snapshot),
        "obstacle_to_total_energies": snapshot.total_energy_obstacle,
        "file": out,
    }
    if json:
        print_json(values)
    else:
        stdout().print(facts(str(out), values))


def _closure_error(snapshot: Snapshot) -> float | None:
    """Returns F from the LDOS minus F of the DFT run, eV per atom; None if one of them is unknown."""
    from fermisea.data.closure import closure_error_per_atom  # noqa: PLC0415  # not needed for --help

    try:
        return closure_error_per_atom(snapshot)
    except fermisea.errors.WindowError:  # a warning has said so
        return None


def _ions(
    symbols: list[str], pseudopotentials: list[str] | None, valence: list[str] | None, functional: str
) -> tuple[dict[str, Ion], str | None]:
    """Returns the ion of each element, and the reason why there are no total energies, if any."""
    from fermisea.physics.ions import Ion  # noqa: PLC0415  # not needed for --help

    source = pseudopotential_files(pseudopotentials)
    if source is not None:
        loaded = fermisea.pseudopotentials.load(source, symbols, functional)
        return {symbol: potential.ion for symbol, potential in loaded.items()}, None
    found = {}
    for word in valence or []:
        symbol, _, number = word.partition("=")
        try:
            found[symbol] = Ion(symbol, float(number))
        except ValueError as error:
            raise fermisea.InputError(f"--valence: got {word!r}, expected SYMBOL=ELECTRONS such as Be=2") from error
    missing = [symbol for symbol in symbols if symbol not in found]
    if missing:
        raise fermisea.InputError(
            f"{', '.join(missing)}: number of valence electrons is unknown; give --pseudopotentials "
            f"{missing[0]}=FILE, or --valence {missing[0]}=ELECTRONS"
        )
    return found, _UNKNOWN_CORE


def _write(snapshot: Snapshot, out: Path, energy: float | None, *, overwrite: bool) -> list[Path]:
    from fermisea.interop.cube import write_cube  # noqa: PLC0415  # not needed for --help
    from fermisea.interop.ldos_cubes import write_ldos_cubes  # noqa: PLC0415

    there = sorted(out.glob("*.cube")) if out.is_dir() else [out] * out.exists()
    if there and not overwrite:
        raise fermisea.InputError(f"{there[0]}: the file exists already; choose another folder or --overwrite")
    files = write_ldos_cubes(out, snapshot.atoms, snapshot.ldos, snapshot.energy_grid, energy=energy)
    if energy is None:
        files.append(write_cube(out / "density.cube", snapshot.atoms, snapshot.density, comment="valence density"))
    return files
