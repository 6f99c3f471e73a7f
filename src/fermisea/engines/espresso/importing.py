"""Finished runs of pw.x as snapshots; what is missing is said all at once, with how to get it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fermisea import pseudopotentials as psp
from fermisea import units
from fermisea.engines.espresso.assembly import assemble, missing_top, window
from fermisea.engines.espresso.fields import density_file, wavefunction_file
from fermisea.engines.espresso.output import PwOutput, read_output
from fermisea.engines.ldos import LdosOptions
from fermisea.errors import FileFormatError, InputError
from fermisea.pseudopotentials.upf import functional_of
from fermisea.snapshot import Snapshot

_SCHEMA = "data-file-schema.xml"
_FERMI_DIRAC = {"fd", "fermi-dirac", "f-d", "fermi_dirac"}


def import_run(
    folder: str | Path,
    *,
    ldos: LdosOptions | None = None,
    pseudopotentials: Mapping[str, str | Path] | None = None,
    ion_temperature: float | None = None,
    threads: int | None = None,
) -> Snapshot:
    """Returns the snapshot of a finished SCF run; nothing in its folder is changed.

    Args:
        folder: with one ``PREFIX.save``, or that folder itself, or its ``data-file-schema.xml``.
        ldos: energies, broadening and points; by default the window ends where the bands of the run do.
        pseudopotentials: UPF files by element; without, the copies that pw.x put into ``PREFIX.save``.
        ion_temperature: tau_i, K, if known.
        threads: for the LDOS; None for torch's number.

    Raises:
        InputError: naming everything that the run lacks.
        FileFormatError: for a file that is damaged.
    """
    save = _save_folder(Path(folder))
    output = read_output(save / _SCHEMA)
    files = {s: Path((pseudopotentials or {}).get(s, save / name)) for s, name in output.pseudopotentials.items()}
    problems = _problems(save, output, files)
    loaded = {}
    for symbol, file in files.items():
        if output.ultrasoft is None and file.is_file():
            loaded[symbol] = psp.load_upf(file)
    name = functional_of(output.functional)
    if name is None:
        problems.append(f"functional {output.functional}: not one of lda, pz, pbe, pbesol; run with one of these")
    options = ldos or LdosOptions()
    if not problems:
        energies = window(options, output)
        if (short := missing_top(options, energies, output)) > 0:
            problems.append(
                f"bands: the highest is {short:.2f} eV too low to fill the energy window up to {energies.stop:.2f} eV; "
                "raise nbnd, or ask for a lower highest electron temperature"
            )
    if problems or name is None:
        raise InputError(f"{save}: {len(problems)} thing(s) are missing for an LDOS: " + "; ".join(problems))
    density = density_file(save)
    assert density is not None  # noqa: S101  # among the problems otherwise
    mesh = output.mesh
    return assemble(
        output,
        output,
        density,
        save,
        options=options,
        energies=energies,
        ions={symbol: potential.ion for symbol, potential in loaded.items()},
        functional=name,
        electron_temperature=output.degauss / units.BOLTZMANN,
        ion_temperature=ion_temperature,
        provenance={
            "engine": "Quantum ESPRESSO",
            "version": output.version,
            "imported": True,
            "xc": name,
            "cutoff_eV": output.cutoff,
            "grid": list(output.shape),
            "kpts": None if mesh is None else list(mesh[0]),
            "shift": None if mesh is None else list(mesh[1]),
            "scf_iterations": output.iterations,
            "pseudopotentials": {s: {"name": p.name, "sha256": p.digest} for s, p in loaded.items()},
        },
        threads=threads,
    )


def _save_folder(path: Path) -> Path:
    if path.name == _SCHEMA:
        return path.parent
    if (path / _SCHEMA).is_file():
        return path
    found = sorted(place.parent for place in path.glob(f"*/{_SCHEMA}")) if path.is_dir() else []
    if len(found) != 1:
        what = "none" if not found else ", ".join(place.name for place in found)
        raise FileFormatError(
            f"{path}: expected the outdir of one finished run of pw.x, with its PREFIX.save; found {what}; give the "
            ".save folder itself"
        )
    return found[0]


def _problems(save: Path, output: PwOutput, files: Mapping[str, Path]) -> list[str]:
    """Returns what keeps a run from giving an LDOS, each with what to do."""
    problems = []
    if output.ultrasoft is not None:
        problems.append(
            f"pseudopotentials: {output.ultrasoft}, whose wavefunctions do not give the density; run with "
            "norm-conserving ones, or make cubes with pp.x (plot_num = 3) for fermisea convert cube"
        )
    if not output.converged:
        problems.append("SCF cycle: not converged; run it until it is")
    if output.spin:
        problems.append("spin: fermisea knows none; run with nspin = 1")
    if output.smearing is None or output.smearing.lower() not in _FERMI_DIRAC:
        problems.append(f"smearing: {output.smearing or 'none'}, so no tau_e; run with smearing = 'fermi-dirac'")
    if output.symmetries > 1:
        problems.append(
            f"symmetry: {output.symmetries} operations reduced the k-points, whose wavefunctions alone do not give the "
            "density; run with nosym = .true."
        )
    if output.gamma_only:
        problems.append(
            "k-points: the gamma trick keeps half of each wavefunction; run with K_POINTS automatic 1 1 1 0 0 0"
        )
    absent = [index + 1 for index in range(len(output.weights)) if wavefunction_file(save, index) is None]
    if absent:
        problems.append(
            f"wavefunctions: none of k-point {', '.join(map(str, absent[:8]))}{' ...' if len(absent) > 8 else ''}; "
            "copy wfc*.dat too, or run with disk_io = 'low'"
        )
    if density_file(save) is None:
        problems.append("density: no charge-density.dat; copy it too")
    for symbol, file in files.items():
        if not file.is_file():
            problems.append(f"pseudopotential of {symbol}: no file {file}; give it")
    return problems
