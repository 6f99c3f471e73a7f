"""Observables between two reference temperatures, as a smooth blend of the results of both.

The LDOS of one tau_ref gives F at every tau_e, and is most accurate near tau_ref. With an LDOS at tau_1 < tau_2,

    F = (1 - w) F_1 + w F_2,    w = x^3 (10 - 15 x + 6 x^2),    x = (tau_e - tau_1) / (tau_2 - tau_1)

at tau_e from tau_1 to tau_2. F, S and C_e are continuous, because w has two derivatives that vanish at both ends. S and
C_e are derivatives of this F, so that they contain the change of the weight,

    S = (1 - w) S_1 + w S_2 - w' (F_2 - F_1)
    C_e = (1 - w) C_1 + w C_2 + 2 tau_e w' (S_2 - S_1) - tau_e w'' (F_2 - F_1)

to the accuracy to which S_1 and S_2 are derivatives of F_1 and F_2. Other observables are blended with the weights
alone, and so is S without a total free energy.

F_2 - F_1 is an error. With x linear in tau_e, its share of C_e = gamma tau_e is at most 6 (F_2 - F_1) / (gamma (tau_2 -
tau_1)^2): 0.5 % in aluminium for 1 meV/atom between 1 and 10 kK. With x linear in ln(tau_e) it is 3 %, near the lower
tau_ref, where C_e is small. An LDOS also serves temperatures above its tau_ref better than those below.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fermisea.physics.observables import PotentialObservables, ThermalObservables


@dataclass(frozen=True)
class Share:
    """Weight of one tau_ref in the results at one tau_e.

    Attributes:
        weight: the weight, above 0 and at most 1.
        slope: its derivative with respect to tau_e, 1/K.
        curvature: its second derivative, 1/K^2.
    """

    weight: float
    slope: float = 0.0
    curvature: float = 0.0


def shares_of(references: Sequence[float], electron_temperature: float) -> dict[int, Share]:
    """Returns the weights of one or two tau_ref at a tau_e by their indices; their sum is 1.

    Args:
        references: every tau_ref, K, ascending.
        electron_temperature: tau_e, K.
    """
    above = int(np.searchsorted(references, electron_temperature))
    if above in (0, len(references)):
        return {max(above - 1, 0): Share(1.0)}
    low, high = references[above - 1], references[above]
    length = high - low
    x = (electron_temperature - low) / length
    weight = x**3 * (10 - 15 * x + 6 * x**2)
    slope, curvature = 30 * (x - x**2) ** 2 / length, 60 * x * (1 - x) * (1 - 2 * x) / length**2
    found = {above - 1: Share(1 - weight, -slope, -curvature), above: Share(weight, slope, curvature)}
    return {index: share for index, share in found.items() if share.weight > 0}


def blended(results: Sequence[ThermalObservables], shares: Sequence[Share]) -> ThermalObservables:
    """Returns the observables at one tau_e from the observables of each tau_ref with a weight.

    The standard deviations of a potential are added in magnitude, because its errors at both tau_ref are related.

    Args:
        results: observables at the same tau_e.
        shares: their weights.
    """
    if len(results) == 1:
        return replace(results[0], blend_error=0.0)
    t, first = results[0].electron_temperature, results[0]

    def mean(value: Callable[[ThermalObservables], float]) -> float:
        return math.fsum(share.weight * value(result) for result, share in zip(results, shares, strict=True))

    def means(values: Sequence[dict[str, float]]) -> dict[str, float]:
        pairs = list(zip(shares, values, strict=True))
        return {name: math.fsum(share.weight * own[name] for share, own in pairs) for name in values[0]}

    entropies = [result.ldos_entropy + result.further_entropy for result in results]
    if not first.free_energies:  # S is then the mean of the entropies of the states
        further = t * math.fsum(share.slope * entropy for share, entropy in zip(shares, entropies, strict=True))
        entropy = 0.0
    else:
        energies = [result.free_energies["second_order"] for result in results]
        entropy, further = _entropy(energies, shares), _heat_capacity(energies, entropies, shares, t)
    found = replace(
        first,
        fermi_level=mean(lambda r: r.fermi_level),
        electrons=mean(lambda r: r.electrons),
        band_energy=mean(lambda r: r.band_energy),
        ldos_entropy=mean(lambda r: r.ldos_entropy),
        ldos_heat_capacity=mean(lambda r: r.ldos_heat_capacity),
        free_energies=means([r.free_energies for r in results]),
        transfer_error=mean(lambda r: r.transfer_error),
        tail_electrons=mean(lambda r: r.tail_electrons),
        tail_error=mean(lambda r: r.tail_error),
        density=np.asarray(sum(share.weight * r.density for r, share in zip(results, shares, strict=True))),
        reference_free_energy=mean(lambda r: r.reference_free_energy),
        anchor_shift=mean(lambda r: r.anchor_shift),
        unanchored=None if first.unanchored is None else means([r.unanchored or {} for r in results]),
        potential=_blended_potential([r.potential for r in results], shares, t),
        further_entropy=mean(lambda r: r.further_entropy) + entropy,
        further_heat_capacity=mean(lambda r: r.further_heat_capacity) + further,
    )
    return replace(found, blend_error=blend_error([result.free_energy for result in results], shares))


def blend_error(free_energies: Sequence[float], shares: Sequence[Share]) -> float:
    """Returns the estimated error of a blended F, eV, from the difference between the results of two tau_ref.

    It is the mean error if each result is the right one with the probability of its weight; 0 for a single result.
    """
    if len(shares) == 1:
        return 0.0
    (one, two), (low, high) = shares, free_energies
    return 2 * one.weight * two.weight * abs(high - low)


def _entropy(free_energies: Sequence[float], shares: Sequence[Share]) -> float:
    """Returns the share of S from the change of the weights, eV/K."""
    return -math.fsum(share.slope * energy for share, energy in zip(shares, free_energies, strict=True))


def _heat_capacity(
    free_energies: Sequence[float], entropies: Sequence[float], shares: Sequence[Share], electron_temperature: float
) -> float:
    """Returns the share of C_e from the change of the weights, eV/K."""
    parts = zip(shares, free_energies, entropies, strict=True)
    return electron_temperature * math.fsum(2 * s.slope * own - s.curvature * energy for s, energy, own in parts)


def _blended_potential(
    parts: Sequence[PotentialObservables | None], shares: Sequence[Share], electron_temperature: float
) -> PotentialObservables | None:
    known = [part for part in parts if part is not None]
    return blended_potential(known, shares, electron_temperature) if len(known) == len(parts) else None


def blended_potential(
    parts: Sequence[PotentialObservables], shares: Sequence[Share], electron_temperature: float
) -> PotentialObservables:
    """Returns the observables of the potentials of one or two tau_ref at one tau_e, K."""
    if len(parts) == 1:
        return parts[0]
    t = electron_temperature
    free, entropies = [part.free_energy for part in parts], [part.entropy for part in parts]

    def mean(values: Sequence[float]) -> float:
        return math.fsum(share.weight * value for share, value in zip(shares, values, strict=True))

    def deviation(value: Callable[[Share, Mapping[str, float]], float]) -> float:
        """Returns the sum of the contributions of all tau_ref to a standard deviation."""
        return math.fsum(value(share, part.deviations) for share, part in zip(shares, parts, strict=True))

    return PotentialObservables(
        free_energy=mean(free),
        entropy=mean(entropies) + _entropy(free, shares),
        heat_capacity=mean([part.heat_capacity for part in parts]) + _heat_capacity(free, entropies, shares, t),
        deviations={
            "free_energy": deviation(lambda s, std: s.weight * std["free_energy"]),
            "internal_energy": deviation(
                lambda s, std: s.weight * std["internal_energy"] + t * abs(s.slope) * std["free_energy"]
            ),
            "entropy": deviation(lambda s, std: s.weight * std["entropy"] + abs(s.slope) * std["free_energy"]),
            "heat_capacity": deviation(
                lambda s, std: (
                    s.weight * std["heat_capacity"]
                    + 2 * t * abs(s.slope) * std["entropy"]
                    + t * abs(s.curvature) * std["free_energy"]
                )
            ),
        },
    )
