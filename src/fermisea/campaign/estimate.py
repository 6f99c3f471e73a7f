"""Estimates of disk, memory and processor time of a campaign from counts, before any program is started."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from fermisea import units
from fermisea.campaign.settings import Campaign
from fermisea.engines.ldos import LdosOptions, free_electron_bands
from fermisea.engines.ldos_memory import DEFAULT_MEMORY, LdosSize, blocks_within, least_memory
from fermisea.engines.mesh import mesh_of
from fermisea.engines.planewave.kpoints import monkhorst_pack
from fermisea.engines.resampling import transform_shape
from fermisea.errors import InputError
from fermisea.grid import EnergyGrid, RealSpaceGrid
from fermisea.physics.window import REACH, default_window
from fermisea.pseudopotentials import gth
from fermisea.pseudopotentials.upf import upf_header
from fermisea.utilities.arrays import FloatArray

_COMPRESSED = 0.8
"""Size of a stored LDOS and density over their size in memory; 0.79 to 0.82 were measured with displaced atoms."""

_MARGIN = 1.0
"""Assumed energy between the start of a given window and the highest start that the lowest band permits, eV."""

_MORE_BANDS = 1.08
"""Bands that fill an energy window over the number of free-electron bands up to its top."""


@dataclass(frozen=True)
class Rates:
    """Time of a DFT run on one core, for each k-point, N_b bands, N_w plane waves and N_g points of the FFT grid.

    The time is a N_b N_g log2(N_g) + b N_b^2 N_w: Fourier transforms of all bands, and products of all pairs of bands.

    Attributes:
        scf: a and b of an SCF cycle, s.
        nscf: a and b of the bands of the energy window, s.
        ldos: time of the LDOS over N_b N_t log2(N_t), with N_t points of its transform, s.
        source: measurement of the numbers, for people.
    """

    scf: tuple[float, float]
    nscf: tuple[float, float]
    ldos: float
    source: str

    def run(self, bands: int, waves: int, points: int, *, scf: bool) -> float:
        """Returns the time of a run for each k-point, s."""
        transforms, products = self.scf if scf else self.nscf
        return transforms * bands * points * math.log2(points) + products * bands**2 * waves


RATES = Rates(
    scf=(2.0e-8, 1.8e-7),
    nscf=(1.1e-8, 3.7e-8),
    ldos=1.7e-9,
    source="fit to processor times of pw.x 6.7 with OpenBLAS on one core of an AMD EPYC (Zen 4, AVX-512), for 4 to 108 "
    "aluminium atoms at 12 to 20 Ry (benchmarks/espresso_import.py); the fit is good to 15 %, and for 256 atoms at 8 "
    "Ry outside of the fit the error is +30 % for the SCF cycle and -25 % for the bands of the window",
)
"""Measured rates of pw.x."""

EMBEDDED = (1.0, 0.4)
"""Times of the SCF cycle and of the bands of the window with the embedded engine, over the times of pw.x.

With them the 94 DFT calculations of the shipped model take 7 core-hours as measured, a third of them for the bands.
"""


@dataclass(frozen=True)
class Estimate:
    """Estimated cost of structures with the same cell and settings. Sizes are for one structure, unless stated.

    Attributes:
        name: name of the class of structures.
        structures: number of structures.
        atoms: number of atoms.
        electron_temperature: tau_ref, K.
        kpoints: number of k-points after time reversal.
        waves: number of plane waves of a k-point.
        bands: number of bands that fill the energy window.
        grid: FFT grid of the density.
        ldos_grid: grid of the LDOS.
        energies: number of energies of the LDOS.
        file_bytes: size of a snapshot file.
        wavefunction_bytes: size of all wavefunctions, on disk with pw.x and in memory with the embedded engine.
        ldos_bytes: memory for the LDOS and its blocks, with one thread.
        memory: allowed memory for the LDOS; infinite for the embedded engine.
        scf_hours: core-hours of the SCF cycle.
        window_hours: core-hours of the bands of the energy window.
        ldos_hours: core-hours of the LDOS.
        assumptions: assumptions of this estimate.
    """

    name: str
    structures: int
    atoms: int
    electron_temperature: float
    kpoints: int
    waves: int
    bands: int
    grid: tuple[int, int, int]
    ldos_grid: tuple[int, int, int]
    energies: int
    file_bytes: float
    wavefunction_bytes: float
    ldos_bytes: float
    memory: float
    scf_hours: float
    window_hours: float
    ldos_hours: float
    assumptions: tuple[str, ...]

    @property
    def core_hours(self) -> float:
        """Core-hours of all structures."""
        return self.structures * (self.scf_hours + self.window_hours + self.ldos_hours)

    @property
    def fits(self) -> bool:
        """Whether the LDOS fits into the allowed memory."""
        return self.ldos_bytes <= self.memory

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data for JSON: counts, then sizes and times of one structure and of all structures."""
        values = asdict(self) | {"memory": None if math.isinf(self.memory) else self.memory}
        names = [name for name in values if name.endswith(("_bytes", "_hours"))]
        one = {name: values.pop(name) for name in names}
        every = {"file_bytes": self.structures * self.file_bytes, "core_hours": self.core_hours}
        return values | {"one_structure": one, "all_structures": every}


