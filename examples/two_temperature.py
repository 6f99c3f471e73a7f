"""Two-temperature molecular dynamics: a laser pulse heats the electrons of aluminium, and the electrons heat the ions.

Molecular dynamics of 108 atoms at constant volume: equilibration at 300 K with a thermostat, followed by a pulse and a
few ps without thermostat. The forces come from the interatomic potential of the model at tau_e of the moment; tau_e
follows from the heat of the electrons (fermisea.TwoTemperatureDynamics). The output consists of trajectories, which are
resumed after an interruption; a table and a figure of temperatures, pressure, mean square displacement, pair
distribution, energies and the conserved sum; and summary.json, with tau_e at the end compared with the energy balance
of the heat capacities. It takes a few minutes on one core.

    python examples/two_temperature.py aluminium DIR [--absorbed 0.3] [--coupling 2.5] [--time 4]
    python examples/two_temperature.py aluminium DIR --lambda-omega2 186 --absorbed 0.5
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms, units
from ase.build import bulk
from ase.constraints import FixCom
from ase.io import Trajectory
from ase.md.langevin import Langevin
from laser_heating import EVERY, frames_of, keep_settings, run, start_of
from matplotlib.figure import Figure
from rich.progress import Progress

import fermisea
from fermisea.analysis.structure import PairDistribution
from fermisea.data.kinetic_temperature import kinetic_temperature
from fermisea.utilities.files import write_text

FloatArray = npt.NDArray[np.float64]

LATTICE = 4.05
"""Lattice constant, Angstrom."""

POSITIVE = {
    "absorbed": " eV/atom",
    "duration": " fs",
    "lambda_omega2": " meV^2",
    "ion_temperature": " K",
    "repeat": "",
    "timestep": " fs",
    "time": " ps",
}
NOT_NEGATIVE = {"coupling": " in 10^17 W/(m^3 K)", "equilibration": " ps"}
"""Options that have to be positive, or not negative, with their units."""

END = 0.1
"""Fraction of the run at its end over which final values are averaged."""


def heat(dynamics: fermisea.TwoTemperatureDynamics, path: Path, steps: int, progress: Progress) -> None:
    """Runs until the total number of steps is ``steps``, with a frame at the start and every few steps.

    Args:
        dynamics: dynamics of ions with a calculator, at the last frame of the trajectory.
        path: trajectory, which is continued if it exists.
        steps: total number of steps.
        progress: progress bars.
    """
    atoms, done = dynamics.atoms, 0
    if path.exists():
        dynamics.restore(atoms.info["dynamics"])
        done = dynamics.nsteps
    task = progress.add_task(path.stem, total=steps, completed=done)
    with Trajectory(str(path), "a" if done else "w", atoms) as trajectory:

        def keep() -> None:
            if dynamics.nsteps > done or done == 0:
                atoms.get_stress()
                energies = {name: getattr(dynamics, name) for name in ("internal_energy", "conserved_energy")}
                atoms.info["dynamics"] = dynamics.state() | energies
                trajectory.write()
            progress.update(task, completed=dynamics.nsteps)

        dynamics.attach(keep, interval=EVERY)
        dynamics.run(max(steps - done, 0))


def observables(frames: list[Atoms], timestep: float) -> dict[str, FloatArray]:
    """Returns columns over the frames: time, temperatures, pressure, displacement, energies, conserved sum.

    Args:
        frames: frames of a trajectory of ``heat``.
        timestep: time step, fs.
    """
    states = {name: np.array([f.info["dynamics"][name] for f in frames]) for name in frames[0].info["dynamics"]}
    masses, number = frames[0].get_masses(), len(frames[0])
    paths = np.array([frame.positions - np.average(frame.positions, axis=0, weights=masses) for frame in frames])
    return {
        "time_fs": timestep * states["step"],
        "electron_temperature_K": states["electron_temperature"],
        "ion_temperature_K": np.array([kinetic_temperature(f.get_momenta(), f.get_masses()) for f in frames]),
        "pressure_GPa": np.array(
            [-np.trace(f.get_stress(voigt=False, include_ideal_gas=True)) / 3 / units.GPa for f in frames]
        ),
        "mean_square_displacement_A2": ((paths - paths[0]) ** 2).sum(axis=2).mean(axis=1),
        "absorbed_eV_per_atom": states["absorbed"] / number,
        "transferred_eV_per_atom": states["transferred"] / number,
        "kinetic_energy_eV_per_atom": np.array([frame.get_kinetic_energy() / number for frame in frames]),
        "internal_energy_eV_per_atom": states["internal_energy"] / number,
        "conserved_eV_per_atom": states["conserved_energy"] / number,
    }


def balance(
    model: fermisea.Model, frames: list[Atoms], columns: dict[str, FloatArray], progress: Progress
) -> dict[str, float]:
    """Returns tau_e at the end of the run, and tau_e that the energy balance of the heat capacities gives.

    The integral of C_e from the initial tau_e is the absorbed energy minus the changes of the kinetic energy and of
    U at the initial tau_e, which is the potential energy that the ions have gained. All are means over the end of the
    run. C_e is that of the potential for the displaced ions at the end of the run, which closes the balance, and that
    of the perfect crystal from the potential and from the LDOS of the model (anchored), as in tables of C_e.
    """
    late = max(round(END * len(frames)), 1)
    start, potential = float(columns["electron_temperature_K"][0]), model.potential()
    task = progress.add_task("energy balance", total=late + 2)

    def cold(frame: Atoms) -> float:
        """Returns U of a frame with electrons at the initial tau_e, eV/atom."""
        progress.advance(task)
        return float(potential.predict(frame, start, derivatives=False).internal_energy) / len(frame)

    gained = float(np.mean([cold(frame) for frame in frames[-late:]])) - cold(frames[0])
    kinetic = columns["kinetic_energy_eV_per_atom"]
    kinetic_gain, absorbed = float(kinetic[-late:].mean() - kinetic[0]), float(columns["absorbed_eV_per_atom"][-1])
    crystal = bulk("Al", "fcc", a=frames[0].cell.volume ** (1 / 3) / round((len(frames[0]) / 4) ** (1 / 3)), cubic=True)
    temperatures = np.linspace(start, 1.1 * columns["electron_temperature_K"].max(), 200)
    ldos = fermisea.thermo(model, crystal, temperatures[-1], lowest=start, pressure=False, free_energy="anchored")
    progress.advance(task)

    def capacity(atoms: Atoms) -> FloatArray:
        """Returns C_e of the potential at each of the temperatures, eV/K per atom."""
        prediction = potential.predict(atoms, temperatures.tolist(), derivatives=False)
        return np.asarray(prediction.heat_capacity) / len(atoms)

    capacities = {
        "displaced_ions": np.mean([capacity(frame) for frame in frames[-late:]], axis=0),
        "crystal": capacity(crystal),
        "crystal_from_ldos": np.interp(temperatures, ldos.electron_temperature, ldos.heat_capacity) / len(crystal),
    }
    found = {
        "electron_temperature_K": float(columns["electron_temperature_K"][-late:].mean()),
        "ion_temperature_K": float(columns["ion_temperature_K"][-late:].mean()),
        "absorbed_eV_per_atom": absorbed,
        "kinetic_gain_eV_per_atom": kinetic_gain,
        "potential_gain_eV_per_atom": gained,
    }
    for name, values in capacities.items():
        slices = np.diff(temperatures) * (values[1:] + values[:-1]) / 2
        integral = np.concatenate([[0.0], np.cumsum(slices)])
        found[f"electron_temperature_from_C_e_of_{name}_K"] = float(
            np.interp(absorbed - kinetic_gain - gained, integral, temperatures)
        )
        both = integral + 3 * units.kB * (temperatures - columns["ion_temperature_K"][0])  # harmonic ions
        found[f"common_temperature_of_harmonic_ions_C_e_of_{name}_K"] = float(np.interp(absorbed, both, temperatures))
    return found


def figure(columns: dict[str, FloatArray], pairs: dict[str, PairDistribution], pulse: fermisea.LaserPulse) -> Figure:
    """Returns temperatures, pressure, mean square displacement, pair distribution, energies, conserved sum."""
    drawn = Figure(figsize=(9.6, 5.2), layout="constrained")
    axes = drawn.subplots(2, 3).ravel()
    time = columns["time_fs"] / 1000
    for name, label in (("electron", r"electrons, $\tau_e$"), ("ion", r"ions, $\tau_i$")):
        axes[0].plot(time, columns[f"{name}_temperature_K"], label=label, linewidth=1.0)
    axes[0].set(ylabel="temperature (K)", ylim=(0, None))
    axes[0].legend(frameon=False)
    axes[1].plot(time, columns["pressure_GPa"], linewidth=1.0)
    axes[1].set(ylabel="pressure (GPa)")
    axes[2].plot(time, columns["mean_square_displacement_A2"], linewidth=1.0)
    axes[2].set(ylabel="mean square\ndisplacement (Å²)", ylim=(0, None))
    for label, pair in pairs.items():
        axes[3].plot(pair.distance, pair.g, label=label, linewidth=1.0)
    axes[3].set(xlabel="distance (Å)", ylabel="g(r)", xlim=(2, None), ylim=(0, None))
    axes[3].legend(frameon=False, loc="upper right")
    for name, label in (("absorbed", "absorbed"), ("transferred", "given to the ions")):
        axes[4].plot(time, columns[f"{name}_eV_per_atom"], label=label, linewidth=1.0)
    axes[4].set(ylabel="energy (eV/atom)", ylim=(0, None))
    axes[4].legend(frameon=False, loc="lower right")
    change = columns["conserved_eV_per_atom"] - columns["conserved_eV_per_atom"][0]
    axes[5].plot(time, 100 * change / pulse.energy, linewidth=1.0)
    for limit in (-0.1, 0.1):
        axes[5].axhline(limit, color="grey", linewidth=0.8, linestyle="--")
    axes[5].set(ylabel="change of the conserved sum\n(% of the absorbed energy)", ylim=(-0.15, 0.15))
    for axis in (axes[0], axes[1], axes[2], axes[4], axes[5]):
        axis.set_xlabel("time (ps)")
        axis.axvspan(*((pulse.centre + x * pulse.duration / 2) / 1000 for x in (-1, 1)), color="gold", alpha=0.3)
    return drawn


def arguments() -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    """Returns the parser and the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--absorbed", type=float, default=0.3, help="absorbed energy, eV per atom")
    parser.add_argument("--duration", type=float, default=100.0, help="full width of the pulse at half maximum, fs")
    parser.add_argument("--centre", type=float, help="time of its maximum, fs; 2.5 durations by default")
    parser.add_argument("--coupling", type=float, default=2.5, help="constant G, 10^17 W/(m^3 K)")
    parser.add_argument("--lambda-omega2", type=float, help="lambda<omega^2>, meV^2, for G(tau_e) from the DOS instead")
    parser.add_argument("--ion-temperature", type=float, default=300.0, help="initial temperature, K")
    parser.add_argument("--repeat", type=int, default=3, help="number of cubes of four atoms along each axis")
    parser.add_argument("--timestep", type=float, default=1.0, help="time step, fs")
    parser.add_argument("--equilibration", type=float, default=1.0, help="time with thermostat, ps")
    parser.add_argument("--time", type=float, default=4.0, help="time without thermostat, ps")
    values = parser.parse_args()
    for name, unit in POSITIVE.items():
        value = getattr(values, name)
        if value is not None and not (math.isfinite(value) and value > 0):
            parser.error(f"--{name.replace('_', '-')}: got {value:g}, expected a number above 0{unit}")
    for name, unit in NOT_NEGATIVE.items():
        value = getattr(values, name)
        if not (math.isfinite(value) and value >= 0):
            parser.error(f"--{name.replace('_', '-')}: got {value:g}, expected a number of at least 0{unit}")
    if values.centre is None:
        values.centre = 2.5 * values.duration
    return parser, values


