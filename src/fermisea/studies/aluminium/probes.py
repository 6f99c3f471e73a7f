"""Structures for self-consistent runs without an LDOS, outside of the training data.

Perfect crystals need one small cell with a dense k-mesh, which is equivalent to
the k-mesh of the larger cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.optimize import BFGS

from fermisea.studies.aluminium.meshes import Mesh
from fermisea.utilities.arrays import FloatArray

LINE = np.linspace(0.96, 1.04, 17)
"""Lattice constants of the line of fcc crystals, relative to the lattice constant of the study."""

STRAIN = 0.005
"""Strain for elastic constants."""

DISPLACEMENT = 0.02
"""Displacement of an atom for phonons, Angstrom."""

GROUPS = ("lattices", "vacancy", "line", "elastic", "phonons")
"""Purposes of self-consistent runs, in their order."""

COLD_AND_HOT = (1000.0, 10_000.0)
LINE_TEMPERATURES = (1000.0, 15_000.0, 20_000.0, 25_000.0)
ELASTIC = (300.0, 15_000.0, 25_000.0)

_RELAXED = 1e-3
"""Largest force on an atom of the relaxed vacancy, in the potential that relaxes it, eV/Angstrom."""


@dataclass(frozen=True)
class Probe:
    """A structure of self-consistent runs.

    Attributes:
        group: purpose of the runs, one of ``GROUPS`` or "hot".
        name: name of the structure.
        atoms: the structure.
        kpts: k-mesh, shifted by half a step.
        electron_temperatures: tau_e of the runs, K.
    """

    group: str
    name: str
    atoms: Atoms
    kpts: Mesh
    electron_temperatures: tuple[float, ...]


def probes(lattice_constant: float, kpts: Mesh, groups: Sequence[str] = GROUPS) -> list[Probe]:
    """Returns the structures of self-consistent runs.

    Args:
        lattice_constant: lattice constant of fcc, Angstrom.
        kpts: k-mesh of the cubic cell of four atoms; other cells have meshes of the same density.
        groups: some of ``GROUPS``.
    """
    found = [
        *_lattices(lattice_constant, kpts),
        *_vacancy(lattice_constant, kpts),
        *_line(lattice_constant, kpts),
        *_elastic(lattice_constant, kpts),
        _phonons(lattice_constant, kpts),
    ]
    return [probe for probe in found if probe.group in groups]


def deformed(atoms: Atoms, deformation: FloatArray) -> Atoms:
    """Returns the structure in a cell deformed by a matrix, (3, 3)."""
    found = atoms.copy()
    found.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
    return found


def elastic_strains() -> dict[str, FloatArray]:
    """Returns the strains for elastic constants by name: uniaxial strain along x, and shear in the xy plane."""
    found = {}
    for sign, word in ((-1, "minus"), (1, "plus")):
        shear = np.zeros((3, 3))
        shear[0, 1] = shear[1, 0] = sign * STRAIN / 2
        found[f"uniaxial-{word}"] = np.diag([sign * STRAIN, 0.0, 0.0])
        found[f"shear-{word}"] = shear
    return found


def _line(lattice_constant: float, kpts: Mesh) -> list[Probe]:
    crystals = [bulk("Al", "fcc", a=lattice_constant * scale, cubic=True) for scale in LINE]
    return [Probe("line", f"line-{n:02d}", atoms, kpts, LINE_TEMPERATURES) for n, atoms in enumerate(crystals)]


def _elastic(lattice_constant: float, kpts: Mesh) -> list[Probe]:
    crystal = bulk("Al", "fcc", a=lattice_constant, cubic=True)
    return [
        Probe("elastic", f"elastic-{name}", deformed(crystal, np.eye(3) + strain), kpts, ELASTIC)
        for name, strain in elastic_strains().items()
    ]


def _phonons(lattice_constant: float, kpts: Mesh) -> Probe:
    """Eight primitive cells, which contain the wavevectors X and L, with one displaced atom."""
    atoms = bulk("Al", "fcc", a=lattice_constant).repeat(2)
    atoms.positions[0, 0] += DISPLACEMENT
    return Probe("phonons", "phonons", atoms, kpts, ELASTIC)


def _vacancy(lattice_constant: float, kpts: Mesh) -> list[Probe]:
    crystal = bulk("Al", "fcc", a=lattice_constant, cubic=True).repeat(2)
    ideal = crystal.copy()
    del ideal[0]
    relaxed = ideal.copy()
    relaxed.calc = EMT()
    BFGS(relaxed, logfile=None).run(fmax=_RELAXED)
    relaxed.calc = None
    structures = {"crystal": crystal, "vacancy-ideal": ideal, "vacancy-relaxed": relaxed}
    x, y, z = ((n + 1) // 2 for n in kpts)
    return [Probe("vacancy", name, atoms, (x, y, z), COLD_AND_HOT) for name, atoms in structures.items()]


def _lattices(lattice_constant: float, kpts: Mesh) -> list[Probe]:
    """Perfect fcc, bcc and hcp with the same volume per atom."""
    volume = lattice_constant**3 / 4
    close_packed = lattice_constant / np.sqrt(2)
    structures = {
        "fcc": bulk("Al", "fcc", a=lattice_constant, cubic=True),
        "bcc": bulk("Al", "bcc", a=float(np.cbrt(2 * volume)), cubic=True),
        "hcp": bulk("Al", "hcp", a=close_packed, c=float(np.sqrt(8 / 3)) * close_packed),
    }

    def mesh(atoms: Atoms) -> Mesh:
        length = kpts[0] * lattice_constant
        x, y, z = (max(1, round(length * float(row))) for row in atoms.cell.reciprocal().lengths())
        return x, y, z

    return [Probe("lattices", name, atoms, mesh(atoms), COLD_AND_HOT) for name, atoms in structures.items()]
