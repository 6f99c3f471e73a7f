"""The plane-wave engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from ase import Atoms
from torch import Tensor

from fermisea import pseudopotentials as psp
from fermisea import units
from fermisea.data.reference import Reference
from fermisea.data.snapshot import Snapshot
from fermisea.engines.basis import PlaneWaves, plane_waves
from fermisea.engines.cores import warn_of_overlap
from fermisea.engines.cutoff import default_cutoff, warn_of_low_cutoff
from fermisea.engines.ldos import LdosOptions, energy_grid
from fermisea.engines.ldos_sum import KPointBands, local_density_of_states
from fermisea.engines.mesh import mesh_of, mesh_settings
from fermisea.engines.planewave.band_plan import BandPlan, OccupiedTopError, band_plan, check_bands, fewest_waves
from fermisea.engines.planewave.basis_size import check_memory, warn_of_hot_electrons
from fermisea.engines.planewave.half_mesh import half_mesh
from fermisea.engines.planewave.ions import Ions
from fermisea.engines.planewave.kpoints import monkhorst_pack
from fermisea.engines.planewave.problem import Problem
from fermisea.engines.planewave.scf import ScfOptions, ScfState, self_consistent
from fermisea.engines.planewave.solver import KPointSolver
from fermisea.engines.planewave.tail import Tail
from fermisea.engines.planewave.total_energy import TotalEnergy, total_energy
from fermisea.engines.planewave.window_bands import highest_energy, window_bands
from fermisea.engines.resampling import check_coarser, resample
from fermisea.engines.scf_step import ScfStep
from fermisea.engines.spin import warn_of_moments
from fermisea.errors import ConvergenceError, InputError
from fermisea.grid import RealSpaceGrid, check_structure
from fermisea.physics.broadening import GAUSSIAN, Broadening
from fermisea.physics.ewald import ewald_energy
from fermisea.physics.fields import FourierGrid
from fermisea.physics.ions import core_density
from fermisea.physics.window import REACH, warn_of_unit
from fermisea.physics.xc import functional, xc_entropy
from fermisea.pseudopotentials.frozen import warn_of_ionised_cores
from fermisea.utilities.threads import Workers

_VERSION = "1"
_DTYPES = {"complex128": torch.complex128, "complex64": torch.complex64}


@dataclass(frozen=True)
class ThermalState:
    """A self-consistent thermal state, without LDOS.

    Attributes:
        atoms: the structure.
        grid: real-space grid of the density.
        density: valence density, (nx, ny, nz), 1/Angstrom^3.
        reference: free energy, its parts, Fermi level, forces, stress.
        eigenvalues: eigenvalues at each k-point, eV, (k, bands); with all states of the basis, NaN where a k-point has
            fewer plane waves than another.
        weights: weights of the k-points, which sum to one.
        history: SCF iterations.
    """

    atoms: Atoms
    grid: RealSpaceGrid
    density: npt.NDArray[np.float64]
    reference: Reference
    eigenvalues: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]
    history: tuple[ScfStep, ...]

    @property
    def tail_electrons(self) -> float:
        """Number of electrons in free-electron states above the bands."""
        return self.reference.tail_electrons


@dataclass(frozen=True)
class PlaneWave:
    """Finite-temperature Kohn-Sham DFT in plane waves with norm-conserving pseudopotentials, without spin.

    Attributes:
        xc: exchange-correlation functional: "lda" (PW92), "pz", "pbe" or "pbesol"; or at tau_e, "ksdt", "corrksdt",
            "gdsmfb" (local) or "kdt16" (with gradients).
        cutoff: plane-wave cutoff, eV; None for the highest cutoff of the pseudopotentials, at which F is converged to
            10 meV/atom, or 270 eV with a warning if a pseudopotential has none.
        kpts: k-mesh; None for the smallest mesh with a spacing of at most 0.2/Angstrom.
        shift: shift of the k-mesh, 0 or 1 along each axis; 1 shifts the mesh by half a step. None shifts the default
            mesh along all axes, and no other one.
        pseudopotentials: "gth" for the defaults of the shipped table; or for each element a UPF file or a name in this
            table, such as "Mg-q2"; None for the shipped table, with the softer potential of an element whose default
            needs a cutoff above 4000 eV.
        bands: number of bands in the SCF cycle; None chooses a number for tau_e and adds bands if necessary; "all"
            takes all states of the basis, by dense diagonalisation, without a tail.
        tail: whether there are free electrons above the bands, the top of which may then be occupied. "auto" has them
            where a run without them needs many bands, with F within about 0.1 %, and where the top band of a fixed
            number of bands is occupied, which False refuses.
        scf: convergence options of the SCF cycle.
        ldos: energies, broadening and grid of the LDOS.
        dtype: type of the wavefunctions, "complex128" or "complex64".
        device: torch device of the large arrays.
        threads: number of k-points solved at once; None for the number of threads of torch.
        report: callback after each SCF iteration.
    """

    xc: str = "pbe"
    cutoff: float | None = None
    kpts: tuple[int, int, int] | None = None
    shift: tuple[int, int, int] | None = None
    pseudopotentials: Literal["gth"] | Mapping[str, str | Path] | None = None
    bands: int | Literal["all"] | None = None
    tail: Literal["auto"] | bool = "auto"
    scf: ScfOptions = field(default_factory=ScfOptions)
    ldos: LdosOptions = field(default_factory=LdosOptions)
    dtype: Literal["complex128", "complex64"] = "complex128"
    device: str = "cpu"
    threads: int | None = None
    report: Callable[[ScfStep], None] | None = None

    def __post_init__(self) -> None:
        functional(self.xc)
        monkhorst_pack(self.kpts or (1, 1, 1), self.shift or (0, 0, 0))
        if self.cutoff is not None and not (math.isfinite(self.cutoff) and self.cutoff > 0):
            raise InputError(f"cutoff: got {self.cutoff} eV, expected a finite value above 0 (270 eV is about 20 Ry)")
        check_bands(self.bands, self.tail)
        if self.dtype not in _DTYPES:
            raise InputError(f"dtype: got {self.dtype!r}, expected one of {', '.join(_DTYPES)}")

    def solve(self, atoms: Atoms, electron_temperature: float) -> ThermalState:
        """Returns the self-consistent free energy, forces, stress and density, without an LDOS.

        Args:
            atoms: a periodic structure, Angstrom.
            electron_temperature: tau_e, K.

        Raises:
            InputError: for an invalid structure, element or setting.
            ConvergenceError: if the SCF cycle does not converge, with the history.
        """
        with Workers(self.threads) as pool:
            problem = self._problem(atoms, electron_temperature)
            if self.bands == "all":
                check_memory(problem)
            state = self._converge(problem, KPointSolver(problem, pool), pool)
            total = total_energy(problem, state, pool)
        return ThermalState(
            atoms=atoms.copy(),
            grid=problem.grid,
            density=state.density.cpu().numpy(),
            reference=_reference(problem, state, total),
            eigenvalues=_table([band.eigenvalues.cpu().numpy() for band in state.states]),
            weights=problem.weights,
            history=tuple(state.history),
        )

    def run(self, atoms: Atoms, electron_temperature: float) -> Snapshot:
        """Returns the converged snapshot: LDOS, density, free energy and its parts, forces, stress.

        Arguments and errors are the same as for :meth:`solve`.
        """
        with Workers(self.threads) as pool:
            problem = self._problem(atoms, electron_temperature)
            shape = self.ldos.grid or problem.grid.shape
            check_coarser(shape, problem.grid.shape)
            if self.bands == "all":
                check_memory(problem)
            solver = KPointSolver(problem, pool)
            state = self._converge(problem, solver, pool)
            total = total_energy(problem, state, pool)
            lowest = min(float(band.eigenvalues[0]) for band in state.states)
            options = self.ldos.covering(electron_temperature)
            highest = None
            if options.highest_electron_temperature <= electron_temperature:
                highest = highest_energy(state, options.broadening)
            energies = energy_grid(options, lowest, state.filling.fermi_level, highest)
            states = window_bands(problem, solver, state, energies.stop + REACH * options.broadening)
            kpoints = [
                KPointBands(float(weight), bands.eigenvalues.cpu().numpy(), partial(_bands, waves, bands.coefficients))
                for waves, weight, bands in zip(problem.waves, problem.weights, states, strict=True)
            ]
            ldos = local_density_of_states(kpoints, problem.grid, energies, options.broadening, shape, pool)
        ion_temperature = atoms.info.get("ion_temperature")
        return Snapshot(
            atoms=atoms.copy(),
            grid=RealSpaceGrid(problem.grid.cell, shape),
            energy_grid=energies,
            ldos=ldos,
            density=resample(state.density, shape).cpu().numpy(),
            electron_temperature=float(electron_temperature),
            ion_temperature=None if ion_temperature is None else float(ion_temperature),
            broadening=Broadening(GAUSSIAN, options.broadening),
            reference=_reference(problem, state, total),
            ions=problem.ions.cores,
            functional=problem.functional.name,
            provenance=self._settings(problem.ions.potentials, problem.cutoff)
            | {"kpts": list(problem.kpts), "grid": list(problem.grid.shape), "scf_iterations": len(state.history)},
        )

    def _problem(self, atoms: Atoms, electron_temperature: float) -> Problem:
        warn_of_unit(electron_temperature)
        check_structure(atoms)
        symbols = atoms.get_chemical_symbols()
        elements = list(dict.fromkeys(symbols))
        cutoff = self._cutoff(self._load(elements))
        grid = RealSpaceGrid.from_momentum(atoms.cell.array, 2 * math.sqrt(cutoff / units.KINETIC))
        device = torch.device(self.device)
        ions = Ions(
            symbols=symbols,
            potentials=self._load(elements, _highest_momentum(grid)),
            positions=torch.as_tensor(atoms.positions, dtype=torch.float64, device=device),
            cell=torch.as_tensor(grid.lattice, dtype=torch.float64, device=device),
        )
        warn_of_moments(atoms)
        warn_of_overlap(atoms, {symbol: potential.core_radius for symbol, potential in ions.potentials.items()})
        kpts, shift = mesh_of(self.kpts, self.shift, grid.lattice)
        mesh = monkhorst_pack(kpts, shift)
        warn_of_low_cutoff(ions.potentials, cutoff, functional(self.xc).name)
        warn_of_ionised_cores({symbol: p.valence for symbol, p in ions.potentials.items()}, electron_temperature)
        charges = torch.tensor([ions.potentials[s].valence for s in symbols], dtype=torch.float64, device=device)
        return Problem(
            ions=ions,
            grid=grid,
            waves=[plane_waves(grid, fraction, cutoff, device) for fraction in mesh.fractions],
            weights=mesh.weights,
            functional=functional(self.xc).at(electron_temperature),
            core=core_density(ions.cores, symbols, ions.positions, FourierGrid(ions.cell, grid.shape)),
            electrons=float(charges.sum()),
            ion_energy=float(ewald_energy(ions.positions, charges, ions.cell)),
            electron_temperature=float(electron_temperature),
            dtype=_DTYPES[self.dtype],
            cutoff=cutoff,
            kpts=kpts,
            shift=shift,
        )

    def _converge(self, problem: Problem, solver: KPointSolver, pool: Workers) -> ScfState:
        plan = band_plan(problem, self.bands, self.tail)
        warn_of_hot_electrons(problem, plan)
        try:
            return self._follow(plan, problem, solver, pool)
        except OccupiedTopError:
            if self.tail is False:
                raise
            plan = replace(plan, tail=Tail(plan.bands, problem.grid.volume))
            warn_of_hot_electrons(problem, plan)
            return self._follow(plan, problem, solver, pool)

    def _follow(self, plan: BandPlan, problem: Problem, solver: KPointSolver, pool: Workers) -> ScfState:
        solve = partial(self_consistent, options=self.scf, pool=pool, report=self.report)
        density = None
        half = half_mesh(problem)
        if half is not None:
            with suppress(ConvergenceError):
                first = solve(half, KPointSolver(half, pool), plan)
                bands = max(plan.bands, min(len(first.states[0].eigenvalues), fewest_waves(problem)))
                density, plan = first.density, replace(plan, bands=bands)
        return solve(problem, solver, plan, density=density)

    def provenance(self, symbols: Iterable[str]) -> dict[str, Any]:
        """Returns the settings for the provenance of a snapshot with these elements.

        Raises:
            InputError: if a pseudopotential is missing or of the wrong kind.
        """
        potentials = self._load(symbols)
        return self._settings(potentials, self._cutoff(potentials))

    def for_elements(self, symbols: Iterable[str]) -> Self:
        """Returns the engine with the cutoff for all of these elements, so that it does not depend on the structure."""
        return self if self.cutoff is not None else replace(self, cutoff=self._cutoff(self._load(symbols)))

    def _load(self, symbols: Iterable[str], momentum: float = psp.MOMENTUM) -> dict[str, psp.Pseudopotential]:
        name = functional(self.xc).name
        return psp.load(self.pseudopotentials, symbols, name, momentum=momentum, allow_other_functional=True)

    def _cutoff(self, potentials: Mapping[str, psp.Pseudopotential]) -> float:
        if self.cutoff is not None:
            return self.cutoff
        return default_cutoff({potential.name: potential.cutoff for potential in potentials.values()})

    def _settings(self, potentials: Mapping[str, psp.Pseudopotential], cutoff: float) -> dict[str, Any]:
        return {
            "engine": "fermisea.PlaneWave",
            "version": _VERSION,
            "xc": functional(self.xc).name,
            **({"thermal_xc": functional(self.xc).name} if functional(self.xc).is_thermal else {}),
            "cutoff_eV": cutoff,
            **mesh_settings(self.kpts, self.shift),
            "scf_tolerance_eV_per_atom": self.scf.tolerance,
            "dtype": self.dtype,
            **({} if self.bands is None else {"bands": self.bands}),
            **({} if self.tail == "auto" else {"tail": self.tail}),
            "pseudopotentials": {
                symbol: {"name": p.name, "sha256": p.digest, "valence": p.valence} for symbol, p in potentials.items()
            },
        }


def _bands(waves: PlaneWaves, coefficients: Tensor, first: int, stop: int) -> tuple[PlaneWaves, Tensor]:
    """Returns the plane waves and the coefficients of a block of bands."""
    return waves, coefficients[first:stop]


def _table(rows: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """Returns rows of different lengths as an array, with NaN at their ends."""
    longest = max(map(len, rows))
    return np.stack([np.pad(row, (0, longest - len(row)), constant_values=np.nan) for row in rows])


def _reference(problem: Problem, state: ScfState, total: TotalEnergy) -> Reference:
    return Reference(
        free_energy=total.free_energy,
        parts=total.parts,
        fermi_level=state.filling.fermi_level,
        electrons=problem.electrons,
        entropy_term=state.filling.entropy_term,
        forces=total.forces,
        stress=total.stress,
        mean_potential=float(state.potential.mean()),
        xc_entropy_term=-problem.electron_temperature
        * xc_entropy(
            state.density + problem.core, FourierGrid.of(problem.ions.cell, state.density), problem.functional
        ),
        tail_electrons=state.filling.tail_electrons,
        tail_bottom=state.filling.tail_bottom,
    )


def _highest_momentum(grid: RealSpaceGrid) -> float:
    """Returns an upper bound of the momenta on the Fourier grid, 1/Angstrom."""
    half = np.array(grid.shape) / 2
    return float(half @ np.linalg.norm(grid.reciprocal, axis=1)) + 1.0
