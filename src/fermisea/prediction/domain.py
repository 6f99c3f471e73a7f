"""Domain of a model: the limits of its training structures and electronic temperatures, and a check of others."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import numpy as np
from ase import Atoms

from fermisea.data.distances import shortest_distances
from fermisea.descriptors import Descriptor
from fermisea.grid import check_structure
from fermisea.physics.window import kelvin_question, temperature_list
from fermisea.prediction.contacts import contact
from fermisea.prediction.limits import (
    Range,
    span,
    temperatures_outside,
    unit_question,
    volume_outside,
    volume_per_atom,
)
from fermisea.prediction.surroundings import Surroundings
from fermisea.pseudopotentials.frozen import frozen_shell, ionised_cores
from fermisea.utilities.signs import spelt
from fermisea.utilities.torchrun import ALONE, Processes

_SHORTER = 0.9
"""Shortest expected distance over the shortest one in training. Crystals of 500 atoms reach 0.99 at the same tau_i."""

_COLLAPSED = 0.5
"""Distance over the shortest one in training below which no structure exists."""

_COARSER = 1.5
"""Largest spacing of a grid over the spacing in training. There the error of F from the LDOS of fcc aluminium is
0.1 meV/atom, at twice the spacing 2 meV/atom."""


@dataclass(frozen=True, eq=False, repr=False)
class Domain:
    """Limits of the structures and electronic temperatures of a model; None or an empty mapping where unknown.

    Attributes:
        elements: symbols of the elements.
        electron_temperature: lowest tau_e, and highest tau_e of the energy window without a tail, K.
        volume_per_atom: smallest and largest volume per atom of the training structures, Angstrom^3.
        grid_spacing: largest spacing of the training grids, Angstrom.
        distances: shortest distance between atoms of two elements in training, Angstrom; names such as ``Al-Al``.
        free_energy_per_atom: lowest and highest F of the training structures at tau_ref, eV.
        anchor_shift: root mean square difference between F from the LDOS and F of the anchor, eV/atom, in training,
            with the error of the anchor for structures left out of its fit.
        surroundings: distribution of the surroundings of the atoms in training.
        hot_difference: root mean square difference between F(tau_e) - F(tau_ref) from the LDOS and from the potential,
            relative to this change, at one tau_e far from tau_ref, with the error of the potential for structures left
            out of its fit.
        valence: number of valence electrons of each element, whose other electrons are frozen; not in model files,
            which hold the ions.
        spread: spread of F from the coefficients of the potential, eV/atom, as a function of the structure and of the
            processes that share its atoms; not in model files, which hold the potential.
    """

    elements: tuple[str, ...]
    electron_temperature: Range
    volume_per_atom: Range | None = None
    grid_spacing: float | None = None
    distances: Mapping[str, float] = field(default_factory=dict)
    free_energy_per_atom: Range | None = None
    anchor_shift: float | None = None
    surroundings: Surroundings | None = None
    hot_difference: float | None = None
    valence: Mapping[str, float] = field(default_factory=dict)
    spread: Callable[[Atoms, Processes], float] | None = None

    def __repr__(self) -> str:
        low, high = self.electron_temperature
        lines = [f"Domain: {', '.join(self.elements)}, tau_e {low:g} to {high:.0f} K without a tail"]
        if self.volume_per_atom is not None:
            lines.append(f"volume {span(self.volume_per_atom)} Å³ per atom")
        if self.grid_spacing is not None:
            lines.append(f"grid spacing {self.grid_spacing:.3f} Å")
        lines += [f"distance {pair} at least {length:.2f} Å" for pair, length in self.distances.items()]
        if self.free_energy_per_atom is not None:
            lines.append(f"F(tau_ref) {span(self.free_energy_per_atom)} eV per atom")
        for symbol, valence in self.valence.items():
            if (shell := frozen_shell(symbol, valence)) is not None:
                lines.append(f"frozen {shell.name} shell of {symbol}, which begins to ionise at {shell.limit}")
        return spelt("\n".join(lines), "ascii")

    @classmethod
    def of(
        cls,
        structures: Sequence[Atoms],
        descriptor: Descriptor,
        *,
        electron_temperature: Range,
        grid_spacing: float,
        free_energies: Sequence[float] | None = None,
        anchor_shifts: Sequence[float] | None = None,
        anchor_error: float = 0.0,
        hot_difference: float | None = None,
        spreads: Sequence[float] | None = None,
    ) -> Self:
        """Returns the domain of a model from its training structures.

        Args:
            structures: training structures.
            descriptor: descriptor of the surroundings of an atom.
            electron_temperature: lowest tau_e, and highest tau_e of the energy window without a tail, K.
            grid_spacing: largest spacing of the training grids, Angstrom.
            free_energies: F of each structure at tau_ref, eV, if known.
            anchor_shifts: differences between F from the LDOS and F of the anchor in training, eV/atom, if known.
            anchor_error: error of F of the anchor for structures left out of its fit, eV/atom.
            hot_difference: as the attribute, if known.
            spreads: spread of F of each structure, left out of the fit of the potential, eV/atom; None if unknown.
        """
        volumes = [volume_per_atom(atoms) for atoms in structures]
        per_atom = [f / len(a) for f, a in zip(free_energies or (), structures, strict=False)]
        distances: dict[str, float] = {}
        for atoms in structures:
            for pair, length in shortest_distances(atoms, descriptor.cutoff).items():
                distances[pair] = min(length, distances.get(pair, math.inf))
        return cls(
            elements=tuple(sorted({symbol for atoms in structures for symbol in atoms.symbols})),
            electron_temperature=electron_temperature,
            volume_per_atom=(min(volumes), max(volumes)),
            grid_spacing=grid_spacing,
            distances=dict(sorted(distances.items())),
            free_energy_per_atom=(min(per_atom), max(per_atom)) if per_atom else None,
            anchor_shift=math.hypot(float(np.sqrt(np.mean(np.square(anchor_shifts)))), anchor_error)
            if anchor_shifts
            else None,
            surroundings=Surroundings.of(structures, descriptor, spreads),
            hot_difference=hot_difference,
        )

    def check(
        self,
        atoms: Atoms,
        electron_temperature: float | Sequence[float],
        *,
        spacing: float | None = None,
        processes: Processes = ALONE,
    ) -> list[str]:
        """Returns a sentence for each way in which a prediction would leave the domain; an empty list within it.

        Args:
            atoms: a periodic structure, Angstrom.
            electron_temperature: tau_e, K.
            spacing: largest spacing of the grid, Angstrom; None for a grid spaced as in training.
            processes: processes that share the atoms; each of them calls this method.

        Raises:
            InputError: for atoms without a periodic cell, or with positions that cannot be used.
        """
        check_structure(atoms, "structure")
        if (impossible := self.impossible(atoms)) is not None:
            return [impossible]
        hot = self.check_temperatures(atoms, electron_temperature)
        return hot + self.check_ions(atoms, spacing=spacing, processes=processes)

    def check_temperatures(self, atoms: Atoms, electron_temperature: float | Sequence[float]) -> list[str]:
        """Returns the sentences of :meth:`check` about tau_e, K, for the elements of a structure."""
        temperatures = np.array(temperature_list(electron_temperature))
        found = temperatures_outside(self.electron_temperature, temperatures)
        found += kelvin_question(temperatures.tolist())
        present = set(atoms.symbols)
        found += ionised_cores({s: q for s, q in self.valence.items() if s in present}, temperatures.tolist())
        return found

    def check_ions(self, atoms: Atoms, *, spacing: float | None = None, processes: Processes = ALONE) -> list[str]:
        """Returns the sentences of :meth:`check` about a checked structure and its grid, the same at every tau_e."""
        found = volume_outside(self.volume_per_atom, volume_per_atom(atoms))
        found += self._check_distances(atoms)
        unlike = 0.0
        if self.surroundings is not None:
            spread = None
            if self.spread is not None and self.surroundings.outliers:
                spread = self.spread(atoms, processes)
            unlike = self.surroundings.unlikeness(atoms, spread, processes)
        if unlike > 1:
            found.append(
                f"surroundings: the atomic environments differ from the training structures (distance {_times(unlike)} "
                "the limit); the model extrapolates; train a model on structures of this kind"
            )
        if spacing is not None and self.grid_spacing is not None and spacing > _COARSER * self.grid_spacing:
            found.append(
                f"grid: the grid spacing is {spacing:.2f} Å, but {self.grid_spacing:.2f} Å in training; integrals over "
                "the cell may be wrong; choose more points"
            )
        return found

    def impossible(self, atoms: Atoms) -> str | None:
        """Returns the reason why a structure cannot exist; None if it can."""
        unknown = sorted(set(atoms.symbols) - set(self.elements))
        if unknown:
            known = ", ".join(self.elements)
            return f"elements: got {', '.join(unknown)}, but the model knows {known}; train with data that contain them"
        if not self.distances:
            return None
        shortest = min(self.distances.values())
        found = contact(atoms, _COLLAPSED * shortest)
        if found is None:
            return None
        return (
            f"distance: {found}, but the shortest distance in training is {shortest:.2f} Å; the structure is "
            f"unphysical, check the positions and the cell{unit_question(self.volume_per_atom, volume_per_atom(atoms))}"
        )

    def _check_distances(self, atoms: Atoms) -> list[str]:
        reach = _SHORTER * max(self.distances.values(), default=0.0)
        return [
            f"distance: the shortest {pair} distance is {length:.2f} Å, but {self.distances[pair]:.2f} Å in training"
            for pair, length in shortest_distances(atoms, reach).items()
            if length < _SHORTER * self.distances.get(pair, 0.0)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data for JSON, without ``valence`` and ``spread``."""
        near = None if self.surroundings is None else self.surroundings.to_dict()
        entries = asdict(replace(self, surroundings=None, valence={}, spread=None)) | {"surroundings": near}
        del entries["valence"], entries["spread"]
        return entries

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any]) -> Self:
        """Returns the domain from the result of ``to_dict``.

        Raises:
            KeyError, TypeError, ValueError, InputError: for other data.
        """
        near = entries["surroundings"]
        volumes, energies = entries["volume_per_atom"], entries["free_energy_per_atom"]
        return cls(
            elements=tuple(entries["elements"]),
            electron_temperature=_range(entries["electron_temperature"]),
            volume_per_atom=None if volumes is None else _range(volumes),
            grid_spacing=entries["grid_spacing"],
            distances=dict(entries["distances"]),
            free_energy_per_atom=None if energies is None else _range(energies),
            anchor_shift=entries["anchor_shift"],
            hot_difference=_limit(entries.get("hot_difference")),
            surroundings=None if near is None else Surroundings.from_dict(near),
        )


def _limit(value: Any) -> float | None:
    if value is None:
        return None
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"the domain has the limit {value}")
    return float(value)


def _range(values: Sequence[float]) -> Range:
    low, high = map(float, values)
    return low, high


def _times(ratio: float) -> str:
    """Returns a ratio in words; the digits of a large ratio have no meaning."""
    return f"{ratio:.1f} times" if ratio < 100 else "more than 100 times"
