"""The descriptors in tensor operations: on any device, and differentiable with respect to atoms, cell and points.

This module computes the same descriptors as the compiled loops by an independent route: neighbours by comparison of all
points of a group with all nearby atoms, harmonics by separate recursions, and the bispectrum as averages over the
three-sphere (see ``cubature``). The precision of float32 matrix products follows
``torch.set_float32_matmul_precision``, which must stay "highest".
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
from fermisea.descriptors.neighbors import weights_of
from fermisea.descriptors.portions import Recipe, describe
from fermisea.descriptors.power_spectrum import PowerSpectrum
from fermisea.descriptors.regions import Crystal, bricks, corners, groups
from fermisea.errors import InputError
from fermisea.grid import RealSpaceGrid
from fermisea.utilities.arrays import FloatArray

Index = tuple[int, int, int]


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

    Periodic images move with the cell: apply a strain to positions, cell and points together. For derivatives, the
    intermediate results of each group of points are recomputed in the backward pass, so the memory does not grow with
    the number of points.

    Args:
        descriptor: a bispectrum or power spectrum.
        positions: positions of the atoms, (atoms, 3), Angstrom, inside or outside of the cell.
        cell: lattice vectors as rows, (3, 3), Angstrom, periodic, of any shape and handedness.
        weights: weights of the atoms, (atoms,); the weights of ``descriptor`` are ignored.
        points: Cartesian, (points, 3), Angstrom.
        chunk: largest number of points in one group; by default set by a fixed memory limit.

    Returns:
        (points, features), with the type and device of ``points``.

    Raises:
        InputError: for wrong shapes or types, values that are not finite, a cell without volume, or another
            kind of descriptor.
    """
    _check_tensors(positions, cell, weights, points)
    differentiate = torch.is_grad_enabled() and any(x.requires_grad for x in (positions, cell, weights, points))
    copies = 2 if differentiate else 1
    recipe = Recipe(_known(descriptor), points.dtype, points.device)
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
            step = partial(describe, recipe, owner, cells, near, shifts[part])
            if copies > 1:
                step = partial(checkpoint, step, use_reentrant=False, preserve_rng_state=False)
            parts.append(step(positions, cell, weights, points[rows[part]]))
        order.append(rows)
    if not parts:
        return points.new_empty((0, descriptor.features))
    return torch.cat(parts).index_select(0, torch.argsort(torch.cat(order)))


@dataclass(frozen=True)
class TensorGradients:
    """Derivatives of sum_pk D_pk w_pk, a product of descriptors with cotangents; float64, on the evaluator's device.

    Attributes:
        positions: derivatives with respect to the Cartesian positions of the atoms, (atoms, 3).
        cell: derivatives with respect to the lattice vectors as rows, (3, 3), at fixed Cartesian positions of atoms and
            points; periodic images move.
        points: derivatives with respect to the Cartesian points, (points, 3).
    """

    positions: Tensor
    cell: Tensor
    points: Tensor


