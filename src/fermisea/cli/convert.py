"""``fermisea convert``: files of other codes to snapshots and models, and snapshots to files of other codes.

The modules of the formats are imported when a command runs, so that ``--help`` is fast.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import fermisea
from fermisea.cli.common import AllowClosureError, Json, bytes_of, print_json, pseudopotential_files
from fermisea.cli.convert_cube import Overwrite, check_output, cube, show_files, show_snapshot
from fermisea.cli.shell import Command
from fermisea.terminal import facts, progress_bar, stdout

if TYPE_CHECKING:
    from fermisea.data.snapshot import Snapshot

convert = typer.Typer(
    name="convert",
    help="Convert files of other codes to snapshots and models, and snapshots to files of other codes.",
    epilog="Direction: a snapshot (*.nc) is exported to the named format; any other input is imported as a snapshot or "
    "model.",
    rich_markup_mode="rich",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class LayerActivations(StrEnum):
    """Meanings of the activations of a MALA model."""

    AUTO = "auto"
    LEGACY = "legacy"
    CURRENT = "current"


Broadening = Annotated[
    float | None,
    typer.Option(
        help="Broadening of the LDOS (standard deviation), eV, which is not in the files.  [dim]\\[default: from "
        "MALA's usual settings, with a warning][/]"
    ),
]


def mala(
    source: Annotated[
        list[Path],
        typer.Argument(
            help="LDOS.npy (or .h5) and INFO.json; model archive *.zip (and INFO.json); snapshots (*.nc) or their "
            "folder."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="Output: *.nc for an LDOS, *.safetensors for a model, a folder for snapshots.", show_default=False
        ),
    ],
    energies: Annotated[
        tuple[float, float, int] | None,
        typer.Option(help="Energy grid of the LDOS: START (eV) SPACING (eV) SIZE; required for an LDOS."),
    ] = None,
    broadening: Broadening = None,
    density: Annotated[
        Path | None,
        typer.Option(help="MALA's density (*.npy) of the same snapshot.  [dim]\\[default: from the LDOS][/]"),
    ] = None,
    pseudopotentials: Annotated[
        list[str] | None,
        typer.Option(
            help="Pseudopotentials, SYMBOL=FILE (UPF) for each element, for total energies.  [dim]\\[default: none][/]"
        ),
    ] = None,
    ion_temperature: Annotated[
        float | None, typer.Option(help="Ionic temperature (tau_i) of an LDOS, K.  [dim]\\[default: unknown][/]")
    ] = None,
    functional: Annotated[
        str | None,
        typer.Option(
            help="Exchange-correlation functional of the DFT run: lda, pz, pbe or pbesol.  "
            "[dim]\\[default: functional of the pseudopotentials][/]"
        ),
    ] = None,
    units: Annotated[
        str | None, typer.Option(help="Unit of the LDOS in MALA's notation.  [dim]\\[default: 1/(eV*A^3)][/]")
    ] = None,
    layer_activations: Annotated[
        LayerActivations,
        typer.Option(
            help="Convention of layer_activations in the model file: legacy (activation after the last layer too) or "
            "current."
        ),
    ] = LayerActivations.AUTO,
    twojmax: Annotated[int, typer.Option(help="Twice the highest angular momentum of the exported bispectrum.")] = 10,
    cutoff: Annotated[float, typer.Option(help="Cutoff of the exported bispectrum, Å.")] = 4.67637,
    no_xyz: Annotated[
        bool, typer.Option("--no-xyz", help="Exported descriptors without positions in the first three columns.")
    ] = False,
    allow_closure_error: AllowClosureError = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Convert an LDOS or a model of MALA, or export snapshots as a data set for training with MALA.

    Example: [bold]fermisea convert mala Be.out.npy Be.info.json --energies -5 2.5 11 --out be.nc[/]

    Example: [bold]fermisea convert mala Be_model.zip --out be.safetensors[/]

    Example: [bold]fermisea convert mala data/ --out mala-data/[/]
    """
    endings = sorted(path.suffix for path in source)
    files = pseudopotential_files(pseudopotentials)
    if isinstance(files, str):
        raise fermisea.InputError(f"--pseudopotentials: got {files!r}, expected SYMBOL=FILE for each element")
    common = {"broadening": _kernel(broadening), "pseudopotentials": files, "functional": functional}
    if endings in ([".zip"], [".json", ".zip"]):
        check_output(out, ".safetensors", overwrite=overwrite)
        archive, *info = sorted(source, key=lambda path: path.suffix != ".zip")
        model = _mala().load_model(
            archive, info=info[0] if info else None, layer_activations=layer_activations.value, **common
        )
        model.save(out)
        values = {
            "kind": "model",
            "elements": list(model.elements),
            "broadening_eV": model.broadening.standard_deviation,
            "obstacle_to_total_energies": model.total_energy_obstacle,
            "file": out,
        }
        print_json(values) if json else stdout().print(facts(str(out), values))
    elif endings in ([".json", ".npy"], [".h5", ".json"]):
        check_output(out, ".nc", overwrite=overwrite)
        if energies is None:
            raise fermisea.InputError(
                "--energies: missing, but required for an LDOS; give START SPACING SIZE, such as --energies -5 0.1 250"
            )
        info_file, ldos = sorted(source, key=lambda path: path.suffix != ".json")
        snapshot = _mala().load_snapshot(
            ldos,
            info_file,
            fermisea.EnergyGrid(*energies),
            density=density,
            ion_temperature=ion_temperature,
            units=units,
            allow_closure_error=allow_closure_error,
            **common,
        )
        snapshot.save(out)
        show_snapshot(snapshot, out, json=json)
    elif all(path.is_dir() or path.suffix == ".nc" for path in source):
        show_files(_export(source, out, twojmax, cutoff, contain_xyz=not no_xyz, overwrite=overwrite), out, json=json)
    else:
        raise fermisea.InputError(
            f"source: got {' '.join(map(str, source))}, expected LDOS.npy and INFO.json, a model archive "
            "(*.zip), or snapshots (*.nc)"
        )


