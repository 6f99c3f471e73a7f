"""Import of finished runs of pw.x as snapshots; one error lists everything that is missing, with remedies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fermisea import units
from fermisea.data.closure import check_closure
from fermisea.data.snapshot import Snapshot
from fermisea.engines.espresso.agreement import FERMI_DIRAC, smearing_name
from fermisea.engines.espresso.assembly import assemble, missing_top, wavefunction_ldos, window
from fermisea.engines.espresso.fields import density_file, wavefunction_file
from fermisea.engines.espresso.output import PwOutput, read_output
from fermisea.engines.espresso.potentials import load_potentials
from fermisea.engines.espresso.printed import scf_before
from fermisea.engines.ldos import ChosenLdosOptions, LdosOptions, free_electron_bands
from fermisea.engines.ldos_memory import DEFAULT_MEMORY
from fermisea.errors import FileFormatError, InputError
from fermisea.grid import EnergyGrid
from fermisea.physics.window import REACH, served_temperature
from fermisea.pseudopotentials.frozen import warn_of_ionised_cores
from fermisea.pseudopotentials.upf import functional_of

_SCHEMA = "data-file-schema.xml"
DENSITY_TOLERANCE = 0.02
"""Largest difference between LDOS and density file, as a fraction of the electrons; missing k-points exceed it."""

_NEUTRAL = 1e-9


def import_run(
    folder: str | Path,
    *,
    ldos: LdosOptions | None = None,
    pseudopotentials: Mapping[str, str | Path] | None = None,
    scf: str | Path | None = None,
    ion_temperature: float | None = None,
    threads: int | None = None,
    memory: float = DEFAULT_MEMORY,
    allow_closure_error: bool = False,
) -> Snapshot:
    """Returns the snapshot of a finished scf, relax or nscf run; nothing in its folder is changed.

    Args:
        folder: folder with one ``PREFIX.save``, or ``PREFIX.save`` itself, or its ``data-file-schema.xml``.
        ldos: energies, broadening and grid of the LDOS.
        pseudopotentials: UPF files by element; by default the copies of pw.x in ``PREFIX.save``.
        scf: for an nscf run, the printed output of the preceding SCF run or a copy of its ``data-file-schema.xml``; by
            default searched for beside ``PREFIX.save``.
        ion_temperature: tau_i, K, if known.
        threads: number of threads for the LDOS; None for the number of torch, or fewer if the memory requires it.
        memory: memory for the LDOS and the bands that are read for it, bytes; it must hold at least the LDOS.
        allow_closure_error: whether an LDOS whose F differs from F of the run by more than 5 meV/atom gives a warning
            instead of an error.

    Raises:
        InputError: with a list of everything that the run lacks; if the memory is too small; for an LDOS that does not
            give F of the run.
        FileFormatError: for a damaged file.
    """
    save = _save_folder(Path(folder))
    output = read_output(save / _SCHEMA)
    files = {s: Path((pseudopotentials or {}).get(s, save / name)) for s, name in output.species}
    problems = _problems(save, output, files)
    reference, terms = output.reference, output.terms
    if output.calculation == "nscf":
        found, reasons = scf_before(save.parent, output, files, save / _SCHEMA, None if scf is None else Path(scf))
        problems += reasons
        if found is not None:
            reference, terms = found.reference, found.terms | terms
    problems += [f"energy: {term}, which F of an LDOS does not contain; run pw.x without it" for term in terms.foreign]
    name = functional_of(output.functional)
    potentials = None
    if name is None:
        problems.append(
            f"functional: got {output.functional}, expected one of lda, pz, pbe, pbesol; run pw.x with one of these"
        )
    elif output.ultrasoft is None and all(file.is_file() for file in files.values()):
        potentials = load_potentials(files, files, name)
        valence = math.fsum(potentials.ions[symbol].valence for symbol in output.atoms.symbols)
        if abs(valence - output.reference.electrons) > 1e-6 * valence:
            problems.append(
                f"pseudopotentials: got files for {valence:g} electrons, but the run had "
                f"{output.reference.electrons:g}; give the files of the run"
            )
    options = (ldos or LdosOptions()).chosen(output.degauss / units.BOLTZMANN)
    if not problems:
        energies = window(options, output)
        if (short := missing_top(options, energies, output)) > 0:
            problems.append(_few_bands(options, energies, output, short))
    if problems or potentials is None:
        raise InputError(f"{save}: {len(problems)} problem(s) prevent an LDOS: " + "; ".join(problems))
    electron_temperature = output.degauss / units.BOLTZMANN
    warn_of_ionised_cores({symbol: ion.valence for symbol, ion in potentials.ions.items()}, electron_temperature)
    density = density_file(save)
    assert density is not None  # noqa: S101  # among the problems otherwise
    mesh = output.mesh
    snapshot = assemble(
        output,
        density,
        wavefunction_ldos(output, save, options, energies, threads, memory),
        energies=energies,
        potentials=potentials,
        electron_temperature=electron_temperature,
        ion_temperature=ion_temperature,
        provenance={
            "engine": "Quantum ESPRESSO",
            "version": output.version,
            "imported": True,
            "xc": potentials.functional,
            "cutoff_eV": output.cutoff,
            "grid": list(output.shape),
            "kpts": None if mesh is None else list(mesh[0]),
            "shift": None if mesh is None else list(mesh[1]),
            "scf_iterations": output.iterations,
            "pseudopotentials": potentials.provenance,
        },
        reference=reference,
        obstacle=terms.obstacle,
    )
    _check_density(save, snapshot)
    check_closure([snapshot], [str(save)], allow=allow_closure_error)
    return snapshot


def _save_folder(path: Path) -> Path:
    if path.name == _SCHEMA:
        return path.parent
    if (path / _SCHEMA).is_file():
        return path
    found = sorted(place.parent for place in path.glob(f"*/{_SCHEMA}")) if path.is_dir() else []
    if len(found) != 1:
        what = "no PREFIX.save folder" if not found else ", ".join(place.name for place in found)
        raise FileFormatError(
            f"{path}: got {what}, expected exactly one; give the outdir of one finished pw.x run, or its "
            "PREFIX.save folder"
        )
    return found[0]


def _problems(save: Path, output: PwOutput, files: Mapping[str, Path]) -> list[str]:
    """Returns the problems that prevent an LDOS, each with its remedy."""
    problems = []
    if output.ultrasoft is not None:
        problems.append(
            f"pseudopotentials: {output.ultrasoft}, whose wavefunctions do not give the density; use "
            "norm-conserving ones, or make cube files with pp.x (plot_num = 3) for fermisea convert cube"
        )
    if output.calculation not in {"scf", "nscf", "relax"}:
        problems.append(
            f"calculation: {output.calculation}, which stores no energies and density of a single structure; run scf"
        )
    if not output.converged and output.calculation != "nscf":
        problems.append("SCF cycle: not converged; run pw.x again until it converges")
    if output.spin:
        problems.append("spin: not supported by fermisea; run pw.x with nspin = 1")
    if smearing_name(output.smearing) != FERMI_DIRAC:
        problems.append(
            f"smearing: {output.smearing or 'none'}, which defines no tau_e; run pw.x with smearing = 'fermi-dirac'"
        )
    if output.symmetries > 1:
        problems.append(
            f"symmetry: {output.symmetries} operations reduced the k-points, whose wavefunctions alone do not give the "
            "density; run pw.x with nosym = .true."
        )
    if abs(output.charge) > _NEUTRAL:
        problems.append(f"charge: {output.charge:g}, expected a neutral cell; run pw.x with tot_charge = 0")
    absent = [index + 1 for index in range(len(output.weights)) if wavefunction_file(save, index) is None]
    if absent:
        problems.append(
            f"wavefunctions: none for k-point {', '.join(map(str, absent[:8]))}{' ...' if len(absent) > 8 else ''}; "
            "copy wfc*.dat too, or run pw.x with disk_io = 'low'"
        )
    if density_file(save) is None:
        problems.append("density: no charge-density.dat; copy this file too")
    for symbol, file in files.items():
        names = sorted({name for element, name in output.species if element == symbol})
        if len(names) > 1:
            problems.append(
                f"pseudopotentials of {symbol}: got {' and '.join(names)} for species of one element, expected one "
                "file for each element; run pw.x with one file"
            )
        if not file.is_file():
            problems.append(f"pseudopotential of {symbol}: no file {file}; provide this file")
    return problems


def _few_bands(options: ChosenLdosOptions, energies: EnergyGrid, output: PwOutput, short: float) -> str:
    """Returns the error for bands that end below the energy window."""
    level, volume = output.reference.fermi_level, abs(float(np.linalg.det(output.atoms.cell.array)))
    above = energies.stop + REACH * options.broadening - level
    count = math.ceil(1.1 * free_electron_bands(output.reference.electrons, volume, above)) + 4
    count = max(count, output.eigenvalues.shape[1] + 4)
    served = served_temperature(energies.stop - short - energies.spacing, level)
    lower = f"request a highest electron temperature of {100 * int(served / 100)} K" if served >= 200 else ""
    return (
        f"bands: the highest is {short:.2f} eV too low to fill the energy window up to {energies.stop:.2f} eV; "
        f"raise nbnd to about {count} (an nscf run after this run is enough)" + (f", or {lower}" if lower else "")
    )


def _check_density(save: Path, snapshot: Snapshot) -> None:
    """Raises FileFormatError if the LDOS does not give the density of the run, as far as the window covers it."""
    if snapshot.electron_temperature > snapshot.highest_electron_temperature:
        return
    (state,) = snapshot.observables([snapshot.electron_temperature])
    moved = snapshot.grid.integrate(np.abs(state.density - snapshot.density)) / 2 / snapshot.electrons
    if moved > DENSITY_TOLERANCE:
        raise FileFormatError(
            f"{save}: the density of the wavefunctions differs from charge-density by {100 * moved:.1f} % of the "
            f"electrons, expected at most {100 * DENSITY_TOLERANCE:g} %; either k-points are missing or files of two "
            "runs are mixed"
        )