def crystal_of(repeat: int, ion_temperature: float) -> Atoms:
    """Returns a crystal with velocities of twice a temperature, half of which becomes potential energy."""
    crystal = bulk("Al", "fcc", a=LATTICE, cubic=True).repeat(repeat)
    crystal.set_constraint(FixCom())
    thermal = np.sqrt(2 * ion_temperature * units.kB * crystal.get_masses())[:, None]
    crystal.set_momenta(thermal * np.random.default_rng(1).standard_normal((len(crystal), 3)))
    return crystal


def coupling_of(model: fermisea.Model, values: argparse.Namespace) -> float | fermisea.CouplingTable:
    """Returns G, eV/(ps K Angstrom^3): a constant, or a table from the density of states of the perfect crystal."""
    if values.lambda_omega2 is None:
        return float(values.coupling) * 1e17 / fermisea.units.COUPLING
    crystal, highest = bulk("Al", "fcc", a=LATTICE, cubic=True), 30_000.0
    found = fermisea.thermo(model, crystal, highest, pressure=False, lambda_omega2=values.lambda_omega2)
    return fermisea.CouplingTable(found.electron_temperature, found.coupling)


def main() -> None:
    """Runs the missing parts and writes the results."""
    parser, values = arguments()
    model = fermisea.load_model(values.model)
    values.folder.mkdir(parents=True, exist_ok=True)
    settings = {name: str(v) if isinstance(v, Path) else v for name, v in vars(values).items()}
    del settings["folder"], settings["time"]
    if problem := keep_settings(values.folder / "settings.json", settings):
        parser.error(problem)
    pulse = fermisea.LaserPulse(values.absorbed, values.duration, values.centre)
    coupling = coupling_of(model, values)
    crystal, step = crystal_of(values.repeat, values.ion_temperature), values.timestep * units.fs
    with Progress() as progress:
        warm, hot = values.folder / "equilibration.traj", values.folder / "pulse.traj"
        atoms = start_of(warm, crystal)
        atoms.calc = fermisea.Calculator(model, values.ion_temperature, potential=True)
        rng = np.random.default_rng(2)
        bath = {"temperature_K": values.ion_temperature, "friction": 0.02 / units.fs, "rng": rng, "fixcm": False}
        run(atoms, Langevin(atoms, step, **bath), warm, round(1000 * values.equilibration / values.timestep), progress)
        atoms = start_of(hot, start_of(warm, crystal))
        atoms.calc = fermisea.Calculator(model, values.ion_temperature, potential=True)
        dynamics = fermisea.TwoTemperatureDynamics(atoms, step, coupling=coupling, pulse=pulse)
        heat(dynamics, hot, round(1000 * values.time / values.timestep), progress)
        frames = frames_of(hot)
        columns = observables(frames, values.timestep)
        final = balance(model, frames, columns, progress)
    late = max(len(frames) // 5, 1)
    time = columns["time_fs"]
    early = [f for f, t in zip(frames, time, strict=True) if t <= max(pulse.centre - pulse.duration, 0.0)]
    pairs = {"before the pulse": fermisea.pair_distribution(early)}
    pairs[f"last {(time[-1] - time[-late]) / 1000:.1f} ps"] = fermisea.pair_distribution(frames[-late:])
    change = columns["conserved_eV_per_atom"] - columns["conserved_eV_per_atom"][0]
    summary: dict[str, Any] = {
        "atoms": len(crystal),
        "absorbed_eV_per_atom": float(columns["absorbed_eV_per_atom"][-1]),
        "transferred_eV_per_atom": float(columns["transferred_eV_per_atom"][-1]),
        "highest_electron_temperature_K": float(columns["electron_temperature_K"].max()),
        "largest_change_of_conserved_sum_percent": 100 * float(np.abs(change).max()) / pulse.energy,
        "final": final,
        "warnings": list(atoms.calc.warnings),
    }
    table = "\n".join(",".join(f"{x:.9g}" for x in row) for row in zip(*columns.values(), strict=True))
    write_text(values.folder / "two_temperature.csv", ",".join(columns) + "\n" + table + "\n")
    write_text(values.folder / "summary.json", json.dumps(summary, indent=2) + "\n")
    fermisea.plots.save_figure(figure(columns, pairs, pulse), values.folder / "two_temperature")
    print(json.dumps(summary, indent=2))


if __name__ == "__main__":
    main()
