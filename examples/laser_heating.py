"""Laser-heated aluminium: the same ions with electrons at 298 K, and with electrons suddenly heated to 10 000 K.

Molecular dynamics of 32 atoms: equilibration at 298 K with a thermostat, followed by 2 ps without thermostat at each
electronic temperature, from the same ions and cell. The volume is fixed, or follows a constant pressure with
``--pressure`` (GPa). The output consists of trajectories, which are resumed after an interruption; a table and a figure
of temperature, pressure, volume, conserved energy, pair distribution and structure factor; and summary.json. Each tau_e
takes about half an hour on one core, and much less with ``--potential``, the interatomic potential of the model.

    python examples/laser_heating.py MODEL DIR [--steps 2000] [--electron-temperature 298 10000] [--check 2]
    python examples/laser_heating.py MODEL DIR --potential --pressure 0
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
from ase.md.md import MolecularDynamics
from ase.md.velocitydistribution import Stationary
from ase.md.verlet import VelocityVerlet
from constant_pressure import check_volume, constant_pressure, obstacle, pressure_of, restore, state_of
from matplotlib.figure import Figure
from rich.progress import Progress

import fermisea
from fermisea.analysis.structure import PairDistribution, StructureFactor
from fermisea.data.kinetic_temperature import kinetic_temperature
from fermisea.utilities.files import write_text

FloatArray = npt.NDArray[np.float64]

IONS = 298.0
"""Initial ionic temperature, K."""

EVERY = 5
"""Number of steps between frames."""


def frames_of(path: Path) -> list[Atoms]:
    """Returns all frames of a trajectory."""
    with Trajectory(str(path)) as trajectory:
        return [frame for frame in trajectory if isinstance(frame, Atoms)]


def run(
    atoms: Atoms,
    dynamics: MolecularDynamics,
    path: Path,
    steps: int,
    progress: Progress,
    volumes: tuple[float, float] | None = None,
) -> None:
    """Runs until the total number of steps is ``steps``, with a frame at the start and every few steps.

    Args:
        atoms: ions with a calculator.
        dynamics: their dynamics.
        path: trajectory, which is continued if it exists.
        steps: total number of steps.
        progress: progress bars.
        volumes: smallest and largest volume per atom that the model knows, Angstrom^3; beyond them the run stops.
    """
    done = EVERY * (len(frames_of(path)) - 1) if path.exists() else 0
    flexible = hasattr(dynamics, "_barostat")
    if done and flexible:
        restore(dynamics, frames_of(path)[-1].info["dynamics"])
    task = progress.add_task(path.stem, total=steps, completed=done)
    dynamics.nsteps = done
    with Trajectory(str(path), "a" if done else "w", atoms) as trajectory:

        def keep() -> None:
            if dynamics.nsteps > done or done == 0:
                check_volume(atoms, volumes)
                atoms.get_stress()
                if flexible:
                    atoms.info["dynamics"] = state_of(dynamics)
                trajectory.write()
            progress.update(task, completed=dynamics.nsteps)

        dynamics.attach(keep, interval=EVERY)
        dynamics.run(max(steps - done, 0))


def start_of(path: Path, otherwise: Atoms) -> Atoms:
    """Returns the last frame of a trajectory, or a copy of ``otherwise`` without a trajectory."""
    if not path.exists():
        return otherwise.copy()
    frame = frames_of(path)[-1]
    frame.calc = None
    return frame


def observables(path: Path, cubes: int) -> dict[str, FloatArray]:
    """Returns columns over the frames of a trajectory: time, energies, ionic temperature, pressure, volume.

    The conserved energy is F plus kinetic energy at fixed volume; at constant pressure it includes the barostat.

    Args:
        path: the trajectory.
        cubes: number of cubes of four atoms.
    """
    frames = frames_of(path)
    volumes = np.array([frame.get_volume() for frame in frames])
    conserved = [frame.info.get("dynamics", {}).get("conserved_energy", frame.get_total_energy()) for frame in frames]
    return {
        "time_fs": EVERY * np.arange(len(frames), dtype=float),
        "ion_temperature_K": np.array([kinetic_temperature(f.get_momenta(), f.get_masses()) for f in frames]),
        "free_energy_eV_per_atom": np.array([frame.get_potential_energy() / len(frame) for frame in frames]),
        "conserved_eV_per_atom": np.array(conserved) / (4 * cubes),
        "pressure_GPa": np.array(
            [-np.trace(frame.get_stress(voigt=False, include_ideal_gas=True)) / 3 / units.GPa for frame in frames]
        ),
        "volume_A3_per_atom": volumes / (4 * cubes),
        "lattice_constant_A": np.cbrt(volumes / cubes),
    }


def check(
    model: fermisea.Model,
    paths: dict[float, Path],
    count: int,
    repeat: list[int],
    grid: tuple[int, int, int] | None,
    path: Path,
    progress: Progress,
) -> list[dict[str, float]]:
    """Returns errors of the last frames of each run against self-consistent DFT; known errors are read from a file."""
    found: list[dict[str, float]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    x, y, z = (max(1, 8 // n) for n in repeat)
    engine = fermisea.engines.PlaneWave(xc="pbe", cutoff=272.1, kpts=(x, y, z), pseudopotentials="gth")
    task = progress.add_task("DFT", total=count * len(paths), completed=len(found))
    for temperature, trajectory in paths.items():
        frames = frames_of(trajectory)
        for index in range(len(frames) - count, len(frames)):
            if any((row["electron_temperature"], row["frame"]) == (temperature, index) for row in found):
                continue
            atoms = frames[index]
            result = engine.solve(atoms, temperature).reference
            predicted = model.predict(atoms, temperature, grid, anchor=True, forces=True)
            assert result.forces is not None  # noqa: S101  # of this engine
            difference = predicted.forces - result.forces
            row = {
                "electron_temperature": temperature,
                "frame": index,
                "free_energy_error_meV_per_atom": 1000 * (predicted.free_energy - result.free_energy) / len(atoms),
                "force_error_meV_per_Angstrom": 1000 * float(np.abs(difference).mean()),
                "mean_force_meV_per_Angstrom": 1000 * float(np.abs(result.forces).mean()),
            }
            found.append(row)
            write_text(path, json.dumps(found, indent=2) + "\n")
            progress.update(task, completed=len(found))
    return found


def figure(
    results: dict[float, dict[str, FloatArray]],
    pairs: dict[float, PairDistribution],
    waves: dict[float, StructureFactor],
    *,
    flexible: bool,
) -> Figure:
    """Returns ionic temperature, pressure, conserved energy, and where it varies the volume, against time; g and S."""
    drawn = Figure(figsize=(6.4, 6.6 if flexible else 4.6), layout="constrained")
    axes = drawn.subplots(3 if flexible else 2, 2).ravel()
    colours = fermisea.plots.temperature_colours(list(results))
    curves = [("ion_temperature_K", "ionic temperature (K)"), ("pressure_GPa", "pressure (GPa)")]
    curves += [("lattice_constant_A", "lattice constant (Å)")] if flexible else []
    for temperature, columns in results.items():
        style: dict[str, Any] = {"color": colours[temperature], "label": f"{temperature:g} K", "linewidth": 1.0}
        time = columns["time_fs"] / 1000
        for axis, (name, _) in zip(axes, curves, strict=False):
            axis.plot(time, columns[name], **style)
        change = columns["conserved_eV_per_atom"] - columns["conserved_eV_per_atom"][0]
        axes[len(curves)].plot(time, 1000 * change, **style)
        axes[len(curves) + 1].plot(pairs[temperature].distance, pairs[temperature].g, **style)
        if flexible:
            axes[-1].plot(waves[temperature].wavevector, waves[temperature].s, **style)
    for axis, (_, label) in zip(axes, [*curves, ("", "conserved energy\n(meV/atom)")], strict=False):
        axis.set_xlabel("time (ps)")
        axis.set_ylabel(label)
    axes[len(curves) + 1].set(xlabel="distance (Å)", ylabel="g(r)", xlim=(2, None))
    if flexible:
        axes[-1].set(xlabel="wavevector (1/Å)", ylabel="S(q)")
    handles, labels = axes[0].get_legend_handles_labels()
    drawn.legend(
        handles, labels, title=r"electronic temperature $\tau_e$", loc="outside upper center", ncols=len(labels)
    )
    return drawn


def keep_settings(path: Path, settings: dict[str, Any]) -> str | None:
    """Writes the settings of a folder; returns how they differ from earlier ones, or None."""
    if not path.exists():
        write_text(path, json.dumps(settings, indent=2) + "\n")
        return None
    before = json.loads(path.read_text(encoding="utf-8"))
    changed = [f"{name} = {settings[name]}" for name in settings if before.get(name) != settings[name]]
    if not changed:
        return None
    return f"{path.parent}: began with other settings than {', '.join(changed)}; choose another folder"


def arguments() -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    """Returns the parser and the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pressure", type=pressure_of, help="constant pressure, GPa; by default the volume is fixed")
    parser.add_argument("--potential", action="store_true", help="interatomic potential of the model, without LDOS")
    parser.add_argument("--steps", type=int, default=2000, help="number of steps of 1 fs without thermostat")
    parser.add_argument(
        "--equilibration",
        type=int,
        help="number of steps with thermostat; 500, or 2000 at constant pressure, by default",
    )
    parser.add_argument("--electron-temperature", type=float, nargs="+", default=[298.0, 10_000.0])
    parser.add_argument("--repeat", type=int, nargs=3, default=[2, 2, 2], help="number of cubes along each axis")
    parser.add_argument("--check", type=int, default=0, help="number of frames of each run compared with DFT")
    parser.add_argument("--grid", type=int, nargs=3, help="number of grid points; by default the spacing in training")
    values = parser.parse_args()
    if values.equilibration is None:
        values.equilibration = 500 if values.pressure is None else 2000
    return parser, values


