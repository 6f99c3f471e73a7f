"""Phonons and elastic constants of fcc aluminium at several electronic temperatures, with the potential of a model.

For each tau_e: the phonon bands along Gamma-X-K-Gamma-L and their density of states by finite displacements in a
supercell (ase.phonons), with the acoustic sum rule; the longitudinal and transverse frequencies at X and L; and the
elastic constants C11, C12 and C44 from the stress of strained crystals, compared with the second derivatives of F. The
lattice constant is the same at every tau_e. The output consists of tables, a figure and summary.json; a printed
sentence says whether hot electrons harden or soften the bonds. It takes a minute or two on one core.

    python examples/phonons.py MODEL DIR [--electron-temperature 300 5000 10000 15000 20000 25000]
    python examples/phonons.py aluminium DIR --reference docs/aluminium
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.dft.kpoints import BandPath
from ase.phonons import Phonons
from matplotlib.figure import Figure
from rich.progress import Progress

import fermisea
from fermisea import units
from fermisea.studies.aluminium.probes import DISPLACEMENT, STRAIN, deformed, elastic_strains
from fermisea.studies.aluminium.properties import GPA, Result, elastic_constants, pressure
from fermisea.utilities.files import write_text
from fermisea.utilities.tables import write_csv

FloatArray = npt.NDArray[np.float64]
Step = Callable[[], None]
"""Callback after each calculation of forces."""

TEMPERATURES = (300.0, 5000.0, 10_000.0, 15_000.0, 20_000.0, 25_000.0)
"""tau_e by default, K."""

LATTICE = 4.05
"""Lattice constant by default, Angstrom; the one of the study of aluminium."""

POINTS = {"X": (0.5, 0.0, 0.5), "L": (0.5, 0.5, 0.5)}
"""Wavevectors in units of the reciprocal lattice vectors of the primitive cell."""

MODES = tuple(f"{point} {kind}" for point in POINTS for kind in ("longitudinal", "transverse"))
CONSTANTS = ("C11", "C12", "C44")

DISPLACEMENTS, STRAINED = 7, 7
"""Calculations for each tau_e: six displacements and the crystal; six strains and the crystal."""

PER_LEG, MESH, WIDTH = 40, 24, 0.1
"""Wavevectors on each leg of the path; mesh for the density of states; width of its Gaussians, THz."""

TERAHERTZ = 1 / (2 * math.pi * units.HBAR)
"""Frequency, THz, of a phonon of an energy of 1 eV."""


class Counted(Phonons):
    """Phonons with a callback after each calculation of forces."""

    def __init__(self, *arguments: Any, step: Step, **options: Any) -> None:
        """Creates phonons of ASE.

        Args:
            arguments: arguments of :class:`ase.phonons.Phonons`.
            step: callback.
            options: keyword arguments of :class:`ase.phonons.Phonons`.
        """
        super().__init__(*arguments, **options)
        self._step = step

    def calculate(self, atoms_N: Atoms, disp: Any) -> dict[str, FloatArray]:
        """Returns the forces on a displaced supercell."""
        found: dict[str, FloatArray] = super().calculate(atoms_N, disp)
        self._step()
        return found


@dataclass(frozen=True, eq=False)
class Line:
    """The path Gamma-X-K-Gamma-L; X is left at an equivalent point, from which a straight line leads to K and Gamma.

    Attributes:
        path: wavevectors.
        distance: distance along the path, (n,), 1/Angstrom.
        ticks: distances of the corners.
        names: names of the corners.
    """

    path: BandPath
    distance: FloatArray
    ticks: FloatArray
    names: tuple[str, ...] = ("Γ", "X", "K", "Γ", "L")


def path_of(crystal: Atoms) -> Line:
    """Returns the path through the Brillouin zone of a primitive fcc cell."""
    corners = np.array([(0, 0, 0), POINTS["X"], (0.5, 0.5, 1), (0.375, 0.375, 0.75), (0, 0, 0), POINTS["L"]])
    legs = [(0, 1), (2, 3), (3, 4), (4, 5)]
    shares = np.linspace(0, 1, PER_LEG + 1)[:, None]
    kpts = np.concatenate([corners[i] + shares * (corners[j] - corners[i]) for i, j in legs])
    reciprocal = 2 * np.pi * crystal.cell.reciprocal().array
    lengths = [float(np.linalg.norm((corners[j] - corners[i]) @ reciprocal)) for i, j in legs]
    ticks = np.concatenate([[0.0], np.cumsum(lengths)])
    distance = np.concatenate([ticks[k] + shares[:, 0] * lengths[k] for k in range(len(legs))])
    return Line(BandPath(crystal.cell, kpts), distance, ticks)


def phonons_of(crystal: Atoms, calculator: Calculator, repeat: int, step: Step = lambda: None) -> Phonons:
    """Returns the phonons of a primitive cell from finite displacements, with the acoustic sum rule.

    Force constants are complete if they vanish between atoms that are half a supercell apart. Those of a potential
    reach twice its cutoff. The frequencies at X and L are exact for every even supercell.

    Args:
        crystal: primitive cell.
        calculator: calculator of the forces.
        repeat: number of cells along each lattice vector.
        step: callback after each calculation of forces.
    """
    with tempfile.TemporaryDirectory() as folder:  # for the files that ASE writes
        name = str(Path(folder) / "forces")
        size = (repeat, repeat, repeat)
        found = Counted(crystal, calculator, supercell=size, name=name, delta=DISPLACEMENT, step=step)
        found.run()
        found.read(acoustic=True)
    return found


def frequencies(phonons: Phonons, wavevectors: npt.ArrayLike) -> FloatArray:
    """Returns the frequencies at wavevectors, (n, 3), in ascending order, THz, negative for unstable modes."""
    return np.asarray(TERAHERTZ * phonons.band_structure(np.asarray(wavevectors, dtype=float), verbose=False))


def at_points(phonons: Phonons) -> dict[str, float]:
    """Returns the longitudinal and transverse frequencies at X and L, THz, negative for unstable modes."""
    energies, vectors = phonons.band_structure(np.array(list(POINTS.values())), modes=True, verbose=False)
    found = {}
    for (name, point), own, polarisations in zip(POINTS.items(), energies, vectors[:, :, 0], strict=True):
        direction = np.array(point) @ phonons.atoms.cell.reciprocal().array
        longitudinal = int(np.abs(polarisations @ direction).argmax())
        found[f"{name} longitudinal"] = float(TERAHERTZ * own[longitudinal])
        found[f"{name} transverse"] = float(TERAHERTZ * np.delete(own, longitudinal).mean())
    return found


def density_of_states(phonons: Phonons, highest: float) -> tuple[FloatArray, FloatArray, float, float]:
    """Returns frequencies, THz, density of states, 1/THz per atom, mean frequency, THz, and share of unstable modes."""
    raw = phonons.get_dos((MESH, MESH, MESH), verbose=False)
    values, weights = TERAHERTZ * raw.get_energies(), raw.get_weights()
    lowest = min(0.0, float(values.min()) - 3 * WIDTH)
    ends = {"xmin": lowest / TERAHERTZ, "xmax": highest / TERAHERTZ, "width": WIDTH / TERAHERTZ}
    drawn = raw.sample_grid(round((highest - lowest) / (WIDTH / 5)), **ends)
    unstable = float(weights[values < -WIDTH].sum() / weights.sum())
    mean = float((weights @ values) / weights.sum())
    return TERAHERTZ * drawn.get_energies(), drawn.get_weights() / TERAHERTZ, mean, unstable


def elasticity(calculator: Calculator, lattice_constant: float, step: Step = lambda: None) -> dict[str, float]:
    """Returns C11, C12, C44, bulk modulus and pressure of fcc, GPa, and the constants from second derivatives of F.

    C_ij is the change of the stress with a strain of the crystal, as in the study of aluminium. At a pressure P, it
    differs from the second derivatives of F with respect to the strains:

        C11 = F_11/V,    C44 = F_44/V - P/2,    C11 + 2 C12 = 3 B = (F_vv/V + 6 P)/3

    with the uniaxial strain 1, the shear 4 (twice xy) and the relative change v of all lengths.

    Args:
        calculator: calculator with F and the stress.
        lattice_constant: lattice constant, Angstrom.
        step: callback after each calculation.
    """
    crystal = bulk("Al", "fcc", a=lattice_constant, cubic=True)
    strains = {"none": np.zeros((3, 3))} | elastic_strains()
    strains |= {f"volume-{word}": sign * STRAIN * np.eye(3) for sign, word in ((-1, "minus"), (1, "plus"))}
    found = {}
    for name, strain in strains.items():
        atoms = deformed(crystal, np.eye(3) + strain)
        atoms.calc = calculator
        forces, stress = atoms.get_forces(), atoms.get_stress(voigt=False)
        found[name] = Result(atoms.get_potential_energy(force_consistent=True), forces, stress)
        step()
    constants = elastic_constants({(f"elastic-{name}", 0.0): result for name, result in found.items()}, 0.0)
    p = pressure(found["none"].stress)

    def curvature(name: str) -> float:
        """Returns the second derivative of F with respect to a strain per volume, GPa."""
        plus, minus, middle = (found[key].free_energy for key in (f"{name}-plus", f"{name}-minus", "none"))
        return float(GPA * (plus + minus - 2 * middle) / (STRAIN**2 * crystal.get_volume()))

    c11, sums = curvature("uniaxial"), (curvature("volume") + 6 * p) / 3
    return {
        **{name: float(value) for name, value in constants.items()},
        "B": float(constants["C11"] + 2 * constants["C12"]) / 3,
        "P": p,
        "C11 from F": c11,
        "C12 from F": (sums - c11) / 2,
        "C44 from F": curvature("shear") - p / 2,
    }


def reference_of(folder: Path) -> dict[tuple[str, float], float]:
    """Returns frequencies, THz, and elastic constants, GPa, of DFT by name and tau_e, from tables of the study.

    Raises:
        InputError: for a missing or different table.
    """
    found = {}
    for name in ("phonons", "elastic"):
        path = folder / f"{name}.csv"
        try:
            with path.open(encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    found[row["quantity"], float(row["electron_temperature"])] = float(row["dft"])
        except (OSError, KeyError, ValueError) as error:
            raise fermisea.InputError(
                f"--reference: cannot read {path}, expected a table of the study of aluminium with the columns "
                "quantity, electron_temperature and dft, such as in docs/aluminium"
            ) from error
    return found


def verdict(rows: Sequence[Mapping[str, float]], dft: Mapping[tuple[str, float], float] | None = None) -> str:
    """Returns a sentence: whether the bonds harden or soften from the lowest to the highest tau_e.

    Bonds harden where the mean frequency and all frequencies at X and L rise, and soften where all of them fall.

    Args:
        rows: frequencies, THz, at ascending tau_e.
        dft: frequencies of DFT by name and tau_e, which are added where both ends are known.
    """
    cold, hot = rows[0], rows[-1]
    ends = cold["electron_temperature"], hot["electron_temperature"]
    changes = {name: 100 * (hot[name] / cold[name] - 1) for name in ("mean", *MODES)}
    own = ", ".join(f"{name} {changes[name]:+.1f} %" for name in MODES)
    if dft and all((name, tau_e) in dft for name in MODES for tau_e in ends):
        beside = (f"{name} {100 * (dft[name, ends[1]] / dft[name, ends[0]] - 1):+.1f} %" for name in MODES)
        own += "; DFT: " + ", ".join(beside)
    numbers = f"the mean phonon frequency changes by {changes['mean']:+.1f} % ({own})"
    span = f"from tau_e = {ends[0]:g} to {ends[1]:g} K"
    if all(change > 0 for change in changes.values()):
        word = "harden"
    elif all(change < 0 for change in changes.values()):
        word = "soften"
    else:
        word = "neither harden nor soften as a whole"
    return f"Bonds {word} {span} at constant volume: {numbers}."


def figure(
    rows: Sequence[dict[str, float]],
    bands: Mapping[float, FloatArray],
    states: Mapping[float, tuple[FloatArray, FloatArray]],
    path: Line,
    dft: Mapping[tuple[str, float], float],
) -> Figure:
    """Returns bands, density of states, frequencies at X and L, and elastic constants."""
    drawn = Figure(figsize=(8.4, 6.4), layout="constrained")
    grid = drawn.add_gridspec(2, 4)
    top, side = drawn.add_subplot(grid[0, :3]), drawn.add_subplot(grid[0, 3])
    left, right = drawn.add_subplot(grid[1, :2]), drawn.add_subplot(grid[1, 2:])
    temperatures = [row["electron_temperature"] for row in rows]
    colours = fermisea.plots.temperature_colours(temperatures)
    open_mark: dict[str, Any] = {"linestyle": "none", "marker": "o", "markerfacecolor": "none", "markersize": 5}
    for tau_e in dict.fromkeys((temperatures[0], temperatures[-1])):
        lines = top.plot(path.distance, bands[tau_e], color=colours[tau_e], linewidth=1.2)
        lines[0].set_label(rf"$\tau_e$ = {tau_e:g} K")
        known = [(path.ticks[1 if name[0] == "X" else 4], dft[name, tau_e]) for name in MODES if (name, tau_e) in dft]
        if known:
            top.plot(*np.transpose(known), color=colours[tau_e], label=f"DFT, {tau_e:g} K", clip_on=False, **open_mark)
    for tick in path.ticks:
        top.axvline(tick, color="grey", linewidth=0.6)
    top.axhline(0, color="grey", linewidth=0.6)
    top.set_xticks(path.ticks, path.names)
    top.set(ylabel="frequency (THz)", xlim=(0, path.ticks[-1]))
    top.legend(frameon=False, loc="lower center", fontsize=7)
    for tau_e, (places, values) in states.items():
        side.plot(values, places, color=colours[tau_e], linewidth=1.0, label=f"{tau_e:g} K")
    side.set(xlabel="density of states\n(1/THz per atom)", xlim=(0, None), ylim=top.get_ylim())
    side.legend(frameon=False, fontsize=7)
    for name, colour in zip(MODES, ("C0", "C1", "C2", "C3"), strict=True):
        left.plot(temperatures, [100 * (row[name] / rows[0][name] - 1) for row in rows], color=colour, label=name)
        computed = sorted(t for quantity, t in dft if quantity == name)
        if computed and computed[0] == temperatures[0]:
            relative = [100 * (dft[name, t] / dft[name, computed[0]] - 1) for t in computed[1:]]
            left.plot(computed[1:], relative, color=colour, **open_mark)
    left.axhline(0, color="grey", linewidth=0.6)
    left.set(xlabel=r"$\tau_e$ (K)", ylabel=f"change of frequency\nfrom {temperatures[0]:g} K (%)")
    for name, colour in zip(CONSTANTS, ("C0", "C1", "C2"), strict=True):
        right.plot(temperatures, [row[name] for row in rows], color=colour, label=name)
        computed = sorted(t for quantity, t in dft if quantity == name)
        right.plot(computed, [dft[name, t] for t in computed], color=colour, **open_mark)
    right.set(xlabel=r"$\tau_e$ (K)", ylabel="elastic constant (GPa)", ylim=(0, None))
    if dft:
        left.plot([], [], color="black", label="DFT", **open_mark)
        right.plot([], [], color="black", label="DFT", **open_mark)
    left.legend(frameon=False, fontsize=7)
    right.legend(frameon=False, fontsize=7, ncols=4, loc="lower center")
    return drawn


def arguments(words: Sequence[str] | None = None) -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    """Returns the parser and the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="model file, or aluminium for the shipped model")
    parser.add_argument("folder", type=Path, help="folder of the output")
    parser.add_argument("--electron-temperature", type=float, nargs="+", default=TEMPERATURES, help="tau_e, K")
    parser.add_argument("--lattice-constant", type=float, default=LATTICE, help="lattice constant, Angstrom")
    parser.add_argument("--repeat", type=int, default=10, help="primitive cells along each axis, an even number")
    parser.add_argument(
        "--reference",
        type=Path,
        help=f"folder with phonons.csv and elastic.csv of DFT at {LATTICE:g} Angstrom, such as docs/aluminium",
    )
    values = parser.parse_args(words)
    for tau_e in values.electron_temperature:
        if not (math.isfinite(tau_e) and tau_e > 0):
            parser.error(f"--electron-temperature: got {tau_e:g}, expected numbers above 0 K")
    if not (math.isfinite(values.lattice_constant) and values.lattice_constant > 0):
        parser.error(f"--lattice-constant: got {values.lattice_constant:g}, expected a number above 0 Angstrom")
    if values.repeat < 2 or values.repeat % 2:
        parser.error(f"--repeat: got {values.repeat}, expected an even number, so that X and L fit the supercell")
    if values.reference is not None and values.lattice_constant != LATTICE:
        parser.error(
            f"--reference: got a lattice constant of {values.lattice_constant:g} Angstrom, expected {LATTICE:g}, the "
            "one of the DFT data; omit --reference or --lattice-constant"
        )
    values.electron_temperature = sorted(set(values.electron_temperature))
    return parser, values