class TorchEvaluator:
    """A descriptor of one structure, evaluated at any points on any device; the counterpart of ``Evaluator``.

    Displacements are computed in double precision, everything else in ``dtype``. Results carry no autograd history, and
    the memory of the computation does not grow with the number of points.

    Attributes:
        lattice: lattice vectors of the structure as rows, (3, 3), Angstrom.
        features: number of components of a descriptor.
        dtype: type of the results and the computation, ``"float64"`` or ``"float32"``.
        device: device of the results and the computation.
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
            atoms: positions and cell; ``atoms.pbc`` is ignored.
            dtype: ``"float64"`` or ``"float32"``.
            device: device of the results.
            chunk: largest number of points in one group; by default set by a fixed memory limit.

        Raises:
            InputError: for a cell without volume, positions that are not finite, an element without a weight, another
                type, or another kind of descriptor.
        """
        if dtype not in {"float32", "float64"}:
            raise InputError(f"dtype: got {dtype}, expected float64 or float32")
        place = torch.empty(0, device=device).device
        positions, cell, weights = (
            torch.from_numpy(np.array(values, dtype=np.float64)).to(place)
            for values in (
                atoms.positions,
                atoms.cell.array,
                weights_of(atoms.get_chemical_symbols(), _known(descriptor).weights),
            )
        )
        _check_tensors(positions, cell, weights, positions[:0])
        self._recipe = Recipe(_known(descriptor), getattr(torch, dtype), place)
        self._crystal = Crystal(positions, cell, weights, self._recipe.cutoff)
        self._chunk = chunk
        self.lattice = self._crystal.lattice
        self.features = descriptor.features
        self.dtype = dtype
        self.device = place

    @torch.no_grad()
    def points(self, points: npt.ArrayLike | Tensor) -> Tensor:
        """Returns the descriptors at Cartesian points, (points, 3) in Angstrom: (points, features).

        Raises:
            InputError: for another shape, or coordinates that are not finite.
        """
        host = _host_points(points)
        out = self._empty(len(host))
        for group in self._lists(host):
            out[group.rows] = self._describe(group)
        return out

    def points_vjp(self, points: npt.ArrayLike | Tensor, cotangents: npt.ArrayLike | Tensor) -> TensorGradients:
        """Returns the derivatives of the descriptors at points, multiplied with cotangents and summed.

        Args:
            points: Cartesian, (points, 3), Angstrom.
            cotangents: (points, features).

        Raises:
            InputError: for arrays of other shapes, or values that are not finite.
        """
        host = _host_points(points)
        given = self._cotangents(cotangents, len(host))
        sums = self._zeros()
        by_point = torch.zeros((len(host), 3), dtype=torch.float64, device=self.device)
        for group in self._lists(host, copies=2):
            by_point[group.rows] = self._add_vjp(group, given, sums)
        # the points were moved into the cell by lattice vectors
        shifts = torch.from_numpy(-np.floor(host @ self._crystal.inverse)).to(self.device)
        return TensorGradients(sums[0], sums[1] + shifts.T @ by_point, by_point)

    @torch.no_grad()
    def box(self, grid: RealSpaceGrid, start: Index, stop: Index) -> Tensor:
        """Returns the descriptors of the points ``start`` to ``stop`` (excluded) of a grid, in C order.

        Args:
            grid: grid, whose cell may differ from the cell of the structure.
            start: first index along each axis.
            stop: end along each axis.

        Returns:
            (prod(stop - start), features), the last axis of the grid fastest.
        """
        out = self._empty(_size(start, stop))
        for group in self._boxes(grid, start, stop):
            out[group.rows] = self._describe(group)
        return out

    def box_vjp(
        self, grid: RealSpaceGrid, start: Index, stop: Index, cotangents: npt.ArrayLike | Tensor
    ) -> tuple[Tensor, Tensor]:
        """Returns the derivatives of the descriptors on a box of a grid, multiplied with cotangents and summed.

        Args:
            grid: grid on the cell of the structure.
            start: first index along each axis.
            stop: end along each axis.
            cotangents: (prod(stop - start), features), in C order.

        Returns:
            Derivatives with respect to the Cartesian positions of the atoms, (atoms, 3), and to the lattice vectors as
            rows, (3, 3), with which the images of the atoms and the points of the grid move; float64.

        Raises:
            InputError: for cotangents of another shape, or not finite.
        """
        given = self._cotangents(cotangents, _size(start, stop))
        sums = self._zeros()
        inverse = torch.from_numpy(self._crystal.inverse).to(self.device)
        for group in self._boxes(grid, start, stop, copies=2):
            by_point = self._add_vjp(group, given, sums)
            sums[1].add_((group.points @ inverse).T @ by_point)
        return sums[0], sums[1]

    def _lists(self, host: FloatArray, copies: int = 1) -> Iterator[_Group]:
        fractions = host @ self._crystal.inverse
        moved = (fractions - np.floor(fractions)) @ self.lattice
        for index in groups(moved, self._most(copies), self._crystal.density, self._recipe.cutoff):
            part = moved[index]
            rows, points = (torch.from_numpy(array).to(self.device) for array in (index, part))
            yield _Group(rows, points, part.min(axis=0), part.max(axis=0))

    def _boxes(self, grid: RealSpaceGrid, start: Index, stop: Index, copies: int = 1) -> Iterator[_Group]:
        extent = [b - a for a, b in zip(start, stop, strict=True)]
        steps = grid.lattice / np.array(grid.shape)[:, None]
        device_steps = torch.from_numpy(steps).to(self.device)
        first = torch.tensor(start, device=self.device)
        strides = torch.tensor([extent[1] * extent[2], extent[2], 1], device=self.device)
        for low, high in bricks(start, stop, steps, self._most(copies), self._crystal.density, self._recipe.cutoff):
            axes = (torch.arange(a, b, device=self.device) for a, b in zip(low, high, strict=True))
            indices = torch.cartesian_prod(*axes)
            ends = corners(low, high, steps)
            rows = ((indices - first) * strides).sum(dim=1)
            yield _Group(rows, indices.double() @ device_steps, ends.min(axis=0), ends.max(axis=0))

    def _describe(self, group: _Group) -> Tensor:
        crystal, recipe = self._crystal, self._recipe
        owner, cells, places = crystal.images(group.low, group.high)
        structure = crystal.positions, crystal.cell, crystal.weights
        return torch.cat(
            [
                describe(recipe, owner, cells, near, None, *structure, group.points[part])
                for part, near in recipe.portions(places, group.points)
            ]
        )

    def _add_vjp(self, group: _Group, cotangents: Tensor, sums: tuple[Tensor, Tensor]) -> Tensor:
        """Adds derivatives with respect to positions and cell to ``sums``; returns those with respect to points."""
        crystal, recipe = self._crystal, self._recipe
        owner, cells, places = crystal.images(group.low, group.high)
        by_points = []
        for part, near in recipe.portions(places, group.points, copies=2):
            with torch.enable_grad():
                leaves = [x.detach().requires_grad_() for x in (crystal.positions, crystal.cell, group.points[part])]
                values = describe(recipe, owner, cells, near, None, leaves[0], leaves[1], crystal.weights, leaves[2])
            slopes = torch.autograd.grad(values, leaves, cotangents[group.rows[part]])
            for total, slope in zip(sums, slopes, strict=False):
                total.add_(slope)
            by_points.append(slopes[2])
        return torch.cat(by_points)

    def _most(self, copies: int) -> int:
        recipe = self._recipe
        return self._chunk or recipe.points_at_once(recipe.neighbours(self._crystal.density), copies)

    def _empty(self, points: int) -> Tensor:
        return torch.empty((points, self.features), dtype=self._recipe.dtype, device=self.device)

    def _zeros(self) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(self._crystal.positions), torch.zeros_like(self._crystal.cell)

    def _cotangents(self, values: npt.ArrayLike | Tensor, points: int) -> Tensor:
        kept = values.detach() if isinstance(values, Tensor) else torch.from_numpy(np.array(values, dtype=self.dtype))
        given = kept.to(self.device, self._recipe.dtype)
        if tuple(given.shape) != (points, self.features) or not bool(torch.isfinite(given).all()):
            raise InputError(
                f"cotangents: got an array {tuple(given.shape)}, expected finite values ({points}, {self.features})"
            )
        return given


