"""The self-consistency cycle of finite-temperature Kohn-Sham DFT (Mermin, Phys. Rev. 137, A1441, 1965)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fermisea.engines.planewave.band_plan import BandPlan
from fermisea.engines.planewave.eigensolver import Bands
from fermisea.engines.planewave.filling import Filling, fill
from fermisea.engines.planewave.ions import local_potential
from fermisea.engines.planewave.mixing import AndersonMixer
from fermisea.engines.planewave.problem import Problem, starting_density
from fermisea.engines.planewave.solver import KPointSolver, weighted_density
from fermisea.engines.scf_step import ScfStep
from fermisea.errors import ConvergenceError, InputError
from fermisea.physics.fermi_dirac import occupation
from fermisea.physics.fields import FourierGrid
from fermisea.physics.free_energy import potential_and_double_counting
from fermisea.physics.hartree import hartree_energy
from fermisea.utilities.threads import Workers

DOUBLE_BELOW = 1e-7
"""Residual, eV per atom, above which the wavefunctions are in single precision, whose errors are much smaller; a
converged state is always computed in double precision."""

_STEPS = 4
"""Largest number of eigensolver steps in one iteration; twice as many for a nearly converged initial density."""


@dataclass(frozen=True)
class ScfOptions:
    """Options of the self-consistency cycle.

    Attributes:
        tolerance: Coulomb energy of the density residual at which the cycle ends, eV per atom. The error of the free
            energy of the run is about as large; the error of F from the LDOS is about its square root: 0.05 meV/atom at
            1e-8 in aluminium, 0.005 at 1e-10.
        max_iterations: largest number of iterations; beyond it the run fails.
        mixing: mixing fraction of short-wavelength residuals, above 0 and at most 1.
        history: number of earlier iterations used by the mixer.
    """

    tolerance: float = 1e-9
    max_iterations: int = 60
    mixing: float = 0.8
    history: int = 8

    def __post_init__(self) -> None:
        if not (self.tolerance > 0 and self.max_iterations > 0 and 0 < self.mixing <= 1 and self.history >= 0):
            raise InputError(f"SCF options: got {self}, expected tolerance > 0, max_iterations > 0 and 0 < mixing <= 1")


@dataclass(frozen=True)
class ScfState:
    """A converged thermal state.

    Attributes:
        plan: number of bands, and the tail.
        states: bands of each k-point.
        filling: Fermi level, occupations and sums over the states.
        density: valence density of the occupied states, (nx, ny, nz), 1/Angstrom^3.
        potential: effective local potential of the bands, (nx, ny, nz), eV.
        history: SCF iterations.
    """

    plan: BandPlan
    states: Sequence[Bands]
    filling: Filling
    density: Tensor
    potential: Tensor
    history: Sequence[ScfStep]


def self_consistent(
    problem: Problem,
    solver: KPointSolver,
    plan: BandPlan,
    *,
    options: ScfOptions,
    pool: Workers,
    report: Callable[[ScfStep], None] | None = None,
    density: Tensor | None = None,
) -> ScfState:
    """Returns the self-consistent thermal state.

    Args:
        problem: quantities that are fixed during the cycle.
        solver: eigensolver of the k-points.
        plan: initial number of bands, and the tail.
        options: tolerance and mixing.
        pool: thread pool for the k-points.
        report: callback after each iteration.
        density: nearly self-consistent initial density, (nx, ny, nz), 1/Angstrom^3; by default a superposition of
            atomic densities.

    Raises:
        ConvergenceError: if the cycle does not converge, with the history.
        OccupiedTopError: if the occupation of the top band of a fixed number of bands without tail is above 1e-6.
        InputError: if the basis has fewer plane waves than bands are needed.
    """
    temperature = problem.electron_temperature
    atoms = len(problem.ions.symbols)
    ionic = torch.fft.ifftn(local_potential(problem.ions, problem.grid.shape), norm="forward").real
    mixer = AndersonMixer(problem.squared_momenta, problem.screening, options.mixing, options.history)
    residual, first_steps = (0.1, _STEPS) if density is None else (1e-6, 2 * _STEPS)
    if density is not None and plan.tail is not None:  # the number of states below the switch depends on the mesh
        residual, first_steps = 1e-3, _STEPS
    density = starting_density(problem) if density is None else density
    history: list[ScfStep] = []
    mu = math.inf
    while len(history) < options.max_iterations:
        exact = residual < max(DOUBLE_BELOW, 10 * options.tolerance)
        solver.cast(problem.dtype if exact else torch.complex64)
        hxc, double_counting = potential_and_double_counting(
            density, density + problem.core, FourierGrid(problem.ions.cell, problem.grid.shape), problem.functional
        )
        potential = ionic + hxc
        wanted = math.sqrt(0.1 * max(residual, options.tolerance))

        def limits(values: npt.NDArray[np.float64], wanted: float = wanted, mu: float = mu) -> npt.NDArray[np.float64]:
            # the error of a band matters less if its occupation is small
            filled = np.ones_like(values) if math.isinf(mu) else occupation(np.minimum(values, 1e6), mu, temperature)
            return wanted / np.sqrt(np.clip(filled, 1e-3, 1.0))

        if not bool(torch.isfinite(potential).all()):
            break
        steps = _STEPS if history else first_steps
        states = solver.solve(potential, plan.bands, limits, max_steps=steps, whole=plan.whole)
        filling = fill(problem, states, float(potential.mean()), plan.tail)
        mu = filling.fermi_level
        new_density = weighted_density(problem, states, filling.weights, pool)
        if plan.tail is not None:
            new_density += filling.uniform / problem.grid.volume
        change = new_density - density
        residual = float(hartree_energy(change, FourierGrid.of(problem.ions.cell, change))) / atoms
        energy = filling.band_energy + filling.entropy_term + double_counting + problem.ion_energy
        history.append(ScfStep(len(history) + 1, energy, residual, mu))
        if report:
            report(history[-1])
        if not math.isfinite(energy):
            break
        checked = plan.checked(problem, filling, min(float(band.eigenvalues[-1]) for band in states))
        if checked is plan and exact and residual < options.tolerance:
            return ScfState(plan, states, filling, new_density, potential, history)
        plan = checked
        density = mixer.next_input(density, new_density)
    raise ConvergenceError(
        f"SCF: the residual after {len(history)} iterations is {residual:.1e} eV/atom, expected at most "
        f"{options.tolerance:.1e}; lower `mixing` ({options.mixing}), raise `max_iterations`, or correct the structure",
        [asdict(step) for step in history],
    )