def openpmd(
    source: Annotated[Path, typer.Argument(help="Snapshot (*.nc), or openPMD file written by this command.")],
    out: Annotated[
        Path, typer.Option(help="Output: *.h5 for a snapshot, *.nc for an openPMD file.", show_default=False)
    ],
    allow_closure_error: AllowClosureError = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write a snapshot as openPMD (standard 1.1.0, HDF5), or read it back.

    Example: [bold]fermisea convert openpmd data/al-300K-00.nc --out al.h5[/]
    """
    from fermisea.interop import openpmd as files  # noqa: PLC0415  # only when needed

    if source.suffix == ".nc":
        check_output(out, ".h5", overwrite=overwrite)
        files.write_snapshot(out, fermisea.Snapshot.load(source))
        show_files([out], out, json=json)
    else:
        check_output(out, ".nc", overwrite=overwrite)
        snapshot = files.read_snapshot(source, allow_closure_error=allow_closure_error)
        snapshot.save(out)
        show_snapshot(snapshot, out, json=json)


def espresso(
    source: Annotated[Path, typer.Argument(help="Folder of a finished pw.x run, with its *.save.")],
    out: Annotated[Path, typer.Option(help="Snapshot file to write, *.nc.", show_default=False)],
    energy_spacing: Annotated[float, typer.Option(help="Energy spacing of the LDOS, eV.")] = 0.2,
    broadening: Annotated[
        float | None,
        typer.Option(help="Broadening of the LDOS (standard deviation), eV.  [dim]\\[default: energy spacing][/]"),
    ] = None,
    highest_electron_temperature: Annotated[
        float, typer.Option(help="Highest tau_e for which the energy window is valid, K.")
    ] = 10_000.0,
    energy_window: Annotated[
        tuple[float, float] | None,
        typer.Option(
            help="First and last energy of the LDOS, eV, in place of --highest-electron-temperature.  "
            "[dim]\\[default: chosen for the run][/]"
        ),
    ] = None,
    grid: Annotated[
        tuple[int, int, int] | None,
        typer.Option(
            help="Three numbers of grid points of the LDOS, one along each lattice vector.  "
            "[dim]\\[default: grid of the density][/]"
        ),
    ] = None,
    memory: Annotated[
        str,
        typer.Option(help="Memory for the LDOS and the bands that are read for it, such as 500MB or 8GiB."),
    ] = "2GiB",
    pseudopotentials: Annotated[
        list[str] | None,
        typer.Option(
            help="Pseudopotentials, SYMBOL=FILE (UPF) for each element.  [dim]\\[default: copies in *.save][/]"
        ),
    ] = None,
    scf: Annotated[
        Path | None,
        typer.Option(help="Output of the SCF run that preceded an nscf run.  [dim]\\[default: found beside *.save][/]"),
    ] = None,
    ion_temperature: Annotated[
        float | None, typer.Option(help="Ionic temperature (tau_i) of the positions, K.  [dim]\\[default: unknown][/]")
    ] = None,
    allow_closure_error: AllowClosureError = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Make a snapshot from a finished run of Quantum ESPRESSO; its folder is opened read-only.

    A single error lists everything missing from the run.

    Example: [bold]fermisea convert espresso run/ --out al.nc[/]
    """
    check_output(out, ".nc", overwrite=overwrite)
    options = fermisea.engines.LdosOptions(
        energy_spacing,
        energy_spacing if broadening is None else broadening,
        highest_electron_temperature,
        None if energy_window is None else fermisea.EnergyGrid.between(*energy_window, energy_spacing),
        grid,
    )
    snapshot = fermisea.engines.import_run(
        source,
        ldos=options,
        pseudopotentials=_files_by_element(pseudopotentials),
        scf=scf,
        ion_temperature=ion_temperature,
        memory=bytes_of(memory),
        allow_closure_error=allow_closure_error,
    )
    snapshot.save(out)
    show_snapshot(snapshot, out, json=json)


for function in (cube, espresso, mala, openpmd):
    convert.command(cls=Command)(function)


def _files_by_element(words: list[str] | None) -> dict[str, str] | None:
    files = pseudopotential_files(words)
    if isinstance(files, str):
        raise fermisea.InputError(f"pseudopotentials: got {files!r}, expected SYMBOL=FILE for each element")
    return files


def _mala() -> Any:
    from fermisea.interop import mala as reader  # noqa: PLC0415  # only when needed

    return reader


def _kernel(broadening: float | None) -> Any:
    from fermisea.physics.broadening import Broadening as Kernel  # noqa: PLC0415

    return None if broadening is None else Kernel("as given", broadening)


def _export(
    source: list[Path], out: Path, twojmax: int, cutoff: float, *, contain_xyz: bool, overwrite: bool
) -> list[Path]:
    from fermisea.data.dataset import snapshot_files  # noqa: PLC0415  # only when needed
    from fermisea.interop.mala_export import SETTINGS, write_mala  # noqa: PLC0415

    named: dict[str, Snapshot] = {}
    for file in snapshot_files(source):
        if file.stem in named:
            raise fermisea.InputError(f"{file}: another snapshot has the name {file.stem} too; rename one of them")
        named[file.stem] = fermisea.Snapshot.load(file)
    descriptor = fermisea.descriptors.Bispectrum(twojmax, cutoff)
    with progress_bar() as bar:
        task = bar.add_task("snapshots", total=len(named), note="")
        names = write_mala(
            named,
            out,
            descriptor,
            contain_xyz=contain_xyz,
            overwrite=overwrite,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    return [out / f"{name}{end}" for name in names for end in (".in.npy", ".out.npy", ".info.json")] + [out / SETTINGS]