@dataclass(frozen=True)
class _Group:
    """Rows of the result, (points,), Cartesian points, (points, 3), and lowest and highest of their coordinates."""

    rows: Tensor
    points: Tensor
    low: FloatArray
    high: FloatArray


def _size(start: Index, stop: Index) -> int:
    return math.prod(max(b - a, 0) for a, b in zip(start, stop, strict=True))


def _host_points(points: npt.ArrayLike | Tensor) -> FloatArray:
    host = np.asarray(points.detach().cpu() if isinstance(points, Tensor) else points, dtype=np.float64)
    if host.ndim != 2 or host.shape[1] != 3 or not np.isfinite(host).all():
        raise InputError(f"points: got an array {host.shape}, expected finite Cartesian coordinates (points, 3)")
    return host


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
            raise InputError(
                f"{name}: got a tensor on {tensor.device}, expected {points.device}, the device of the points"
            )
        if not bool(torch.isfinite(tensor).all()):
            raise InputError(f"{name}: got values that are not finite, expected numbers; check the structure")


def _known(descriptor: Descriptor) -> Bispectrum | PowerSpectrum:
    if not isinstance(descriptor, Bispectrum | PowerSpectrum):
        raise InputError(f"descriptor: got {type(descriptor).__name__}, expected a Bispectrum or a PowerSpectrum")
    return descriptor
