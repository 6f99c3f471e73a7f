"""Structures at an ionic temperature: canonical molecular dynamics with any ASE calculator."""

from __future__ import annotations

import importlib
import itertools
import math
import runpy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ase.units
import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, get_calculator_class
from ase.constraints import FixCom
from ase.md.langevin import Langevin

from fermisea.data.calculators import EMT_EXAMPLES, advice
from fermisea.data.correlation import correlation_time
from fermisea.data.kinetic_temperature import check_sample, kinetic_temperature, warn_of_ion_unit
from fermisea.data.trajectories import labelled
from fermisea.errors import InputError
from fermisea.grid import check_structure

_SHORTEST = 0.2
"""Shortest thermalisation, ps, from which a correlation time can be estimated."""


@dataclass(frozen=True)
class Trajectory:
    """Structures sampled at one ionic temperature.

    Attributes:
        ion_temperature: requested tau_i, K.
        frames: the structures, each with ``ion_temperature`` in its ``info``.
        temperatures: kinetic temperature of each structure, K.
        mean_temperature: kinetic temperature, averaged over all steps after thermalisation, K.
        mean_square_displacement: mean square displacement from the initial structure, averaged over atoms and the same
            steps, Angstrom^2.
        correlation_time: correlation time of the potential energy, ps.
        spacing: time between structures, ps.
    """

    ion_temperature: float
    frames: list[Atoms]
    temperatures: list[float]
    mean_temperature: float
    mean_square_displacement: float
    correlation_time: float
    spacing: float