def crystal_of(repeat: tuple[int, int, int], *, flexible: bool) -> Atoms:
    """Returns a crystal with velocities of twice 298 K, half of which becomes potential energy."""
    crystal = bulk("Al", "fcc", a=4.05, cubic=True).repeat(repeat)
    if not flexible:
        crystal.set_constraint(FixCom())
    thermal = np.sqrt(2 * IONS * units.kB * crystal.get_masses())[:, None]
    crystal.set_momenta(thermal * np.random.default_rng(1).standard_normal((len(crystal), 3)))
    if flexible:
        Stationary(crystal)  # the barostat of ASE allows no constraint
    return crystal


def main() -> None:
    """Runs the missing parts and writes the results."""
    parser, values = arguments()
    model, grid = fermisea.load_model(values.model), None if values.grid is None else tuple(values.grid)
    flexible, temperatures = values.pressure is not None, values.electron_temperature
    volumes = model.domain.volume_per_atom if flexible else None
    if flexible and (problem := obstacle(model, max(IONS, *temperatures))):
        parser.error(problem)
    values.folder.mkdir(parents=True, exist_ok=True)
    names = ("pressure", "potential", "equilibration", "repeat", "grid")
    settings = {"model": str(values.model)} | {name: getattr(values, name) for name in names}
    if problem := keep_settings(values.folder / "settings.json", settings):
        parser.error(problem)
    crystal = crystal_of(tuple(values.repeat), flexible=flexible)

    def dynamics_of(atoms: Atoms, temperature: float, *, thermostat: bool) -> MolecularDynamics:
        atoms.calc = fermisea.Calculator(model, temperature, grid=grid, potential=values.potential)
        if flexible:
            return constant_pressure(atoms, values.pressure, IONS, thermostat=thermostat)
        if not thermostat:
            return VelocityVerlet(atoms, units.fs)
        rng, friction = np.random.default_rng(2), 0.02 / units.fs
        return Langevin(atoms, units.fs, temperature_K=IONS, friction=friction, rng=rng, fixcm=False)

    with Progress() as progress:
        warm = values.folder / "equilibration.traj"
        atoms = start_of(warm, crystal)
        run(atoms, dynamics_of(atoms, IONS, thermostat=True), warm, values.equilibration, progress, volumes)
        equilibrated = start_of(warm, crystal)
        paths = {t: values.folder / f"electrons-{t:g}K.traj" for t in temperatures}
        for temperature, path in paths.items():
            atoms = start_of(path, equilibrated)
            run(atoms, dynamics_of(atoms, temperature, thermostat=False), path, values.steps, progress, volumes)
        checks = check(model, paths, values.check, values.repeat, grid, values.folder / "checks.json", progress)
    results = {t: observables(path, math.prod(values.repeat)) for t, path in paths.items()}
    late = {t: frames[len(frames) // 2 :] for t, path in paths.items() if (frames := frames_of(path))}
    pairs = {t: fermisea.pair_distribution(frames) for t, frames in late.items()}
    waves = {t: fermisea.structure_factor(frames, highest=8.0) for t, frames in late.items()}
    summary: dict[str, Any] = {"atoms": len(crystal), "steps": values.steps, "pressure_GPa": values.pressure}
    summary["against_dft"] = checks
    first = {t: frames_of(path)[0].get_forces() for t, path in paths.items()}
    coldest = min(first)
    for temperature, columns in results.items():
        half = len(columns["time_fs"]) // 2
        slope = np.polyfit(columns["time_fs"] / 1000, columns["conserved_eV_per_atom"], 1)[0]
        change = first[temperature] - first[coldest]
        means = ("ion_temperature_K", "pressure_GPa", "volume_A3_per_atom", "lattice_constant_A")
        peak = pairs[temperature].first_peak
        summary[f"{temperature:g} K"] = {
            "drift_meV_per_atom_ps": 1000 * float(slope),
            **{name: float(columns[name][half:].mean()) for name in means},
            "first_peak_of_g": None if peak is None else peak.height,
            "coordination_number": pairs[temperature].coordination_number,
            "change_of_first_forces_meV_per_Angstrom": 1000 * float(np.sqrt((change**2).mean())),
            "first_forces_meV_per_Angstrom": 1000 * float(np.sqrt((first[temperature] ** 2).mean())),
        }
        table = "\n".join(",".join(f"{x:.9g}" for x in row) for row in zip(*columns.values(), strict=True))
        write_text(values.folder / f"electrons-{temperature:g}K.csv", ",".join(columns) + "\n" + table + "\n")
    write_text(values.folder / "summary.json", json.dumps(summary, indent=2) + "\n")
    drawn = figure(results, pairs, waves, flexible=flexible)
    fermisea.plots.save_figure(drawn, values.folder / "laser_heating")
    print(json.dumps(summary, indent=2))


if __name__ == "__main__":
    main()
