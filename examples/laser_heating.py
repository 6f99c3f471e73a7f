"""Laser-heated aluminium: the same ions with electrons at 298 K, and with electrons suddenly heated to 10 000 K.

Molecular dynamics of 32 atoms: 0.5 ps at 298 K with a thermostat, followed by 2 ps without thermostat at each
electronic temperature. The output consists of trajectories, which are resumed after an interruption; a table and a
figure of temperature, pressure, conserved energy and pair distribution; and summary.json. Each tau_e takes about half
an hour on one core.

    python examples/laser_heating.py MODEL DIR [--steps 2000] [--electron-temperature 298 10000] [--check 2]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms, units
from ase.build import bulk
from ase.constraints import FixCom
from ase.io import Trajectory, read
from ase.md.langevin import Langevin
from ase.md.md import MolecularDynamics
from ase.md.verlet import VelocityVerlet
from matplotlib.figure import Figure
from rich.progress import Progress

import fermisea
from fermisea.utilities.files import write_text

FloatArray = npt.NDArray[np.float64]

IONS = 298.0
"""Initial ionic temperature, K."""

EVERY = 5
"""Number of steps between frames."""


def run(atoms: Atoms, dynamics: MolecularDynamics, path: Path, steps: int, progress: Progress) -> None:
    """Runs until the total number of steps is ``steps``, with a frame at the start and every few steps."""
    done = EVERY * (len(Trajectory(str(path))) - 1) if path.exists() else 0
    task = progress.add_task(path.stem, total=steps, completed=done)
    dynamics.nsteps = done
    with Trajectory(str(path), "a" if done else "w", atoms) as trajectory:

        def keep() -> None:
            if dynamics.nsteps > done or done == 0:
                atoms.get_stress()
                trajectory.write()
            progress.update(task, completed=dynamics.nsteps)

        dynamics.attach(keep, interval=EVERY)
        dynamics.run(steps - done)


def start_of(path: Path, otherwise: Atoms) -> Atoms:
    """Returns the last frame of a trajectory, or a copy of ``otherwise`` without a trajectory."""
    if not path.exists():
        return otherwise.copy()
    frame = read(path, -1)
    assert isinstance(frame, Atoms)  # noqa: S101  # one frame
    frame.calc = None
    return frame


def observables(path: Path) -> dict[str, FloatArray]:
    """Returns columns over the frames of a trajectory: time, energies, ionic temperature, pressure."""
    frames = [frame for frame in Trajectory(str(path)) if isinstance(frame, Atoms)]
    return {
        "time_fs": EVERY * np.arange(len(frames), dtype=float),
        "ion_temperature_K": np.array([frame.get_temperature() for frame in frames]),
        "free_energy_eV_per_atom": np.array([frame.get_potential_energy() / len(frame) for frame in frames]),
        "conserved_eV_per_atom": np.array([frame.get_total_energy() / len(frame) for frame in frames]),
        "pressure_GPa": np.array(
            [-np.trace(frame.get_stress(voigt=False, include_ideal_gas=True)) / 3 / units.GPa for frame in frames]
        ),
    }


def pair_distribution(path: Path, bins: int = 100) -> tuple[FloatArray, FloatArray]:
    """Returns distances, Angstrom, and g(r), averaged over the second half of a trajectory."""
    frames = [frame for frame in Trajectory(str(path)) if isinstance(frame, Atoms)]
    frames = frames[len(frames) // 2 :]
    reach = min(frames[0].cell.lengths()) / 2  # of an orthogonal cell
    counts = np.zeros(bins)
    for frame in frames:
        distances = frame.get_all_distances(mic=True)[np.triu_indices(len(frame), 1)]
        counts += np.histogram(distances, bins=bins, range=(0, reach))[0]
    edges = np.linspace(0, reach, bins + 1)
    shells = 4 / 3 * np.pi * np.diff(edges**3)
    atoms, volume = len(frames[0]), frames[0].get_volume()
    return (edges[1:] + edges[:-1]) / 2, counts / len(frames) / (atoms * (atoms - 1) / 2) * volume / shells


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
        frames = Trajectory(str(trajectory))
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


def figure(results: dict[float, dict[str, FloatArray]], pairs: dict[float, tuple[FloatArray, FloatArray]]) -> Figure:
    """Returns ionic temperature, pressure and conserved energy against time, and g(r)."""
    drawn = Figure(figsize=(6.4, 4.6), layout="constrained")
    (warm, push), (total, pair) = drawn.subplots(2, 2)
    colours = fermisea.plots.temperature_colours(list(results))
    for temperature, columns in results.items():
        style: dict[str, Any] = {"color": colours[temperature], "label": f"{temperature:g} K", "linewidth": 1.0}
        time = columns["time_fs"] / 1000
        warm.plot(time, columns["ion_temperature_K"], **style)
        push.plot(time, columns["pressure_GPa"], **style)
        total.plot(time, 1000 * (columns["conserved_eV_per_atom"] - columns["conserved_eV_per_atom"][0]), **style)
        pair.plot(*pairs[temperature], **style)
    for axis, label in ((warm, "ionic temperature (K)"), (push, "pressure (GPa)"), (total, "F + kinetic (meV/atom)")):
        axis.set_xlabel("time (ps)")
        axis.set_ylabel(label)
    pair.set_xlabel("distance (Å)")
    pair.set_ylabel("g(r)")
    pair.set_xlim(2, None)
    handles, labels = warm.get_legend_handles_labels()
    drawn.legend(
        handles, labels, title=r"electronic temperature $\tau_e$", loc="outside upper center", ncols=len(labels)
    )
    return drawn


def main() -> None:
    """Runs the missing parts and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=2000, help="number of steps of 1 fs without thermostat")
    parser.add_argument("--equilibration", type=int, default=500, help="number of steps with thermostat")
    parser.add_argument("--electron-temperature", type=float, nargs="+", default=[298.0, 10_000.0])
    parser.add_argument("--repeat", type=int, nargs=3, default=[2, 2, 2], help="number of cubes along each axis")
    parser.add_argument("--check", type=int, default=0, help="number of frames of each run compared with DFT")
    parser.add_argument("--grid", type=int, nargs=3, help="number of grid points; by default the spacing in training")
    values = parser.parse_args()
    values.folder.mkdir(parents=True, exist_ok=True)
    model, grid = fermisea.load_model(values.model), None if values.grid is None else tuple(values.grid)
    crystal = bulk("Al", "fcc", a=4.05, cubic=True).repeat(tuple(values.repeat))
    crystal.set_constraint(FixCom())
    thermal = np.sqrt(2 * IONS * units.kB * crystal.get_masses())[:, None]  # half becomes potential energy
    crystal.set_momenta(thermal * np.random.default_rng(1).standard_normal((len(crystal), 3)))
    with Progress() as progress:
        warm = values.folder / "equilibration.traj"
        atoms = start_of(warm, crystal)
        atoms.calc = fermisea.Calculator(model, IONS, grid=grid)
        friction, rng = 0.02 / units.fs, np.random.default_rng(2)
        thermostat = Langevin(atoms, units.fs, temperature_K=IONS, friction=friction, rng=rng, fixcm=False)
        run(atoms, thermostat, warm, values.equilibration, progress)
        equilibrated = start_of(warm, crystal)
        paths = {t: values.folder / f"electrons-{t:g}K.traj" for t in values.electron_temperature}
        for temperature, path in paths.items():
            atoms = start_of(path, equilibrated)
            atoms.calc = fermisea.Calculator(model, temperature, grid=grid)
            run(atoms, VelocityVerlet(atoms, units.fs), path, values.steps, progress)
        checks = check(model, paths, values.check, values.repeat, grid, values.folder / "checks.json", progress)
    results = {t: observables(path) for t, path in paths.items()}
    pairs = {t: pair_distribution(path) for t, path in paths.items()}
    summary: dict[str, Any] = {"atoms": len(crystal), "steps": values.steps, "against_dft": checks}
    first = {t: next(iter(Trajectory(str(path)))).get_forces() for t, path in paths.items()}
    coldest = min(first)
    for temperature, columns in results.items():
        half = len(columns["time_fs"]) // 2
        slope = np.polyfit(columns["time_fs"] / 1000, columns["conserved_eV_per_atom"], 1)[0]
        change = first[temperature] - first[coldest]
        summary[f"{temperature:g} K"] = {
            "drift_meV_per_atom_ps": 1000 * float(slope),
            "ion_temperature_K": float(columns["ion_temperature_K"][half:].mean()),
            "pressure_GPa": float(columns["pressure_GPa"][half:].mean()),
            "first_peak_of_g": float(pairs[temperature][1].max()),
            "change_of_first_forces_meV_per_Angstrom": 1000 * float(np.sqrt((change**2).mean())),
            "first_forces_meV_per_Angstrom": 1000 * float(np.sqrt((first[temperature] ** 2).mean())),
        }
        table = "\n".join(",".join(f"{x:.9g}" for x in row) for row in zip(*columns.values(), strict=True))
        write_text(values.folder / f"electrons-{temperature:g}K.csv", ",".join(columns) + "\n" + table + "\n")
    write_text(values.folder / "summary.json", json.dumps(summary, indent=2) + "\n")
    fermisea.plots.save_figure(figure(results, pairs), values.folder / "laser_heating")
    print(json.dumps(summary, indent=2))


if __name__ == "__main__":
    main()
