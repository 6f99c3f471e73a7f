"""A norm-conserving pseudopotential in momentum space: a local form and separable projectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from fermisea.energies.ions import CoreCharge, Ion


@dataclass(frozen=True, eq=False)
class ProjectorChannel:
    """The projectors of one angular momentum.

    With beta_i(q) = 4 pi int r^2 j_l(qr) beta_i(r) dr and real spherical harmonics Y_lm,
    <q|V_nl|q'> = 1/V sum_lm,ij Y_lm(q) beta_i(q) h_ij beta_j(q') Y_lm(q').

    Attributes:
        l: angular momentum, 0 to 3.
        coupling: h_ij, (n, n), symmetric, eV.
        radial: maps momenta (...) in 1/Angstrom to beta_i(q)/q^l, (n, ...), Angstrom^(l + 3/2); differentiable, finite at q = 0.
    """

    l: int  # noqa: E741
    coupling: Tensor
    radial: Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Pseudopotential:
    """What an electron feels of one element's ions.

    Attributes:
        symbol: element.
        valence: charge Z of the ion in units of e.
        name: for provenance, such as "GTH-PBE Al-q3" or a file's name.
        digest: SHA-256 of the parameters or the file, hexadecimal.
        functional: exchange-correlation functional it was made for, None if unknown.
        core: partial core density of the nonlinear core correction, if any.
        channels: the projectors, one entry for each angular momentum that has some.
        local: maps momenta (...) in 1/Angstrom to the Fourier transform of V_loc(r), (...), eV Angstrom^3, with its -4 pi Z e^2/q^2;
            at q = 0 the integral of V_loc(r) + Z e^2/r; differentiable.
    """

    symbol: str
    valence: float
    name: str
    digest: str
    functional: str | None
    core: CoreCharge | None
    channels: tuple[ProjectorChannel, ...]
    local: Callable[[Tensor], Tensor]

    @property
    def ion(self) -> Ion:
        """Charge and core density alone."""
        return Ion(self.symbol, self.valence, self.core)