def sample(
    atoms: Atoms,
    ion_temperature: float,
    snapshots: int,
    *,
    calculator: Any = "emt",
    timestep: float = 2.0,
    thermalise: float = 2.0,
    spacing: float | None = None,
    friction: float = 5.0,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Trajectory:
    """Returns structures of the canonical ensemble at fixed cell, by Langevin dynamics.

    The initial velocities correspond to 2 tau_i: in a perfect crystal half of the kinetic energy is converted into
    potential energy (equipartition). The centre of mass is at rest, unless the structure has constraints, which the
    dynamics obeys. A seed gives the same structures independent of
    the other temperatures sampled.

    Args:
        atoms: a structure near its potential minimum, such as a perfect crystal.
        ion_temperature: tau_i, K.
        snapshots: number of structures.
        calculator: ASE calculator, or its name for :func:`find_calculator`.
        timestep: time step, fs.
        thermalise: time before the first structure, ps.
        spacing: time between structures, ps; by default twice the correlation time of the potential energy at the end
            of thermalisation.
        friction: friction of the Langevin dynamics, 1/ps.
        seed: random seed of velocities and random forces.
        progress: callback with the number of steps done and the total number of steps.

    Raises:
        InputError: for invalid values, a calculator that does not support an element, an unstable run, or a kinetic
            temperature far from the requested one.
    """
    for name, value in (("ion temperature", ion_temperature), ("timestep", timestep), ("spacing", spacing or 1.0)):
        _check(name, value, lowest=math.ulp(0.0))
    warn_of_ion_unit(ion_temperature)
    if spacing is None and thermalise < _SHORTEST:
        raise InputError(
            f"thermalise: got {thermalise} ps, expected at least {_SHORTEST} ps; or give the spacing between structures"
        )
    for name, value in (("thermalise", thermalise), ("friction", friction)):
        _check(name, value, lowest=0.0)
    if snapshots < 1:
        raise InputError(f"snapshots: got {snapshots}, expected at least 1")
    check_structure(atoms, "structure")
    examples = sorted(EMT_EXAMPLES & set(atoms.symbols))
    if calculator == "emt" and examples:
        warnings.warn(
            f"calculator emt: the parameters of {', '.join(examples)} in ASE's EMT are examples without physical "
            f"meaning; {advice(atoms.symbols)}",
            stacklevel=2,
        )
    moving = Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=True)
    moving.calc = find_calculator(calculator) if isinstance(calculator, str) else calculator
    moving.set_constraint([constraint.copy() for constraint in atoms.constraints] or FixCom())
    freedom = _freedom(moving)
    rng = np.random.default_rng([seed, round(1000 * ion_temperature)])
    thermal_speed = np.sqrt(2 * ase.units.kB * ion_temperature / moving.get_masses())
    moving.set_momenta(moving.get_masses()[:, None] * thermal_speed[:, None] * rng.standard_normal((len(moving), 3)))
    dynamics = Langevin(
        moving,
        timestep * ase.units.fs,
        temperature_K=ion_temperature,
        friction=friction / (1000 * ase.units.fs),
        fixcm=False,
        rng=rng,
    )

    before = round(1000 * thermalise / timestep)
    between = 0 if spacing is None else max(1, round(1000 * spacing / timestep))
    masses = moving.get_masses()
    frames: list[Atoms] = []
    chosen: list[float] = []
    energies: list[float] = []
    temperatures: list[float] = []
    displacements: list[float] = []
    for done in itertools.count(1):
        _advance(dynamics, moving, calculator)
        energies.append(float(moving.get_potential_energy()))
        if done == before and between == 0:
            between = math.ceil(2 * correlation_time(energies[before // 2 :]))
        if done > before:
            temperatures.append(kinetic_temperature(moving.get_momenta(), masses, 3 * len(moving) - freedom))
            displacements.append(float(np.mean(np.sum((moving.positions - atoms.positions) ** 2, axis=1))))
            if (done - before) % between == 0:
                frames.append(labelled(moving, ion_temperature))
                chosen.append(temperatures[-1])
        if progress is not None:
            progress(done, before + snapshots * between)
        if len(frames) == snapshots:
            break
    memory = timestep / 1000 * correlation_time(energies[min(before, len(energies) // 2) :])
    apart = between * timestep / 1000
    if apart < memory and snapshots > 1:
        warnings.warn(
            f"tau_i = {ion_temperature:g} K: structures are {apart:.2f} ps apart, but the correlation time of the "
            f"potential energy is {memory:.2f} ps; choose a longer spacing",
            stacklevel=2,
        )
    check_sample(
        temperatures,
        freedom,
        ion_temperature,
        advice="choose a longer thermalisation, a higher friction or a shorter time step",
    )
    mean, displacement = float(np.mean(temperatures)), float(np.mean(displacements))
    return Trajectory(ion_temperature, frames, chosen, mean, displacement, memory, apart)


def _freedom(moving: Atoms) -> int:
    """Returns the number of degrees of freedom of a structure with its constraints."""
    try:
        freedom = int(moving.get_number_of_degrees_of_freedom())
    except NotImplementedError as error:
        kinds = ", ".join(type(constraint).__name__ for constraint in moving.constraints)
        raise InputError(
            f"structure: got the constraints {kinds}, expected ones whose degrees of freedom ASE can count, such as "
            "FixAtoms; remove the others"
        ) from error
    if freedom <= 0:
        raise InputError(
            "structure: no atom can move, because of constraints, or because the centre of mass of a single atom is at "
            "rest; repeat the structure (--repeat 2 2 2), or remove constraints"
        )
    return freedom


def find_calculator(name: str) -> BaseCalculator:
    """Returns an ASE calculator.

    Args:
        name: name of a calculator in ASE such as ``emt``, or ``package.module:callable`` or ``file.py:callable``,
            where the callable without arguments returns the calculator.

    Raises:
        InputError: if there is no such calculator, or it cannot be created.
    """
    module, _, attribute = name.partition(":")
    try:
        if not attribute:
            return get_calculator_class(name)()
        if module.endswith(".py"):
            return runpy.run_path(module)[attribute]()
        return getattr(importlib.import_module(module), attribute)()
    except Exception as error:
        # Importing or creating a calculator may raise any exception.
        raise InputError(
            f"calculator {name}: cannot be created ({_line(error)}); give the name of an ASE calculator such as emt, "
            "PACKAGE.MODULE:FUNCTION, or FILE.py:FUNCTION, where FUNCTION() returns an ASE calculator"
        ) from error


def _advance(dynamics: Langevin, moving: Atoms, calculator: Any) -> None:
    try:
        dynamics.run(1)
    except Exception as error:
        # Calculators refuse elements and geometries with exceptions of any kind.
        name = getattr(calculator, "name", calculator)
        raise InputError(
            f"calculator {name}: fails for {moving.get_chemical_formula()} ({_line(error)}); choose another: "
            f"{advice(moving.symbols)}"
        ) from error
    if not np.isfinite(moving.positions).all():
        raise InputError(
            f"molecular dynamics of {moving.get_chemical_formula()}: positions are not finite after a step; "
            "choose a shorter time step or a lower ion temperature"
        )


def _check(name: str, value: float, lowest: float) -> None:
    if not (math.isfinite(value) and value >= lowest):
        raise InputError(f"{name}: got {value}, expected a finite value {'above' if lowest else 'of at least'} 0")


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