def main(words: Sequence[str] | None = None) -> None:
    """Runs all electronic temperatures and writes the results."""
    parser, values = arguments(words)
    temperatures = values.electron_temperature
    try:
        model = fermisea.load_model(values.model)
        calculators = {t: fermisea.Calculator(model, t, potential=True) for t in temperatures}
        dft = {} if values.reference is None else reference_of(values.reference)
    except fermisea.InputError as error:
        parser.error(str(error))
    values.folder.mkdir(parents=True, exist_ok=True)
    crystal = bulk("Al", "fcc", a=values.lattice_constant)
    path, phonons, bands = path_of(crystal), {}, {}
    rows: list[dict[str, float]] = []
    warned: list[str] = []
    with Progress() as progress:
        task = progress.add_task("", total=len(temperatures) * (DISPLACEMENTS + STRAINED + 1))

        def step() -> None:
            progress.advance(task)

        for tau_e, calculator in calculators.items():
            progress.update(task, description=f"{tau_e:g} K")
            elastic = elasticity(calculator, values.lattice_constant, step)
            warned += calculator.warnings
            phonons[tau_e] = phonons_of(crystal, calculator, values.repeat, step)
            warned += calculator.warnings
            bands[tau_e] = frequencies(phonons[tau_e], path.path.kpts)
            rows.append({"electron_temperature": tau_e, **at_points(phonons[tau_e]), **elastic})
        highest = max(float(own.max()) for own in bands.values()) + 5 * WIDTH
        states = {}
        for row in rows:
            tau_e = row["electron_temperature"]
            places, density, row["mean"], row["unstable"] = density_of_states(phonons[tau_e], highest)
            states[tau_e] = places, density
            step()
    write_outputs(values.folder, rows, bands, states, path, dft)
    differences = [abs(row[name] - row[f"{name} from F"]) for row in rows for name in CONSTANTS]
    summary = {
        "atoms_of_supercell": values.repeat**3,
        "lattice_constant_A": values.lattice_constant,
        "verdict": verdict(rows, dft),
        "largest_difference_of_stress_and_curvature_GPa": max(differences),
        "rows": rows,
        "warnings": list(dict.fromkeys(warned)),
    }
    write_text(values.folder / "summary.json", json.dumps(summary, indent=2) + "\n")
    print(json.dumps(rows, indent=2))
    print(summary["verdict"])


