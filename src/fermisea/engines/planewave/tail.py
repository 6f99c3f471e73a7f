"""Free electrons above the bands of a self-consistent state, in a form with a variational free energy.

High in energy, every spectrum approaches free electrons with a shifted bottom (S. Zhang et al., Phys. Plasmas 23,
042707 (2016); A. Blanchet et al., Comput. Phys. Commun. 271, 108215 (2022)). Here a switch s, which falls from 1 to 0
below an energy e_top, divides the states between bands and tail. With free electrons of kinetic energy e, their density
of states g(e) for both spins and per volume V, G(eps) = -k_B tau_e ln(1 + exp(-(eps - mu)/k_B tau_e)), and its
derivative, the occupation f, the grand potential of the electrons is

    Omega[v] = sum 2 w s(eps_n - B) G(eps_n) + V int g(e) (1 - s(e)) G(eps(e)) de,
    eps(e)   = e + U0 + (B - U0) phi(e),    phi(e) = min(1, (e_top / e)^6),

where the sum is over k-points of weight w and bands. The bottom of the tail is B where the bands end, and U0 far above:
B is fixed by the count of states, sum 2 w s(eps_n - B) = V int g s de, and U0 is the average of the local potential v.
B - U0 is the effect of the variation of the potential and of the nonlocal pseudopotentials on states of energy e_top;
it decays with energy. e_top is the kinetic energy of a fixed number of free-electron bands, proportional to V^(-2/3).

All other quantities are derivatives of Omega, so that forces, stress and entropy are derivatives of the free energy
F = Omega + mu N - int v n + E_local + E_H + E_xc + E_ions. With N_phi = V int g (1 - s) phi f de, X = sum 2 w s' G and
D = sum 2 w s', the weight of a band in the density is s f + m, m = s' (G + (N_phi - X) / D), and

    N = sum 2 w s f + N_tail,                               N_tail = V int g (1 - s) f de
    S = k_B (sum 2 w s sigma + V int g (1 - s) sigma de),   sigma: entropy density of f
    n = sum 2 w (s f + m) |psi|^2 + (N_tail - N_phi) / V,   since dB/dv = sum 2 w s' |psi|^2 / D and sum 2 w m = N_phi
    F = E_kinetic + E_nonlocal + E_local + E_H + E_xc + E_ions - TS + E_tail, the first two with the weights s f + m
    E_tail = V int g (1 - s) f e de - sum 2 w m (eps_n - B).

The sum over bands is the trace of a smooth function of H: it is smooth where bands cross, and rotations of degenerate
bands leave it unchanged, unlike weights that depend on the index of a band. Since s depends on e / e_top, integration
by parts gives E_tail (``tail_kinetic``) the stress of a kinetic energy, -2/3 E_tail / V along each axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from fermisea import units
from fermisea.physics.fermi_dirac import entropy_density, occupation
from fermisea.physics.free_electrons import band_edge, quadrature, state_density
from fermisea.utilities.arrays import FloatArray

COVERED = 0.92
"""Free-electron bands below the top of the switch, relative to the number of bands; the others are a margin for
k-points with fewer bands below that energy."""

RAMP = 0.65
"""Energy at which the switch begins to fall, relative to its top."""

DECAY = 6
"""Power with which the shift of the bottom decays with energy above the switch. F hardly depends on it below 100 kK; at
300 kK, a third power has five times the error in aluminium, and at 1 MK twice the error in beryllium."""


class TailSums(NamedTuple):
    """Sums over the free electrons of a cell: N_tail, N_phi, kinetic energy (eV), energy (eV), entropy (k_B)."""

    electrons: float
    shifted: float
    kinetic: float
    energy: float
    entropy: float


@dataclass(frozen=True)
class Tail:
    """Switch from bands to free electrons.

    Attributes:
        bands: number of bands from which the top of the switch follows.
        volume: volume of the cell, Angstrom^3.
    """

    bands: int
    volume: float

    @cached_property
    def top(self) -> float:
        """Kinetic energy above which there are free electrons only, e_top, eV."""
        return float(band_edge(2 * COVERED * self.bands, self.volume))

    @property
    def start(self) -> float:
        """Kinetic energy below which there are bands only, eV."""
        return RAMP * self.top

    @cached_property
    def states(self) -> float:
        """Number of free-electron states of the cell, both spins, that the switch leaves to the bands."""
        nodes, weights = np.polynomial.legendre.leggauss(40)
        wave = np.sqrt(RAMP) + (1 - np.sqrt(RAMP)) * (nodes + 1) / 2
        below = RAMP**1.5 + 1.5 * (1 - np.sqrt(RAMP)) * float(weights @ (wave**2 * self.switch(self.top * wave**2)[0]))
        return 2 * COVERED * self.bands * below

    def switch(self, energies: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Returns s, from 1 to 0, and its derivative, 1/eV, at energies above the bottom, eV, any shape."""
        width = self.top - self.start
        x = np.clip((np.asarray(energies, dtype=np.float64) - self.start) / width, 0.0, 1.0)
        return 1 - x**3 * (10 + x * (6 * x - 15)), -30 * (x * (1 - x)) ** 2 / width

    def bottom(self, eigenvalues: FloatArray, weights: FloatArray) -> float:
        """Returns B, eV, at which the switch leaves the right number of states to the bands.

        Args:
            eigenvalues: eigenvalues of all k-points, eV, (states,).
            weights: number of electrons in each full state (k-weight times 2), (states,).
        """

        def excess(bottom: float) -> float:
            return float(weights @ self.switch(eigenvalues - bottom)[0]) - self.states

        low, high = float(eigenvalues.min()) - self.top, float(eigenvalues.max())
        if excess(high) < 0:  # not enough bands; more are added
            return high
        return float(brentq(excess, low, high, xtol=1e-12, rtol=1e-14, maxiter=300))

    def sums(self, bottom: float, mean: float, fermi_level: float, electron_temperature: float) -> TailSums:
        """Returns sums over the free electrons of the cell.

        Args:
            bottom: B, eV.
            mean: U0, eV.
            fermi_level: mu, eV.
            electron_temperature: tau_e, K.
        """
        kt = units.thermal_energy(electron_temperature)
        kinetic, weights = quadrature(self.start, 0.0, fermi_level - mean, kt, (self.top,))
        decay = np.minimum(1.0, (self.top / kinetic) ** DECAY)
        energies = kinetic + mean + (bottom - mean) * decay
        states = self.volume * weights * state_density(kinetic, 0.0) * (1 - self.switch(kinetic)[0])
        filled = states * occupation(energies, fermi_level, electron_temperature)
        entropy = states @ entropy_density(energies, fermi_level, electron_temperature)
        return TailSums(
            float(filled.sum()),
            float(filled @ decay),
            float(filled @ kinetic),
            float(filled @ energies),
            float(entropy),
        )
