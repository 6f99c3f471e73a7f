"""Evaluation of a descriptor in tensor operations, for a portion of the points at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from fermisea.descriptors.bispectrum import Bispectrum
from fermisea.descriptors.cubature import (
    bispectrum,
    cubature_constants,
    expand,
    harmonic_constants,
    power_spectrum,
)
from fermisea.descriptors.power_spectrum import PowerSpectrum
from fermisea.descriptors.regions import nearest

_BUDGET = {"cpu": 2**26, "cuda": 2**30}
"""Memory limit for the intermediate results of one group of points, bytes, by type of device."""

_SMALL = 0.01
"""Squared phase below which even functions are evaluated by their series."""


@dataclass(frozen=True)
class Recipe:
    """A descriptor with the type and device of its constants."""

    descriptor: Bispectrum | PowerSpectrum
    dtype: torch.dtype
    device: torch.device

    @property
    def order(self) -> int:
        """Highest degree of the harmonics."""
        return self.descriptor.twojmax if isinstance(self.descriptor, Bispectrum) else self.descriptor.order

    @property
    def cutoff(self) -> float:
        """Distance beyond which atoms do not contribute, Angstrom."""
        return self.descriptor.cutoff

    def neighbours(self, density: float) -> float:
        """Returns the number of atoms within the cutoff for a density of atoms in 1/Angstrom^3."""
        return density * 4 / 3 * math.pi * self.cutoff**3

    def points_at_once(self, neighbours: float, copies: int = 1) -> int:
        """Returns the number of points whose intermediate results, stored ``copies`` times, fit the memory limit."""
        size = self.order + 1
        numbers = (1 + neighbours) * 3 * (size * size + size * (size + 1) // 2)
        if isinstance(self.descriptor, Bispectrum):
            half = 3 * self.order // 2
            numbers += 3 * size * (half + 1) ** 2 * (half // 2 + 1)
        budget = _BUDGET.get(self.device.type, _BUDGET["cuda"])
        return max(1, int(budget / (copies * self.dtype.itemsize * numbers)))

    def portions(self, places: Tensor, points: Tensor, copies: int = 1) -> Iterator[tuple[slice, Tensor]]:
        """Yields portions of the points that fit the memory limit, with their nearby images, (points, neighbours)."""
        for start, near in nearest(places, points, self.cutoff):
            most = self.points_at_once(near.shape[1], copies)
            for first in range(0, len(near), most):
                rows = near[first : first + most]
                yield slice(start + first, start + first + len(rows)), rows

    def quaternions(self, displacements: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns w f_c, cos(theta_0) and sin(theta_0) r/|r| of displacements (points, neighbours, 3)."""
        square = displacements.square().sum(-1)
        angle = self.descriptor.rfac0 * math.pi
        rmin0 = self.descriptor.rmin0 if isinstance(self.descriptor, Bispectrum) else 0.0
        if rmin0 == 0:
            t = square / self.cutoff**2
            switch = 0.5 * (1 + _even_cosine(math.pi**2 * t))
            cosine = _even_cosine(angle**2 * t)
            lever = angle / self.cutoff * _even_sine(angle**2 * t)
            counts = t < 1
            if isinstance(self.descriptor, PowerSpectrum):
                switch = switch**self.descriptor.smoothness
        else:
            away = square >= 1e-20
            distance = torch.where(away, square, 1.0).sqrt()
            x = (distance - rmin0) / (self.cutoff - rmin0)
            inside = x < 0
            sign = torch.where(inside, -1.0, 1.0).to(x)
            switch = torch.where(inside, 1.0, 0.5 * (1 + torch.cos(math.pi * x)))
            cosine = sign * torch.cos(angle * x)
            lever = sign * torch.sin(angle * x) / distance
            counts = away & (x < 1)
        return torch.where(counts, weights * switch, 0.0), cosine, lever[..., None] * displacements


def _even_cosine(square: Tensor) -> Tensor:
    """Returns cos(sqrt(square)), with all its derivatives at 0."""
    small = square < _SMALL
    inside = torch.where(small, square, 0.0)
    series = _series(inside, [(-1) ** k / math.factorial(2 * k) for k in range(9)])
    return torch.where(small, series, torch.cos(torch.where(small, 1.0, square).sqrt()))


def _even_sine(square: Tensor) -> Tensor:
    """Returns sin(sqrt(square)) / sqrt(square), with all its derivatives at 0."""
    small = square < _SMALL
    inside = torch.where(small, square, 0.0)
    series = _series(inside, [(-1) ** k / math.factorial(2 * k + 1) for k in range(9)])
    root = torch.where(small, 1.0, square).sqrt()
    return torch.where(small, series, torch.sin(root) / root)


def _series(x: Tensor, coefficients: list[float]) -> Tensor:
    value = torch.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = coefficient + x * value
    return value


def describe(
    recipe: Recipe,
    owner: Tensor,
    cells: Tensor,
    near: Tensor,
    shifts: Tensor | None,
    positions: Tensor,
    cell: Tensor,
    weights: Tensor,
    points: Tensor,
) -> Tensor:
    """Returns the descriptors of some points, (points, features).

    Args:
        recipe: descriptor with the type and device of its constants.
        owner: atom of each nearby image, (images,).
        cells: cell of each image, (images, 3).
        near: nearby images of each point, (points, neighbours).
        shifts: translation of each point in cells, (points, 3), if any.
        positions: positions of the atoms, (atoms, 3), Angstrom.
        cell: lattice vectors as rows, (3, 3), Angstrom.
        weights: weights of the atoms, (atoms,).
        points: Cartesian points, (points, 3), Angstrom.
    """
    images = positions[owner] + cells.to(positions) @ cell
    if shifts is not None:
        points = points + shifts @ cell
    displacements = (images[near] - points[:, None]).to(recipe.dtype)
    scale, cosine, vector = recipe.quaternions(displacements, weights[owner].to(recipe.dtype)[near])
    blocks = expand(harmonic_constants(recipe.order, recipe.dtype, recipe.device), scale, cosine, vector)
    if isinstance(recipe.descriptor, Bispectrum):
        return bispectrum(cubature_constants(recipe.order, recipe.dtype, recipe.device), blocks)
    return power_spectrum(blocks)
