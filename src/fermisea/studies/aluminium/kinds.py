"""Kinds of structures of the study, and the sampling of their members.

With the same sampler, a member depends only on its kind, its part and its number, so that the first members of a kind
stay the same when more are requested. The ranges of a kind are sampled by a Halton sequence, whose first points already
cover them evenly.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from ase import Atoms
from ase.build import bulk
from scipy.stats import qmc

from fermisea.data.sampling import sample
from fermisea.errors import InputError
from fermisea.studies.aluminium.meshes import Mesh, mesh_at
from fermisea.studies.settings import check_numbers
from fermisea.utilities.arrays import FloatArray

Lattice = Literal["fcc", "bcc", "hcp"]
Part = Literal["training", "test"]
Sampler = Literal["emt", "potential"]

MELT = 6000.0
"""Ionic temperature at which the crystal is melted before a liquid is sampled, K."""

_MELTING_POINT = 933.0
_LIQUID = {"volume": (18.85, 14.6), "expansion": (1.1e-4, 0.5e-4)}
"""Volume per atom of the liquid at the melting point, cubic Angstrom, and its relative change with temperature, 1/K, at
0 and at about 20 GPa. At 0 GPa: density and thermal expansion of Assael et al., J. Phys. Chem. Ref. Data 35, 285
(2006), the expansion reduced by a sixth for higher temperatures."""

_HCP_RATIO = 1.633
_VOLUMES = {"fcc": 0.25, "bcc": 0.5, "hcp": math.sqrt(3) / 4 * _HCP_RATIO}
"""Volume per atom in units of the cube of the lattice constant."""


@dataclass(frozen=True)
class Kind:
    """A kind of structures.

    Attributes:
        name: name of the kind.
        repeat: number of unit cells along each axis: cubic cells of fcc and bcc, primitive cells of hcp.
        kpts: k-mesh, shifted by half a step.
        training: number of training structures.
        test: number of test structures.
        cold_kpts: k-mesh below 10,000 K; None for the same mesh.
        lattice: "fcc", "bcc" or "hcp".
        liquid: whether the crystal is melted; ``scales`` and ``shear`` are then without effect.
        ion_temperatures: lowest and highest tau_i, K; (0, 0) for perfect crystals.
        test_ion_temperatures: tau_i of each test structure, K; empty for the range of the training structures.
        scales: smallest and largest lattice constant, relative to a crystal with the volume per atom of fcc.
        shear: largest principal strain at constant volume.
        added: number of atoms added (above 0) or removed (below 0).
        rattle: smallest and largest standard deviation of random displacements, Angstrom, instead of molecular
            dynamics, for lattices that are unstable; empty for molecular dynamics.
        thermalise: duration of the molecular dynamics, ps.
        sampler: potential of the molecular dynamics: "emt", or "potential" for a fit to the snapshots of all other
            kinds.
    """

    name: str
    repeat: tuple[int, int, int]
    kpts: Mesh
    training: int
    test: int = 0
    cold_kpts: Mesh | None = None
    lattice: Lattice = "fcc"
    liquid: bool = False
    ion_temperatures: tuple[float, float] = (0.0, 0.0)
    test_ion_temperatures: tuple[float, ...] = ()
    scales: tuple[float, float] = (1.0, 1.0)
    shear: float = 0.0
    added: int = 0
    rattle: tuple[float, ...] = ()
    thermalise: float = 2.0
    sampler: Sampler = "emt"

    def __post_init__(self) -> None:
        for name, length in (("repeat", 3), ("kpts", 3)):
            check_numbers(f"{self.name}: {name}", getattr(self, name), length, lowest=1, whole=True)
        if self.cold_kpts is not None:
            check_numbers(f"{self.name}: cold_kpts", self.cold_kpts, 3, lowest=1, whole=True)
        for name, length in (("ion_temperatures", 2), ("scales", 2)):
            check_numbers(f"{self.name}: {name}", getattr(self, name), length, lowest=0)
        check_numbers(f"{self.name}: rattle", self.rattle, len(self.rattle) and 2, lowest=0)
        for name in ("shear", "thermalise"):
            check_numbers(f"{self.name}: {name}", (getattr(self, name),), 1, lowest=0)
        for name in ("training", "test"):
            check_numbers(f"{self.name}: {name}", (getattr(self, name),), 1, lowest=0, whole=True)
        temperatures = self.test_ion_temperatures
        check_numbers(f"{self.name}: test_ion_temperatures", temperatures, len(temperatures) and self.test, lowest=0)
        if self.lattice not in _VOLUMES:
            raise InputError(f"{self.name}: got the lattice {self.lattice!r}, expected one of {', '.join(_VOLUMES)}")
        if self.added > 1 or (self.added == 1 and self.lattice != "fcc"):
            raise InputError(
                f"{self.name}: got {self.added} added atoms in {self.lattice}, expected one in fcc at most"
            )
        if self.sampler not in get_args(Sampler):
            raise InputError(f"{self.name}: got the sampler {self.sampler!r}, expected emt or potential")
        low, high = self.ion_temperatures
        if not low <= high or (self.liquid and low == 0):
            raise InputError(f"{self.name}: got ion_temperatures {low:g} to {high:g} K, expected an ascending range")

    def count(self, part: Part) -> int:
        """Returns the number of structures of a part."""
        return self.training if part == "training" else self.test

    def mesh(self, electron_temperature: float) -> Mesh:
        """Returns the k-mesh at one tau_e (K)."""
        return mesh_at(electron_temperature, self.kpts, self.cold_kpts)

    def name_of(self, part: Part, number: int) -> str:
        """Returns the name of a structure, such as ``liquid-07`` or ``test-liquid-02``."""
        return f"{'' if part == 'training' else 'test-'}{self.name}-{number:02d}"

    def structure(self, part: Part, number: int, lattice_constant: float, seed: int, calculator: Any = "emt") -> Atoms:
        """Returns a structure.

        Args:
            part: part of the study.
            number: number of the structure within kind and part.
            lattice_constant: lattice constant of fcc, Angstrom.
            seed: random seed of the study.
            calculator: ASE calculator of the molecular dynamics, or its name; crystals are melted with EMT.
        """
        key = [seed, zlib.crc32(self.name.encode()), part == "test"]
        point = qmc.Halton(4, seed=np.random.default_rng(key)).random(number + 1)[number]
        random = np.random.default_rng([*key, number])
        low, high = self.ion_temperatures
        temperature = float(round(low + float(point[0]) * (high - low)))
        if part == "test" and self.test_ion_temperatures:
            temperature = self.test_ion_temperatures[number]
        if self.liquid:
            atoms = self.crystal(lattice_constant)
            volume = liquid_volume(temperature, float(point[1]))
            atoms.set_cell(atoms.cell.array * np.cbrt(len(atoms) * volume / atoms.get_volume()), scale_atoms=True)
        else:
            atoms = self._strained(lattice_constant, point[1:], random)
        if self.added:
            _add(atoms, self.added, self.repeat, random)
        return self._sampled(atoms, temperature, float(point[3]), random, calculator)

    def crystal(self, lattice_constant: float) -> Atoms:
        """Returns the perfect crystal, without added or removed atoms, at the lattice constant of fcc (Angstrom)."""
        constant = lattice_constant * np.cbrt(_VOLUMES["fcc"] / _VOLUMES[self.lattice])
        options = {"c": _HCP_RATIO * constant} if self.lattice == "hcp" else {"cubic": True}
        return bulk("Al", self.lattice, a=constant, **options).repeat(self.repeat)

    def _strained(self, lattice_constant: float, point: FloatArray, random: np.random.Generator) -> Atoms:
        atoms = self.crystal(lattice_constant)
        low, high = self.scales
        strain = random.normal(size=(3, 3))
        strain = (strain + strain.T) / 2
        strain -= np.trace(strain) / 3 * np.eye(3)
        strain *= self.shear * float(point[1]) / np.abs(np.linalg.eigvalsh(strain)).max()
        deformation = np.eye(3) + strain
        deformation *= (low + float(point[0]) * (high - low)) / np.cbrt(np.linalg.det(deformation))
        atoms.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
        return atoms

    def _sampled(
        self, atoms: Atoms, temperature: float, fraction: float, random: np.random.Generator, calculator: Any
    ) -> Atoms:
        seed = int(random.integers(2**31))
        if self.rattle:
            low, high = self.rattle
            atoms.positions += (low + fraction * (high - low)) * random.standard_normal((len(atoms), 3))
            atoms.positions -= atoms.positions.mean(axis=0)
            return atoms
        if temperature == 0:
            atoms.info["ion_temperature"] = 0.0
            return atoms
        if self.liquid:
            atoms = sample(atoms, MELT, 1, thermalise=1.0, spacing=0.1, seed=seed).frames[0]
        options: dict[str, Any] = {"thermalise": self.thermalise, "spacing": 0.1, "seed": seed + 1}
        frame = sample(atoms, temperature, 1, calculator=calculator, **options).frames[0]
        frame.wrap()
        return frame


def liquid_volume(temperature: float, pressure: float) -> float:
    """Returns a volume per atom of liquid aluminium, cubic Angstrom.

    Args:
        temperature: ionic temperature, K.
        pressure: pressure in units of about 20 GPa, from 0 to 1.
    """
    volume, expansion = np.array(_LIQUID["volume"]), np.array(_LIQUID["expansion"])
    ends = volume * (1 + expansion * (temperature - _MELTING_POINT))
    return float(ends[0] + pressure * (ends[1] - ends[0]))


def _add(atoms: Atoms, number: int, repeat: tuple[int, int, int], random: np.random.Generator) -> None:
    """Removes neighbouring atoms, or adds one near an octahedral site of fcc, from which it relaxes."""
    if number < 0:
        distances = atoms.get_distances(0, range(len(atoms)), mic=True)
        nearest_first = np.argsort(distances + 0.5 * random.random(len(atoms)))
        del atoms[sorted(int(index) for index in nearest_first[:-number])]
    else:
        site = atoms.positions[0] + atoms.cell.array[0] / (2 * repeat[0])
        atoms += Atoms("Al", positions=[site + 0.2 * random.standard_normal(3)])