def write_outputs(
    folder: Path,
    rows: Sequence[dict[str, float]],
    bands: Mapping[float, FloatArray],
    states: Mapping[float, tuple[FloatArray, FloatArray]],
    path: Line,
    dft: Mapping[tuple[str, float], float],
) -> None:
    """Writes tables and figure."""
    places = zip(path.distance, path.path.kpts, strict=True)
    along = [{"distance (1/Å)": d, **dict(zip(("q1", "q2", "q3"), q, strict=True))} for d, q in places]
    write_csv(
        folder / "bands.csv",
        [
            {"electron_temperature (K)": tau_e, **place, **{f"frequency {k + 1} (THz)": f for k, f in enumerate(own)}}
            for tau_e, found in bands.items()
            for place, own in zip(along, found, strict=True)
        ],
    )
    write_csv(
        folder / "dos.csv",
        [
            {"electron_temperature (K)": tau_e, "frequency (THz)": place, "density of states (1/THz per atom)": value}
            for tau_e, found in states.items()
            for place, value in zip(*found, strict=True)
        ],
    )
    for name, unit, columns in (
        ("phonons", "THz", (*MODES, "mean")),
        ("elastic", "GPa", (*CONSTANTS, "B", "P", *(f"{name} from F" for name in CONSTANTS))),
    ):
        table = []
        for row in rows:
            tau_e = row["electron_temperature"]
            own = {f"{column} ({unit})": row[column] for column in columns}
            beside = {f"{c}, DFT ({unit})": dft.get((c, tau_e)) for c in columns if any(q == c for q, _ in dft)}
            table.append({"electron_temperature (K)": tau_e, **own, **beside})
        write_csv(folder / f"{name}.csv", table)
    fermisea.plots.save_figure(figure(rows, bands, states, path, dft), folder / "phonons")


if __name__ == "__main__":
    main()
