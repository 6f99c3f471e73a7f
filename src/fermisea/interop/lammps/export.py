"""Export of the interatomic potential of a model to SNAP files of LAMMPS."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

import fermisea
from fermisea.descriptors import Bispectrum
from fermisea.errors import InputError
from fermisea.interop.lammps.errors import ErrorsAt, errors_of
from fermisea.interop.lammps.files import write_errors, write_example, write_snap
from fermisea.interop.lammps.fit import fit_at
from fermisea.interop.lammps.snap import Snap
from fermisea.interop.lammps.structures import (
    Example,
    Potential,
    Progress,
    example_of,
    structures_of,
    trajectories,
    variants,
)
from fermisea.model.blended_potential import BlendedPotential
from fermisea.model.model import Model
from fermisea.physics.window import temperature_list
from fermisea.potential import RegularModel
from fermisea.prediction.limits import span
from fermisea.utilities.counts import counted
from fermisea.utilities.files import check_writable_folder

_STRUCTURES, _FEWEST, _MOST = 400, 4, 40
"""Number of structures of a fit to aim at; smallest and largest number of variants of a structure by default."""


@dataclass(frozen=True, eq=False)
class LammpsExport:
    """Potentials of an export, one for each tau_e, and their errors.

    Attributes:
        models: the exported potentials, as regular models in bispectra.
        errors: errors against the potential of the model, over structures that are not in the fit.
        files: written files.
        warnings: a sentence for each large error.
        structures: number of structures of the fit.
        left_out: number of structures of the errors.
    """

    models: tuple[RegularModel, ...]
    errors: tuple[ErrorsAt, ...]
    files: tuple[Path, ...]
    warnings: tuple[str, ...]
    structures: int
    left_out: int


def export_lammps(
    model: Model,
    electron_temperatures: float | Sequence[float],
    folder: str | os.PathLike[str],
    *,
    structures: Sequence[Atoms] = (),
    twojmax: int = 6,
    cutoff: float | None = None,
    linear: bool = False,
    number: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> LammpsExport:
    """Writes SNAP files of LAMMPS for the interatomic potential of a model at each tau_e, and an input to run.

    The power spectra of the model are no SNAP potential. Quadratic SNAP potentials are therefore fitted to F, forces
    and stress of ``model.potential()``, for the structures of the model and variants of them within its domain:
    displaced, strained, sheared, and from molecular dynamics. The change from tau_ref to tau_e is a fit of its own, in
    which forces have more weight. Errors refer to variants that are left out of the fit.

    Args:
        model: a model with a potential, of one element.
        electron_temperatures: tau_e, K; one or several.
        folder: folder of the files; other files in it stay.
        structures: further structures.
        twojmax: twice the highest angular momentum of the bispectrum, 2 to 8; the time in LAMMPS rises steeply.
        cutoff: cutoff of the bispectrum, Angstrom; by default the effective cutoff of the potential of the model.
        linear: whether the energy is linear in the bispectrum instead of quadratic, which is less accurate.
        number: number of variants of each structure, with the structure itself, at least 2; by default as many as make
            400 structures, from 4 to 40.
        seed: random seed of displacements, strains and velocities.
        progress: callback with the name of the present work, the number of parts done and their total number.

    Raises:
        InputError: for a model without a potential, with several elements, or without structures if none are given;
            structures outside of the domain; an invalid tau_e or option.
        WindowError: for a tau_e above the highest one of the potential.
    """
    potential = model.potential()
    lowest = potential.parts[0] if isinstance(potential, BlendedPotential) else potential
    temperatures = list(dict.fromkeys(temperature_list(electron_temperatures)))
    potential.check(temperatures)
    elements = lowest.thermal.elements
    if len(elements) != 1:
        raise InputError(
            f"LAMMPS: got a model of {', '.join(elements)}, expected one element; the export of several is not possible"
        )
    if isinstance(twojmax, bool) or not isinstance(twojmax, int) or not 2 <= twojmax <= 8:
        raise InputError(f"twojmax: got {twojmax!r}, expected an integer from 2 to 8")
    own_cutoff = lowest.thermal.regular.descriptor.effective_cutoff
    bispectrum = Bispectrum(twojmax, own_cutoff if cutoff is None else cutoff, {elements[0]: 1.0})
    if number is not None and number < 2:
        raise InputError(f"variants: got {number} of each structure, expected at least 2, of which one is left out")
    tau_ref = lowest.reference_electron_temperature
    fitted = sorted({*temperatures, tau_ref})
    own = structures_of(model)
    parents = [*own, *structures]
    if not parents:
        raise InputError(
            "LAMMPS: the model file holds no structures, because an older version wrote it; give structures of the "
            "same kind as its training data (--structures FILE...)"
        )
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise InputError(f"seed: got {seed!r}, expected an integer of at least 0")
    if number is None:
        number = min(max(round(_STRUCTURES / len(parents)), _FEWEST), _MOST)
    folder = check_writable_folder(folder)
    kept, left_out, absent = _examples(potential, parents, fitted, number, seed, progress)
    models = fit_at(kept, fitted, bispectrum, fitted.index(tau_ref), quadratic=not linear, progress=progress)
    errors = errors_of(models, left_out, fitted.index(tau_ref))
    written = [fitted.index(t) for t in temperatures]
    warned = _omitted(sum(index >= len(own) for index in absent), len(structures))
    warned += [sentence for t in written for sentence in errors[t].warnings()]
    comments = [*_described(potential), f"{len(kept)} structures in the fit, {len(left_out)} structures for its errors"]
    files = []
    for t in written:
        size = f"error of F(tau_e) - F({tau_ref:g} K) {1000 * errors[t].free_energy_change:.2f} meV/atom"
        files += write_snap(folder, Snap.of(models[t]), fitted[t], [*comments, size])
    energies = [e.free_energy[written[0]] / len(e.atoms) for e in kept]
    calmest = kept[int(np.argmin(energies))].atoms
    files += write_example(folder, calmest, bispectrum.cutoff, temperatures, comments)
    files.append(folder / f"{elements[0].lower()}.errors.txt")
    judged = [errors[t] for t in written]
    write_errors(files[-1], judged, [*comments, "Root mean square errors; 'of' is the size of the quantity before it"])
    for sentence in warned:
        warnings.warn(sentence, stacklevel=2)
    return LammpsExport(
        tuple(models[t] for t in written), tuple(judged), tuple(files), tuple(warned), len(kept), len(left_out)
    )


def _examples(
    potential: Potential,
    parents: Sequence[Atoms],
    temperatures: Sequence[float],
    number: int,
    seed: int,
    progress: Progress | None,
) -> tuple[list[Example], list[Example], list[int]]:
    """Returns structures for the fit and others for its errors, with the results of the potential at each tau_e.

    The last result is the numbers of the parents that leave the domain of the model.

    Raises:
        InputError: if no structure lies in the domain.
    """
    random = np.random.default_rng(seed)
    kept: list[Example] = []
    left_out: list[Example] = []
    absent: list[int] = []
    for index, parent in enumerate(parents):
        for variant, atoms in enumerate(variants(parent, number, random)):
            example = example_of(potential, atoms, temperatures)
            if example is None:
                absent += [index] if variant == 0 else []
            else:
                (left_out if variant == 1 + index % (number - 1) else kept).append(example)
        if progress is not None:
            progress("structures", index + 1, len(parents))
    for count, atoms in enumerate(trajectories(parents, potential, seed, progress)):
        example = example_of(potential, atoms, temperatures)
        if example is not None:
            (left_out if count % 4 == 3 else kept).append(example)
    if len(kept) < 2 or not left_out:
        raise InputError(
            f"LAMMPS: {counted(len(kept) + len(left_out), 'structure')} of the fit are in the domain of the model, "
            "expected many; give structures like its training data (--structures FILE...)"
        )
    return kept, left_out, absent


def _omitted(number: int, given: int) -> list[str]:
    """Returns a sentence about given structures that leave the domain of the model, if there are any."""
    if number == 0:
        return []
    sentence = f"structures: {number} of {given} given structures leave the domain of the model and are not in the fit"
    return [f"{sentence}; model.domain.check(atoms, tau_e) gives the reasons"]


def _described(potential: Potential) -> list[str]:
    """Returns origin and domain of a potential as lines of text."""
    domain = potential.domain
    lines = [
        f"Fitted to the potential of a model of fermisea {fermisea.__version__}",
        f"Domain: {', '.join(domain.elements)}, tau_e up to {potential.highest_electron_temperature:.0f} K",
    ]
    if domain.volume_per_atom is not None:
        lines.append(f"Domain: volumes {span(domain.volume_per_atom)} Angstrom^3 per atom")
    lines += [
        f"Domain: {pair} distances of at least {length:.2f} Angstrom" for pair, length in domain.distances.items()
    ]
    return lines
