"""The descriptors in tensor operations: on any device, and differentiable with respect to atoms, cell and points.

An independent route to the numbers of the compiled descriptors: neighbours by comparison of all points of a group with
all atoms near it, harmonics by their own recursions, and the bispectrum as averages over the three-sphere (see
``cubature``). Products of matrices in float32 follow ``torch.set_float32_matmul_precision``, which must stay "highest".
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from ase import Atoms
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from fermisea.descriptors.base import Descriptor
from fermisea.descriptors.bispectrum import Bispectrum
from fermisea.descriptors.cubature import (
    bispectrum,
    cubature_constants,
    expand,
    harmonic_constants,
    power_spectrum,
)
from fermisea.descriptors.power_spectrum import PowerSpectrum
from fermisea.descriptors.regions import Crystal, FloatArray, bricks, corners, groups, nearest
from fermisea.errors import InputError
from fermisea.grid import RealSpaceGrid

_BUDGET = {"cpu": 2**26, "cuda": 2**30}
"""Bytes of intermediates that the points of one group may need, by type of device."""

_SMALL = 0.01
"""Squared phase below which even functions are evaluated by their series."""


def torch_descriptors(
    descriptor: Descriptor,
    positions: Tensor,
    cell: Tensor,
    weights: Tensor,
    points: Tensor,
    *,
    chunk: int | None = None,
) -> Tensor:
    """Returns the descriptors at points, differentiable with respect to every tensor, twice.

    Images move with the cell; a strain is therefore to be applied to positions, cell and points alike. Where
    derivatives are asked for, the intermediates of each group of points are computed again in the backward pass, so
    that memory does not grow with their number.

    Args:
        descriptor: a bispectrum or power spectrum.
        positions: of the atoms, (atoms, 3), Angstrom, inside the cell or not.
        cell: lattice vectors as rows, (3, 3), Angstrom, periodic, of any shape and handedness.
        weights: of the atoms, (atoms,); the weights of ``descriptor`` are not looked at.
        points: Cartesian, (points, 3), Angstrom.
        chunk: most points in one go; without it, what a fixed amount of memory holds.

    Returns:
        (points, features), of the type and on the device of ``points``.

    Raises:
        InputError: for shapes or types that do not fit, values that are not finite, a cell without volume, or another
            kind of descriptor.
    """
    _check_tensors(positions, cell, weights, points)
    differentiate = torch.is_grad_enabled() and any(x.requires_grad for x in (positions, cell, weights, points))
    copies = 2 if differentiate else 1
    recipe = _Recipe(_known(descriptor), points.dtype, points.device)
    crystal = Crystal(positions, cell, weights, recipe.cutoff)
    host = points.detach().cpu().double().numpy()
    moves = -np.floor(host @ crystal.inverse)
    moved = host + moves @ crystal.lattice
    most = chunk or recipe.points_at_once(recipe.neighbours(crystal.density), copies)
    parts, order = [], []
    for index in groups(moved, most, crystal.density, recipe.cutoff):
        owner, cells, places = crystal.images(moved[index].min(axis=0), moved[index].max(axis=0))
        shifts, rows = torch.from_numpy(moves[index]).to(points), torch.from_numpy(index).to(points.device)
        for part, near in recipe.portions(places, torch.from_numpy(moved[index]).to(points.device), copies):
            step = partial(_portion, recipe, owner, cells, near, shifts[part])
            if copies > 1:
                step = partial(checkpoint, step, use_reentrant=False, preserve_rng_state=False)
            parts.append(step(positions, cell, weights, points[rows[part]]))
        order.append(rows)
    if not parts:
        return points.new_empty((0, descriptor.features))
    return torch.cat(parts).index_select(0, torch.argsort(torch.cat(order)))


class TorchEvaluator:
    """A descriptor of one structure, ready for points, on any device; the counterpart of ``Evaluator``.

    Displacements are taken in double precision, all else in ``dtype``; nothing is differentiable.

    Attributes:
        lattice: lattice vectors of the structure as rows, (3, 3), Angstrom.
        features: length of a descriptor.
        dtype: of the results, ``"float64"`` or ``"float32"``.
        device: of the results.
    """

    def __init__(
        self,
        descriptor: Descriptor,
        atoms: Atoms,
        dtype: str = "float32",
        device: str | torch.device = "cpu",
        chunk: int | None = None,
    ) -> None:
        """Moves the structure to a device.

        Args:
            descriptor: a bispectrum or power spectrum.
            atoms: positions and cell; ``atoms.pbc`` is not looked at.
            dtype: ``"float64"`` or ``"float32"``.
            device: of the results.
            chunk: most points in one go; without it, what a fixed amount of memory holds.

        Raises:
            InputError: for a cell without volume, positions that are not finite, an element without a weight, another
                type, or another kind of descriptor.
        """
        if dtype not in {"float32", "float64"}:
            raise InputError(f"dtype: got {dtype}, expected float64 or float32")
        place = torch.empty(0, device=device).device
        positions, cell, weights = (
            torch.from_numpy(np.array(values, dtype=np.float64)).to(place)
            for values in (atoms.positions, atoms.cell.array, _weights_of(_known(descriptor), atoms))
        )
        _check_tensors(positions, cell, weights, positions[:0])
        self._recipe = _Recipe(_known(descriptor), getattr(torch, dtype), place)
        self._crystal = Crystal(positions, cell, weights, self._recipe.cutoff)
        self._chunk = chunk or self._recipe.points_at_once(self._recipe.neighbours(self._crystal.density))
        self.lattice = self._crystal.lattice
        self.features = descriptor.features
        self.dtype = dtype
        self.device = place

    @torch.no_grad()
    def points(self, points: npt.ArrayLike | Tensor) -> Tensor:
        """Returns the descriptors at Cartesian points, (points, 3) in Angstrom: (points, features) on the device.

        Raises:
            InputError: for another shape, or coordinates that are not finite.
        """
        host = np.asarray(points.detach().cpu() if isinstance(points, Tensor) else points, dtype=np.float64)
        if host.ndim != 2 or host.shape[1] != 3 or not np.isfinite(host).all():
            raise InputError(f"points: got an array {host.shape}, expected finite Cartesian coordinates (points, 3)")
        fractions = host @ self._crystal.inverse
        moved = (fractions - np.floor(fractions)) @ self.lattice
        out = torch.empty((len(host), self.features), dtype=self._recipe.dtype, device=self.device)
        for index in groups(moved, self._chunk, self._crystal.density, self._recipe.cutoff):
            part = moved[index]
            place = torch.from_numpy(index).to(self.device)
            out[place] = self._group(torch.from_numpy(part).to(self.device), part.min(axis=0), part.max(axis=0))
        return out

    @torch.no_grad()
    def box(self, grid: RealSpaceGrid, start: tuple[int, int, int], stop: tuple[int, int, int]) -> Tensor:
        """Returns the descriptors of the points ``start`` to ``stop`` (excluded) of a grid, in C order.

        Args:
            grid: its cell need not be that of the structure.
            start: first index along each axis.
            stop: end along each axis.

        Returns:
            (prod(stop - start), features) on the device, the last axis of the grid fastest.
        """
        extent = [max(b - a, 0) for a, b in zip(start, stop, strict=True)]
        out = torch.empty((*extent, self.features), dtype=self._recipe.dtype, device=self.device)
        steps = grid.lattice / np.array(grid.shape)[:, None]
        device_steps = torch.from_numpy(steps).to(self.device)
        for low, high in bricks(start, stop, steps, self._chunk, self._crystal.density, self._recipe.cutoff):
            axes = [torch.arange(a, b, dtype=torch.float64, device=self.device) for a, b in zip(low, high, strict=True)]
            points = torch.cartesian_prod(*axes).reshape(-1, 3) @ device_steps
            bounds = corners(low, high, steps)
            part = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, start, strict=True))
            values = self._group(points, bounds.min(axis=0), bounds.max(axis=0))
            out[part] = values.reshape(*(b - a for a, b in zip(low, high, strict=True)), self.features)
        return out.reshape(-1, self.features)

    def _group(self, points: Tensor, low: FloatArray, high: FloatArray) -> Tensor:
        crystal, recipe = self._crystal, self._recipe
        owner, cells, places = crystal.images(low, high)
        parts = [
            _portion(recipe, owner, cells, near, None, crystal.positions, crystal.cell, crystal.weights, points[part])
            for part, near in recipe.portions(places, points)
        ]
        return torch.cat(parts)


@dataclass(frozen=True)
class _Recipe:
    """A descriptor, and the type and device of its constants."""

    descriptor: Bispectrum | PowerSpectrum
    dtype: torch.dtype
    device: torch.device

    @property
    def order(self) -> int:
        """Highest degree of the harmonics."""
        return self.descriptor.twojmax if isinstance(self.descriptor, Bispectrum) else self.descriptor.order

    @property
    def cutoff(self) -> float:
        """Distance beyond which atoms do not count, Angstrom."""
        return self.descriptor.cutoff

    def neighbours(self, density: float) -> float:
        """Returns how many atoms are within the cutoff at a density per cubic Angstrom."""
        return density * 4 / 3 * math.pi * self.cutoff**3

    def points_at_once(self, neighbours: float, copies: int = 1) -> int:
        """Returns how many points' intermediates, kept ``copies`` times, fit the budget of the device."""
        size = self.order + 1
        numbers = (1 + neighbours) * 3 * (size * size + size * (size + 1) // 2)
        if isinstance(self.descriptor, Bispectrum):
            half = 3 * self.order // 2
            numbers += 3 * size * (half + 1) ** 2 * (half // 2 + 1)
        budget = _BUDGET.get(self.device.type, _BUDGET["cuda"])
        return max(1, int(budget / (copies * self.dtype.itemsize * numbers)))

    def portions(self, places: Tensor, points: Tensor, copies: int = 1) -> Iterator[tuple[slice, Tensor]]:
        """Yields parts of the points that fit the budget, and which places are near them, (points, neighbours)."""
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


def _portion(
    recipe: _Recipe,
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
        recipe: what to compute.
        owner: atoms of the images near them, (images,).
        cells: of the images, (images, 3).
        near: the images of each point, (points, neighbours).
        shifts: cells to move the points by, (points, 3), if any.
        positions: of the atoms, (atoms, 3).
        cell: lattice vectors, (3, 3).
        weights: of the atoms, (atoms,).
        points: (points, 3).
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


def _check_tensors(positions: Tensor, cell: Tensor, weights: Tensor, points: Tensor) -> None:
    shapes = {
        "positions": (len(positions), 3),
        "cell": (3, 3),
        "weights": (len(positions),),
        "points": (len(points), 3),
    }
    for (name, shape), tensor in zip(shapes.items(), (positions, cell, weights, points), strict=True):
        if tuple(tensor.shape) != shape:
            raise InputError(f"{name}: got a tensor {tuple(tensor.shape)}, expected {shape}")
        if tensor.dtype != points.dtype or tensor.dtype not in {torch.float32, torch.float64}:
            raise InputError(f"{name}: got {tensor.dtype}, expected float32 or float64, the same for all tensors")
        if tensor.device != points.device:
            raise InputError(f"{name}: got a tensor on {tensor.device}, expected {points.device}, as the points")
        if not bool(torch.isfinite(tensor).all()):
            raise InputError(f"{name}: got values that are not finite, expected numbers; check the structure")


def _known(descriptor: Descriptor) -> Bispectrum | PowerSpectrum:
    if not isinstance(descriptor, Bispectrum | PowerSpectrum):
        raise InputError(f"descriptor: got {type(descriptor).__name__}, expected a Bispectrum or a PowerSpectrum")
    return descriptor


def _weights_of(descriptor: Bispectrum | PowerSpectrum, atoms: Atoms) -> list[float]:
    symbols = atoms.get_chemical_symbols()
    if descriptor.weights is None:
        return [1.0] * len(symbols)
    weights = descriptor.weights
    unknown = sorted(set(symbols) - set(weights))
    if unknown:
        raise InputError(
            f"element {unknown[0]}: has no weight in this descriptor, which knows {', '.join(sorted(weights))}; "
            "use a descriptor or model made for it"
        )
    return [weights[symbol] for symbol in symbols]
