"""Separable dual-space Gaussian pseudopotentials, analytic in real and momentum space.

S. Goedecker, M. Teter, J. Hutter, Phys. Rev. B 54, 1703 (1996) [GTH]; C. Hartwigsen, S. Goedecker, J. Hutter,
Phys. Rev. B 58, 3641 (1998) [HGH]; M. Krack, Theor. Chem. Acc. 114, 145 (2005). The published parameters, in hartree
and bohr, are in ``gth.json`` in this folder. ``cutoffs.json`` holds the plane-wave cutoff at which F is converged to
10 meV/atom with each potential, and how it was measured.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
import torch
from scipy.special import erf
from torch import Tensor

from fermisea.errors import InputError
from fermisea.pseudopotentials.base import FAMILIES, ProjectorChannel, Pseudopotential, core_radius, screened_coulomb
from fermisea.units import BOHR, COULOMB, HARTREE
from fermisea.utilities.arrays import FloatArray

_RADII = np.linspace(0.01, 10.0, 1000)
"""Radii of the search for the core radius, in widths of the local potential."""

HARD = 4000.0
"""Cutoff, eV, above which a potential is not chosen if the table has a softer one for the element."""


def gaussian_transforms(degree: int, width: float, count: int, momenta: Tensor) -> Tensor:
    """Returns 4 pi int r^(l + 2 + 2n) (r^(2n) exp(-r^2 / 2 a^2) / a^(2n)) j_l(qr) / q^l for n = 0 .. count - 1.

    That is (2 pi)^(3/2) a^(2l + 3) 2^n n! L_n^(l + 1/2)(z) exp(-z) with z = (qa)^2 / 2 and the generalised Laguerre
    polynomials L (Gradshteyn and Ryzhik, 6.631.10); all closed forms of GTH and HGH are special cases.

    Args:
        degree: l.
        width: a, Angstrom.
        count: number of powers.
        momenta: q, any shape (...), 1/Angstrom.

    Returns:
        (count, ...), Angstrom^(2l + 3).
    """
    z = (momenta * width) ** 2 / 2
    order = degree + 0.5
    polynomials = [torch.ones_like(z), 1 + order - z]
    for n in range(1, count - 1):
        polynomials.append(((2 * n + 1 + order - z) * polynomials[n] - (n + order) * polynomials[n - 1]) / (n + 1))
    factors = torch.tensor([2.0**n * math.factorial(n) for n in range(count)], dtype=z.dtype, device=z.device)
    envelope = (2 * math.pi) ** 1.5 * width ** (2 * degree + 3) * torch.exp(-z)
    transforms: Tensor = torch.stack(polynomials[:count]) * envelope * factors.reshape(-1, *[1] * z.ndim)
    return transforms


@dataclass(frozen=True)
class GaussianProjectors:
    """The radial forms of HGH eq. 3: p_i(r) = N_i r^(l + 2i - 2) exp(-r^2 / 2 a^2), with int p_i^2 r^2 dr = 1.

    Attributes:
        degree: l.
        width: a, Angstrom.
        count: number of projectors.
    """

    degree: int
    width: float
    count: int

    def norm(self, index: int) -> float:
        """Returns N_i for i = ``index`` + 1, Angstrom^-(l + 2i - 1/2)."""
        power = self.degree + 2 * index + 1.5
        return math.sqrt(2 / math.gamma(power)) / float(self.width**power)

    def __call__(self, momenta: Tensor) -> Tensor:
        """Returns the transforms over q^l at ``momenta`` (..., 1/Angstrom) as (count, ...), Angstrom^(l + 3/2)."""
        norms = [self.norm(i) * self.width ** (2 * i) for i in range(self.count)]
        factors = torch.tensor(norms, dtype=momenta.dtype, device=momenta.device).reshape(-1, *[1] * momenta.ndim)
        return factors * gaussian_transforms(self.degree, self.width, self.count, momenta)


@dataclass(frozen=True)
class GaussianLocal:
    """GTH eq. 1: V_loc(r) = -Z e^2/r erf(r / sqrt(2) a) + exp(-r^2 / 2 a^2) sum_n C_n (r/a)^(2n - 2).

    Attributes:
        valence: Z.
        width: a, Angstrom.
        coefficients: C_1 to at most C_4, eV.
    """

    valence: float
    width: float
    coefficients: tuple[float, ...]

    def __call__(self, momenta: Tensor) -> Tensor:
        """Returns the transform at ``momenta`` (..., 1/Angstrom), eV Angstrom^3; at zero of V_loc + Z e^2/r."""
        short = torch.zeros_like(momenta)
        if self.coefficients:
            terms = gaussian_transforms(0, self.width, len(self.coefficients), momenta)
            weights = torch.tensor(self.coefficients, dtype=momenta.dtype, device=momenta.device)
            short = torch.tensordot(weights, terms, dims=1)
        return short + screened_coulomb(self.valence, self.width, momenta)

    def at(self, radius: FloatArray) -> FloatArray:
        """Returns the potential at positive radii (Angstrom), eV, in the same shape."""
        x = radius / self.width
        terms = sum(c * x ** (2 * n) for n, c in enumerate(self.coefficients))
        coulomb = -self.valence * COULOMB / radius * erf(x / math.sqrt(2))
        return np.asarray(coulomb + np.exp(-(x**2) / 2) * terms)


def names(functional: str) -> dict[str, list[str]]:
    """Returns the potentials of each element for a functional, the default first."""
    found: dict[str, list[str]] = {}
    for entry in _table(functional):
        symbol = entry["name"].partition("-")[0]
        found.setdefault(symbol, []).insert(0 if entry["default"] else len(found.get(symbol, [])), entry["name"])
    return found


def cutoffs(functional: str) -> dict[str, float]:
    """Returns the plane-wave cutoff (eV) at which F is converged to 10 meV/atom, by name of the potential."""
    text = resources.files("fermisea.pseudopotentials").joinpath("cutoffs.json").read_text(encoding="utf-8")
    known: dict[str, float] = json.loads(text)["cutoffs"][FAMILIES[functional]]
    return known


def affordable(symbol: str, functional: str) -> str:
    """Returns the potential of an element for a calculation without a chosen potential.

    This is the default of the table, unless its cutoff is above ``HARD`` and the table has a softer potential: then the
    one with the most electrons below ``HARD``, or else the softest.
    """
    choice = names(functional).get(symbol, [symbol])
    known = cutoffs(functional) if len(choice) > 1 else {}
    if len(choice) == 1 or known.get(choice[0], 0.0) <= HARD:
        return choice[0]
    soft = [name for name in choice if known[name] <= HARD]
    if soft:
        return max(soft, key=lambda name: int(name.partition("-q")[2]))
    return min(choice, key=lambda name: known[name])


def load_gth(name: str, functional: str) -> Pseudopotential:
    """Returns one potential of the table.

    Args:
        name: an element, for its default, or an element and valence such as "Mg-q2".
        functional: "lda", "pz", "pbe" or "pbesol".

    Raises:
        InputError: if the table has no such potential.
    """
    entries = _table(functional)
    symbol = name.partition("-")[0]
    for entry in entries:
        if entry["name"] == name or (name == symbol and entry["default"] and entry["name"].startswith(f"{symbol}-")):
            return _potential(entry, functional)
    known = names(functional)
    choice = ", ".join(known.get(symbol, sorted(known)))
    raise InputError(
        f"GTH pseudopotential: got {name} for functional {functional}, expected {choice} from the table; or give a "
        "UPF file"
    )


def _table(functional: str) -> Sequence[Mapping[str, Any]]:
    if functional not in FAMILIES:
        raise InputError(f"GTH pseudopotentials: got functional {functional}, expected one of {', '.join(FAMILIES)}")
    text = resources.files("fermisea.pseudopotentials").joinpath("gth.json").read_text(encoding="utf-8")
    entries: list[dict[str, Any]] = json.loads(text)["potentials"][FAMILIES[functional]]
    return entries


def _potential(entry: Mapping[str, Any], functional: str) -> Pseudopotential:
    channels = []
    for degree, projector in enumerate(entry["projectors"]):
        count = len(projector["h"])
        if count:
            upper = (
                torch.tensor([[0.0] * i + row for i, row in enumerate(projector["h"])], dtype=torch.float64) * HARTREE
            )
            coupling = upper + upper.triu(1).T
            channels.append(
                ProjectorChannel(degree, coupling, GaussianProjectors(degree, projector["r"] * BOHR, count))
            )
    coefficients = tuple(c * HARTREE for c in entry["c"])
    local = GaussianLocal(float(entry["valence"]), entry["r_loc"] * BOHR, coefficients)
    return Pseudopotential(
        symbol=entry["name"].partition("-")[0],
        valence=float(entry["valence"]),
        name=f"GTH-{FAMILIES[functional].upper()} {entry['name']}",
        digest=hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest(),
        functional=FAMILIES[functional],
        core=None,
        core_radius=core_radius(_RADII * local.width, local.at(_RADII * local.width), local.valence),
        channels=tuple(channels),
        local=local,
        cutoff=cutoffs(functional).get(entry["name"]),
    )
