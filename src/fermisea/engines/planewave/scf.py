"""The self-consistency cycle of finite-temperature Kohn-Sham DFT (Mermin, Phys. Rev. 137, A1441, 1965)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fermisea import units
from fermisea.engines.planewave.eigensolver import Bands
from fermisea.engines.planewave.ions import local_potential
from fermisea.engines.planewave.mixing import AndersonMixer
from fermisea.engines.planewave.problem import Problem, starting_density
from fermisea.engines.planewave.solver import KPointSolver, weighted_density
from fermisea.engines.scf_step import ScfStep
from fermisea.errors import ConvergenceError, InputError
from fermisea.physics.fermi_dirac import entropy_density, fermi_level_of_states, occupation
from fermisea.physics.free_energy import potential_and_double_counting
from fermisea.physics.hartree import hartree_energy
from fermisea.utilities.threads import Workers

EMPTY = 1e-6
"""Largest allowed occupation (0 to 1) of the top band."""

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
        states: bands of each k-point.
        occupations: f at each k-point, (bands,), 0 to 1.
        fermi_level: mu, eV.
        entropy_term: -TS, eV.
        density: valence density of the occupied bands, (nx, ny, nz), 1/Angstrom^3.
        potential: effective local potential of the bands, (nx, ny, nz), eV.
        history: SCF iterations.
    """

    states: Sequence[Bands]
    occupations: Sequence[npt.NDArray[np.float64]]
    fermi_level: float
    entropy_term: float
    density: Tensor
    potential: Tensor
    history: Sequence[ScfStep]


def self_consistent(
    problem: Problem,
    solver: KPointSolver,
    bands: int,
    *,
    fixed_bands: bool,
    options: ScfOptions,
    pool: Workers,
    report: Callable[[ScfStep], None] | None = None,
    density: Tensor | None = None,
) -> ScfState:
    """Returns the self-consistent thermal state.

    Args:
        problem: quantities that are fixed during the cycle.
        solver: eigensolver of the k-points.
        bands: initial number of bands.
        fixed_bands: whether ``bands`` was chosen by the user; otherwise bands are added while the top band is occupied.
        options: tolerance and mixing.
        pool: thread pool for the k-points.
        report: callback after each iteration.
        density: nearly self-consistent initial density, (nx, ny, nz), 1/Angstrom^3; by default a superposition of
            atomic densities.

    Raises:
        ConvergenceError: if the cycle does not converge, with the history.
        InputError: if the occupation of the top band is above 1e-6 with ``fixed_bands``.
    """
    temperature = problem.electron_temperature
    atoms = len(problem.ions.symbols)
    ionic = torch.fft.ifftn(local_potential(problem.ions, problem.grid.shape), norm="forward").real
    mixer = AndersonMixer(problem.squared_momenta, problem.screening, options.mixing, options.history)
    residual, first_steps = (0.1, _STEPS) if density is None else (1e-6, 2 * _STEPS)
    density = starting_density(problem) if density is None else density
    history: list[ScfStep] = []
    mu = math.inf
    while len(history) < options.max_iterations:
        exact = residual < max(DOUBLE_BELOW, 10 * options.tolerance)
        solver.cast(problem.dtype if exact else torch.complex64)
        hxc, double_counting = potential_and_double_counting(
            density, density + problem.core, problem.ions.cell, problem.functional
        )
        potential = ionic + hxc
        wanted = math.sqrt(0.1 * max(residual, options.tolerance))

        def limits(values: npt.NDArray[np.float64], wanted: float = wanted, mu: float = mu) -> npt.NDArray[np.float64]:
            # the error of a band matters less if its occupation is small
            filled = np.ones_like(values) if math.isinf(mu) else occupation(np.minimum(values, 1e6), mu, temperature)
            return wanted / np.sqrt(np.clip(filled, 1e-3, 1.0))

        if not bool(torch.isfinite(potential).all()):
            break
        states = solver.solve(potential, bands, limits, max_steps=_STEPS if history else first_steps)
        mu = fermi_level_of_states(*_levels(problem, states), problem.electrons, temperature)
        occupations = [occupation(band.eigenvalues.cpu().numpy(), mu, temperature) for band in states]
        new_density = weighted_density(problem, states, occupations, pool)
        residual = float(hartree_energy(new_density - density, problem.ions.cell)) / atoms
        band_energy, entropy_term = _band_sums(problem, states, occupations, mu)
        energy = band_energy + entropy_term + double_counting + problem.ion_energy
        history.append(ScfStep(len(history) + 1, energy, residual, mu))
        if report:
            report(history[-1])
        if not math.isfinite(energy):
            break
        top = max(float(filled[-1]) for filled in occupations)
        if top > EMPTY:
            bands = _more_bands(bands, top, temperature, fixed=fixed_bands)
        elif exact and residual < options.tolerance:
            return ScfState(states, occupations, mu, entropy_term, new_density, potential, history)
        density = mixer.next_input(density, new_density)
    raise ConvergenceError(
        f"SCF: the residual after {len(history)} iterations is {residual:.1e} eV/atom, expected at most "
        f"{options.tolerance:.1e}; lower `mixing` ({options.mixing}), raise `max_iterations`, or correct the structure",
        [asdict(step) for step in history],
    )


def _levels(problem: Problem, states: Sequence[Bands]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Returns all eigenvalues (eV) and their weights, spin included, flattened."""
    values = [band.eigenvalues.cpu().numpy() for band in states]
    weights = [np.full(v.size, 2 * w) for v, w in zip(values, problem.weights, strict=True)]
    return np.concatenate(values), np.concatenate(weights)


def _band_sums(
    problem: Problem, states: Sequence[Bands], occupations: Sequence[npt.NDArray[np.float64]], mu: float
) -> tuple[float, float]:
    """Returns the band energy and -TS, eV."""
    values, weights = _levels(problem, states)
    band_energy = float(np.sum(weights * np.concatenate(list(occupations)) * values))
    entropy = float(np.sum(weights * entropy_density(values, mu, problem.electron_temperature)))
    return band_energy, -units.thermal_energy(problem.electron_temperature) * entropy


def _more_bands(bands: int, top: float, temperature: float, *, fixed: bool) -> int:
    if fixed:
        raise InputError(
            f"bands: with {bands} bands the occupation of the top band at {temperature:g} K is {top:.1e}, expected at "
            f"most {EMPTY:g}; request more bands, or leave the number to the engine"
        )
    return math.ceil(1.15 * bands) + 1
