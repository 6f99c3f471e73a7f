"""Forces from the potential of a model at every tau_e against forces from its LDOS, and molecular dynamics.

Timed is a force call of the ASE calculator for 32 atoms at 10,000 K with the shipped aluminium model: anchored, with
the density, or by the potential alone; the two kinds are interleaved. Then 4000 atoms move for two picoseconds at
constant energy, with electrons at 10,000 K.

    python benchmarks/potential.py
    python benchmarks/potential.py --quick    few atoms, few steps
"""

from __future__ import annotations

import numpy as np
import torch
from ase import Atoms
from ase import units as ase_units
from ase.build import bulk
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary
from ase.md.verlet import VelocityVerlet
from common import Table, digits, finish, options, parse, timed

import fermisea

TAU_E = 10_000.0
STEP = 2.0
"""Time step, fs."""


def crystal(repeat: int, rattle: float, seed: int) -> Atoms:
    """Returns a rattled cubic crystal."""
    atoms = bulk("Al", "fcc", a=4.05, cubic=True) * (repeat, repeat, repeat)
    atoms.positions += np.random.default_rng(seed).normal(0, rattle, atoms.positions.shape)
    return atoms


def seconds_of(model: fermisea.Model, repeat: int) -> dict[str, list[float]]:
    """Returns the durations of a force call of 32 atoms by each of the two ways, s."""
    found: dict[str, list[float]] = {"LDOS": [], "potential": []}
    calculators = {
        "LDOS": fermisea.Calculator(model, TAU_E, free_energy="anchored", uncertainty=False),
        "potential": fermisea.Calculator(model, TAU_E, potential=True),
    }
    for run in range(-1, repeat):
        for name, calculator in calculators.items():
            for call in range(1 if name == "LDOS" else 20):
                atoms = crystal(2, 0.05, 100 * run + call + 100)
                atoms.calc = calculator
                seconds, _ = timed(atoms.get_forces)
                if run >= 0:  # the first run compiles functions
                    found[name].append(seconds)
    return found


def dynamics(model: fermisea.Model, repeat: int, steps: int) -> dict[str, float]:
    """Returns results of molecular dynamics at constant energy, started with ions at about 400 K."""
    atoms = crystal(repeat, 0.0, 0)
    MaxwellBoltzmannDistribution(atoms, temperature_K=800, rng=np.random.default_rng(0))
    Stationary(atoms)
    atoms.calc = fermisea.Calculator(model, TAU_E, potential=True)
    motion = VelocityVerlet(atoms, STEP * ase_units.fs)
    energies: list[float] = []
    motion.attach(lambda: energies.append(atoms.get_total_energy() / len(atoms)))
    seconds, _ = timed(motion.run, steps)
    times = STEP * 1e-3 * np.arange(len(energies))
    settled = times >= 0.1 * times[-1]
    drift = np.polyfit(times[settled], 1000 * np.array(energies)[settled], 1)[0]
    return {
        "atoms": len(atoms),
        "picoseconds": float(times[-1]),
        "drift_meV_per_atom_per_ps": float(drift),
        "fluctuation_meV_per_atom": 1000 * float(np.std(energies)),
        "ion_temperature_K": float(atoms.get_temperature()),
        "seconds_per_step": seconds / steps,
    }


def main() -> None:
    """Measures, prints two tables and writes JSON."""
    values = parse(options(__doc__, "potential", 5))
    torch.set_num_threads(1)
    model = fermisea.load_model("aluminium")
    values.pace.take()
    times = seconds_of(model, values.repeat)
    values.pace.take()
    ldos, potential = (min(times[name]) for name in ("LDOS", "potential"))
    found = dynamics(model, 2 if values.quick else 10, 10 if values.quick else 1000)
    title = "Force call of the calculator, 32 aluminium atoms at 10,000 K, minima"
    speed = Table(
        "potential",
        title,
        ("LDOS (s)", "potential (s)", "ratio"),
        [(digits(ldos), digits(potential), f"{ldos / potential:.0f}")],
    )
    motion = Table(
        "dynamics",
        "Molecular dynamics at constant energy by the potential, electrons at 10,000 K, steps of 2 fs",
        ("atoms", "ps", "drift (meV/atom/ps)", "fluctuation (meV/atom)", "tau_i at the end (K)", "s per step"),
        [
            (
                f"{found['atoms']:.0f}",
                f"{found['picoseconds']:g}",
                f"{found['drift_meV_per_atom_per_ps']:.1e}",
                f"{found['fluctuation_meV_per_atom']:.1e}",
                f"{found['ion_temperature_K']:.0f}",
                digits(found["seconds_per_step"]),
            )
        ],
    )
    finish(values, [speed, motion], {"seconds": times, "dynamics": found})


if __name__ == "__main__":
    main()
