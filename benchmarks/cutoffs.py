"""Plane-wave cutoff at which F per atom is converged to 10 meV, for each shipped GTH pseudopotential.

F of one atom in a face-centred cubic cell with the volume of the crystal is computed by SCF cycles at tau_e = 5000 K
and cutoffs around the result, and compared with F at a cutoff at least 1.4 times as high. The range comes from the
pseudo-atom: with LDA, in a sphere of 8 Angstrom, in the basis of spherical Bessel functions j_l(q r), with the
occupations of the table. A cutoff E limits its momenta to hbar^2 q^2 / 2m <= E, and the change of the band energy in
the fixed potential of the pseudo-atom is the change of the total energy to second order. The cutoff of the pseudo-atom
itself is taken where no SCF cycles were run: where it is above 6000 eV, where they do not converge, and where they have
not been run. It is then raised by 40 % below 700 eV, because SCF cycles gave up to 38 % more there. Hours on one core;
an interrupted run resumes from the records in DIR.

    python benchmarks/cutoffs.py DIR [--only Al-q3 Li-q3]

With --store, the records are written to src/fermisea/pseudopotentials/cutoffs.json, and nothing is computed but the
cutoffs of the pseudo-atoms.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers, covalent_radii, reference_states
from scipy.integrate import cumulative_simpson, simpson
from scipy.optimize import brentq
from scipy.special import spherical_jn

import fermisea
from fermisea.engines import PlaneWave, ScfOptions
from fermisea.errors import ConvergenceError
from fermisea.physics.radial import simpson_weights
from fermisea.physics.xc import functional
from fermisea.pseudopotentials import Pseudopotential, load_gth
from fermisea.pseudopotentials.gth import GaussianLocal
from fermisea.units import BOHR, COULOMB, KINETIC

FOLDER = Path(fermisea.__file__).parent / "pseudopotentials"
RADIUS = 8.0
FINENESS = 0.3
"""Step of the radial mesh, in units of the inverse of the highest momentum."""

REACH = 8.0
"""Highest momentum of the reference basis, in units of the inverse of the narrowest Gaussian."""

TARGET = 0.01
ROUNDED = 10.0
TEMPERATURE = 5000.0
STRIDE = 1.15
HARDEST = 6000.0
SOFT = 700.0
MARGIN = 1.4

Array = npt.NDArray[np.float64]


class Channel:
    """Basis functions, kinetic and nonlocal energy of one l.

    Attributes:
        momenta: q_n with j_l(q_n R) = 0, ascending, 1/Angstrom.
        functions: normalised r j_l(q_n r), (n, points), 1/sqrt(Angstrom).
        fixed: kinetic and nonlocal matrix elements, (n, n), eV.
    """

    def __init__(self, potential: Pseudopotential, degree: int, radius: Array, highest: float) -> None:
        self.momenta = zeros(degree, highest * RADIUS) / RADIUS
        norms = math.sqrt(2 / RADIUS**3) / np.abs(spherical_jn(degree + 1, self.momenta * RADIUS))
        self.functions = norms[:, None] * radius * spherical_jn(degree, np.outer(self.momenta, radius))
        self.fixed = np.diag(KINETIC * self.momenta**2)
        for channel in potential.channels:
            if channel.l == degree:
                radial = channel.radial(torch.from_numpy(self.momenta)).numpy()
                overlaps = norms * self.momenta**degree * radial / (4 * math.pi)
                self.fixed += overlaps.T @ channel.coupling.numpy() @ overlaps

    def matrix(self, values: Array) -> Array:
        """Returns the Hamiltonian in a local potential times the weights of the mesh (points,), (n, n), eV."""
        return self.fixed + (self.functions * values) @ self.functions.T


def zeros(degree: int, highest: float) -> Array:
    """Returns the zeros of j_l up to about ``highest``, by bisection between the zeros of j_(l - 1)."""
    found = math.pi * np.arange(1, math.ceil(highest / math.pi) + 2 + degree)
    for order in range(1, degree + 1):
        pairs = itertools.pairwise(found)
        found = np.array([brentq(lambda x, n=order: spherical_jn(n, x), low, high) for low, high in pairs])
    return found[found <= highest]


def filling(electrons: float, degree: int, bands: int) -> Array:
    """Returns the occupation of each state of one l, lowest first, (bands,)."""
    shell = 2 * (2 * degree + 1)
    return np.clip(electrons - shell * np.arange(bands), 0, shell)


def local(potential: GaussianLocal, radius: Array) -> Array:
    """Returns V_loc(r), eV."""
    a = potential.width
    coulomb = np.array([math.erf(r / (math.sqrt(2) * a)) for r in radius]) / radius
    powers = sum(c * (radius / a) ** (2 * n) for n, c in enumerate(potential.coefficients))
    return -potential.valence * COULOMB * coulomb + np.exp(-((radius / a) ** 2) / 2) * powers


def screening(density: Array, radius: Array) -> Array:
    """Returns Hartree and exchange-correlation potential of 4 pi r^2 n(r), eV."""
    enclosed = cumulative_simpson(density, x=radius, initial=0.0)
    outside = cumulative_simpson(density / radius, x=radius, initial=0.0)
    n = torch.from_numpy(density / (4 * math.pi * radius**2)).requires_grad_()
    (xc,) = torch.autograd.grad(functional("lda").energy_density(n).sum(), n)
    return COULOMB * (enclosed / radius + outside[-1] - outside) + xc.numpy()


def energy_errors(potential: Pseudopotential, configuration: Sequence[float], narrowest: float) -> tuple[Array, Array]:
    """Returns cutoffs, eV, and errors of the energy, eV, of the pseudo-atom, both (n,)."""
    points = 2 * math.ceil(RADIUS * REACH / narrowest / FINENESS / 2) + 1
    radius = np.linspace(0, RADIUS, points + 1)[1:]
    weights = simpson_weights(np.full(points, radius[0]))
    assert isinstance(potential.local, GaussianLocal)  # noqa: S101
    ion = local(potential.local, radius)
    degrees = [degree for degree, electrons in enumerate(configuration) if electrons]
    channels = {degree: Channel(potential, degree, radius, REACH / narrowest) for degree in degrees}

    def solve(matrices: dict[int, Array], cutoff: float = math.inf) -> tuple[float, Array]:
        energy, density = 0.0, np.zeros_like(radius)
        for degree, matrix in matrices.items():
            channel = channels[degree]
            count = int(np.sum(KINETIC * channel.momenta**2 <= cutoff))
            levels, states = np.linalg.eigh(matrix[:count, :count])
            filled = filling(configuration[degree], degree, count)
            occupied = filled > 0
            energy += float(filled @ levels)
            density += filled[occupied] @ (states[:, occupied].T @ channel.functions[:count]) ** 2
        return energy, density

    wide = 0.5 + covalent_radii[atomic_numbers[potential.symbol]] / 2
    density = radius**2 * np.exp(-radius / wide * 2)
    density *= potential.valence / simpson(density, x=radius)
    for _ in range(400):
        values = weights * (ion + screening(density, radius))
        matrices = {degree: channel.matrix(values) for degree, channel in channels.items()}
        found = solve(matrices)[1]
        change = simpson(np.abs(found - density), x=radius)
        density = density + 0.2 * (found - density)
        if change < 1e-4:
            break
    else:
        raise RuntimeError(f"{potential.name}: not self-consistent, {change:.1e} electrons")
    reference = solve(matrices)[0]
    # two cutoffs for each momentum of the basis; their mean removes the steps of the number of basis functions
    momenta = np.arange(2.0, 0.98 * REACH / narrowest, math.pi / RADIUS / 2)
    cutoffs = KINETIC * momenta**2
    errors = np.array([solve(matrices, cutoff)[0] for cutoff in cutoffs]) - reference
    smooth = np.exp(np.convolve(np.log(np.maximum(errors, 1e-12)), np.full(2, 0.5), "valid"))
    return (cutoffs[1:] + cutoffs[:-1]) / 2, smooth


def cutoff_of(cutoffs: Array, errors: Array) -> float:
    """Returns the lowest cutoff above which all errors are below the target, eV, interpolated logarithmically."""
    last = int(np.flatnonzero(errors > TARGET)[-1])
    low, high = np.log(errors[last : last + 2])
    share = (low - math.log(TARGET)) / (low - high)
    return float(cutoffs[last] + share * (cutoffs[last + 1] - cutoffs[last]))


def atom_cutoff(entry: Mapping[str, Any], family: str) -> float:
    """Returns the cutoff of the pseudo-atom of one entry of the table, eV."""
    potential = load_gth(entry["name"], family)
    widths = [entry["r_loc"], *(p["r"] for p in entry["projectors"] if p["h"])]
    return cutoff_of(*energy_errors(potential, entry["configuration"], min(widths) * BOHR))


def crystal(element: str) -> Atoms:
    """Returns one atom in a face-centred cubic cell with the volume of the crystal, or at a distance of a bond."""
    state = reference_states[atomic_numbers[element]] or {}
    kind, a = state.get("symmetry"), state.get("a", 0.0)
    volumes = {"fcc": a**3 / 4, "bcc": a**3 / 2, "diamond": a**3 / 8, "hcp": math.sqrt(3) / 4 * a**3 * _ratio(state)}
    distance = 2.2 * max(float(covalent_radii[atomic_numbers[element]]), 0.75)
    volume = volumes.get(kind, distance**3 / math.sqrt(2))
    return bulk(element, "fcc", a=(4 * volume) ** (1 / 3))


def _ratio(state: Mapping[str, Any]) -> float:
    return float(state.get("c/a", 1.633))


def solid_cutoff(name: str, family: str, guess: float) -> float:
    """Returns the cutoff of SCF cycles, eV, for a pseudo-atom with the cutoff ``guess``."""
    element = name.partition("-")[0]
    atoms = crystal(element)
    scf = ScfOptions(tolerance=1e-5)

    def free_energy(cutoff: float) -> float:
        engine = PlaneWave(
            xc=family, cutoff=cutoff, kpts=(2, 2, 2), shift=(1, 1, 1), pseudopotentials={element: name}, scf=scf
        )
        return float(engine.solve(atoms, TEMPERATURE).reference.free_energy)

    reference = free_energy(max(1.4 * guess, guess + 500))

    def error(cutoff: float) -> float:
        return max(abs(free_energy(cutoff) - reference), 1e-6)

    low = high = guess
    below = above = error(guess)
    while above > TARGET:
        low, below, high = high, above, high * STRIDE
        above = error(high)
    while below <= TARGET:
        high, above, low = low, below, low / STRIDE
        below = error(low)
    return low * (high / low) ** (math.log(below / TARGET) / math.log(below / above))


def measure(name: str, family: str, guess: float) -> dict[str, Any]:
    """Returns the record of one pseudopotential."""
    record = {"family": family, "name": name, "atom": guess, "solid": None}
    if guess <= HARDEST:
        with contextlib.suppress(ConvergenceError):
            record["solid"] = solid_cutoff(name, family, guess)
    return record


def store(guesses: Mapping[str, float], records: Mapping[str, Mapping[str, Any]]) -> None:
    """Writes all cutoffs, rounded up; keys are families and names such as "pbe Al-q3"."""
    cutoffs: dict[str, dict[str, float]] = {"lda": {}, "pbe": {}}
    atoms: list[str] = []
    for key, guess in guesses.items():
        family, _, name = key.partition(" ")
        solid = records[key]["solid"] if key in records else None
        margin = MARGIN if guess < SOFT else 1.0
        cutoffs[family][name] = ROUNDED * math.ceil((solid or margin * guess) / ROUNDED)
        if solid is None:
            atoms.append(key)
    text = " ".join((__doc__ or "").split(" Hours on")[0].split())
    document = {"about": text, "unit": "eV", "error_eV_per_atom": TARGET, "pseudo_atom": atoms, "cutoffs": cutoffs}
    (FOLDER / "cutoffs.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def pseudo_atoms(folder: Path, entries: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Returns the cutoff of each pseudo-atom, eV, stored in ``folder``."""
    file = folder / "atoms.json"
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for key, entry in entries.items():
        if key not in known:
            known[key] = atom_cutoff(entry, key.partition(" ")[0])
            file.write_text(json.dumps(known, indent=1), encoding="utf-8")
    return {key: known[key] for key in entries}


def main() -> None:
    """Measures all cutoffs, the defaults for PBE first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of the records")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="names of pseudopotentials  [all]")
    parser.add_argument("--store", action="store_true", help="write the records to the package")
    values = parser.parse_args()
    values.folder.mkdir(parents=True, exist_ok=True)
    table = json.loads((FOLDER / "gth.json").read_text(encoding="utf-8"))["potentials"]
    entries = {f"{family} {entry['name']}": entry for family in ("lda", "pbe") for entry in table[family]}
    guesses = pseudo_atoms(values.folder, entries)
    file = values.folder / "cutoffs.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    records = {f"{record['family']} {record['name']}": record for record in map(json.loads, lines)}
    if values.store:
        store(guesses, records)
        return
    for key in sorted(entries, key=lambda key: (not entries[key]["default"], key.startswith("lda"), guesses[key])):
        family, _, name = key.partition(" ")
        if key in records or (values.only and name not in values.only):
            continue
        start = time.perf_counter()
        record = measure(name, family, guesses[key]) | {"seconds": round(time.perf_counter() - start)}
        print(json.dumps(record), flush=True)
        with file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