def estimate(campaign: Campaign, name: str, atoms: Atoms, electron_temperature: float, structures: int = 1) -> Estimate:
    """Returns the estimated cost of structures that are similar to ``atoms``; neither pw.x nor its files are needed.

    Args:
        campaign: DFT settings.
        name: name of the class of structures.
        atoms: one structure.
        electron_temperature: tau_ref, K.
        structures: number of structures.

    Raises:
        InputError: for an invalid structure or setting.
    """
    engine = campaign.make_engine()
    electrons, cutoff, assumptions = _electrons(campaign, atoms.symbols)
    kpts, shift = mesh_of(engine.kpts, engine.shift, atoms.cell.array)
    kpoints = len(monkhorst_pack(kpts, shift).weights)
    momentum = math.sqrt(cutoff / units.KINETIC)
    grid = RealSpaceGrid.from_momentum(atoms.cell.array, 2 * momentum)
    waves = math.ceil(grid.volume * momentum**3 / (6 * math.pi**2))
    fermi_energy = units.KINETIC * (3 * math.pi**2 * electrons / grid.volume) ** (2 / 3)
    energies, broadening, bottom = _window(engine.ldos, fermi_energy, electron_temperature)
    if campaign.energy_window is not None:
        assumptions.append(f"the lowest band is at {bottom:.1f} eV, {_MARGIN:g} eV above the lowest possible one")
    above = max(energies.stop + REACH * broadening - bottom - fermi_energy, 0.0)
    hot = free_electron_bands(electrons, grid.volume, 18 * units.thermal_energy(electron_temperature))
    scf_bands = math.ceil(max(hot, 0.6 * electrons, electrons / 2 + 4))
    bands = max(scf_bands, math.ceil(_MORE_BANDS * free_electron_bands(electrons, grid.volume, above)) + 2)
    if bands > waves:
        raise InputError(
            f"{name}: the energy window needs about {bands} bands, but a cutoff of {cutoff:g} eV gives about {waves} "
            "plane waves; raise the cutoff or lower the end of the window"
        )
    shape = campaign.grid or grid.shape
    embedded = campaign.engine == "planewave"
    memory = math.inf if embedded else (campaign.memory or DEFAULT_MEMORY)
    transform = _transform(atoms, momentum, shape, grid.shape)
    size = LdosSize(math.prod(shape), energies.size, transform, waves)
    values = bottom + fermi_energy * (np.arange(1, bands + 1) / (electrons / 2)) ** (2 / 3)
    scf_factor, window_factor = EMBEDDED if embedded else (1.0, 1.0)
    return Estimate(
        name=name,
        structures=structures,
        atoms=len(atoms),
        electron_temperature=float(electron_temperature),
        kpoints=kpoints,
        waves=waves,
        bands=bands,
        grid=grid.shape,
        ldos_grid=shape,
        energies=energies.size,
        file_bytes=_COMPRESSED * size.points * (4.0 * energies.size + 8.0),
        wavefunction_bytes=16.0 * kpoints * bands * waves,
        ldos_bytes=_memory(size, values, energies, broadening, memory),
        memory=memory,
        scf_hours=scf_factor * kpoints * RATES.run(scf_bands, waves, grid.size, scf=True) / 3600,
        window_hours=window_factor * kpoints * RATES.run(bands, waves, grid.size, scf=False) / 3600,
        ldos_hours=kpoints * RATES.ldos * bands * transform * math.log2(transform) / 3600,
        assumptions=tuple(assumptions),
    )


def law() -> list[str]:
    """Returns the law of the estimated times and its source, in sentences."""
    (a, b), (c, d) = RATES.scf, RATES.nscf
    counts = (
        "These numbers are estimates from counts of k-points, bands (of free electrons), plane waves and grid points; "
        "nothing was computed."
    )
    times = (
        f"Time of one k-point on one core: a N_b N_g log2(N_g) + b N_b^2 N_w, with N_b bands, N_w plane waves and N_g "
        f"points of the FFT grid; a = {a:.1e} s and b = {b:.1e} s for the SCF cycle, a = {c:.1e} s and b = {d:.1e} s "
        f"for the bands of the window; LDOS: {RATES.ldos:.1e} s N_b N_t log2(N_t), with N_t points of its transform."
    )
    source = (
        f"Source: {RATES.source}. The constants of the SCF cycle contain the number of its iterations in these runs. "
        "For another machine, multiply by the ratio of its times to these. The embedded engine is estimated at "
        f"{EMBEDDED[0]:g} times the time of pw.x for the SCF cycle and {EMBEDDED[1]:g} times for the bands, as in 94 "
        "calculations of aluminium."
    )
    return [counts, times, source]


def _electrons(campaign: Campaign, symbols: Iterable[str]) -> tuple[float, float, list[str]]:
    """Returns the number of electrons, the cutoff (eV), and assumptions about pseudopotentials."""
    known: dict[str, float] = {}
    cutoffs: list[float] = []
    assumptions: list[str] = []
    xc = campaign.xc or "pbe"
    elements = list(symbols)
    for symbol in dict.fromkeys(elements):
        named = campaign.pseudopotentials
        choice = None if named is None or isinstance(named, str) else named.get(symbol)
        if choice is not None and Path(choice).is_file():
            known[symbol] = float(upf_header(choice)["z_valence"])
            continue
        shipped = choice if choice in gth.names(xc).get(symbol, []) else gth.affordable(symbol, xc)
        potential = gth.load_gth(shipped, xc)
        known[symbol] = potential.ion.valence
        cutoffs += [] if potential.cutoff is None else [potential.cutoff]
        if choice not in (None, shipped):
            assumptions.append(f"{choice}: no such file; {known[symbol]:g} valence electrons of {symbol}, as {shipped}")
    cutoff = campaign.cutoff or max(cutoffs, default=270.0)
    return math.fsum(known[symbol] for symbol in elements), cutoff, assumptions


def _window(options: LdosOptions, fermi_energy: float, electron_temperature: float) -> tuple[EnergyGrid, float, float]:
    """Returns the energies, the broadening and the lowest eigenvalue, eV, of free electrons."""
    chosen = options.covering(electron_temperature)
    if chosen.energy_grid is not None:
        return chosen.energy_grid, chosen.broadening, chosen.energy_grid.start + REACH * chosen.broadening + _MARGIN
    window = default_window(
        0.0,
        fermi_energy,
        spacing=chosen.spacing,
        broadening=chosen.broadening,
        highest_electron_temperature=chosen.highest_electron_temperature,
    )
    return window, chosen.broadening, 0.0


def _transform(atoms: Atoms, momentum: float, shape: tuple[int, int, int], engine: tuple[int, int, int]) -> int:
    """Returns the number of points of the grid on which wavefunctions are computed."""
    lengths: Sequence[float] = np.linalg.norm(atoms.cell.array, axis=1).tolist()
    x, y, z = (2 * int(momentum * length / (2 * math.pi)) + 2 for length in lengths)
    return math.prod(transform_shape((x, y, z), shape, engine))


def _memory(size: LdosSize, values: FloatArray, energies: EnergyGrid, broadening: float, memory: float) -> float:
    """Returns the memory of the LDOS with one thread; if the allowed memory is too small, the least memory."""
    least = least_memory(size, [values], energies, broadening)
    if memory < least:
        return least
    blocks = blocks_within(memory, size, [values], energies, broadening)
    return size.array(double=blocks.double) + blocks.needed(1)
