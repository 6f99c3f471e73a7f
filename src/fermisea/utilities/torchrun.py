"""Processes started by torchrun, which share the work of one run."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, distributed

from fermisea.errors import InputError
from fermisea.utilities.arrays import FloatArray

_PATIENCE = timedelta(minutes=10)
"""Time for which processes wait for each other before a prediction."""

_PIECE = 2**22
"""Largest number of values from all processes that are in memory during a sum."""


class Processes:
    """This process in a group of processes; without torchrun, the first of one.

    Attributes:
        rank: number of this process.
        count: number of processes.
    """

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank, self.count = rank, count

    @property
    def first(self) -> bool:
        """Whether this is the process that prints and writes."""
        return self.rank == 0

    def mine(self, number: int) -> bool:
        """Returns whether the part with this number belongs to this process."""
        return number % self.count == self.rank

    def part(self, length: int, rank: int | None = None) -> slice:
        """Returns the elements of a list of ``length`` that belong to a process, by default this one.

        The parts of the processes follow each other, and their lengths differ by one at most.
        """
        number = self.rank if rank is None else rank
        return slice(length * number // self.count, length * (number + 1) // self.count)

    @property
    def share(self) -> slice:
        """Rows of a batch for this process: every ``count``-th."""
        return slice(self.rank, None, self.count)

    def add(self, *tensors: Tensor) -> None:
        """Replaces each tensor by its sum over all processes."""
        if self.count == 1:
            return
        for kind in dict.fromkeys(tensor.dtype for tensor in tensors):  # in the same order in all processes
            group = [tensor for tensor in tensors if tensor.dtype == kind]
            if len(group) == 1 and group[0].is_contiguous():  # for example the gradients of a network
                distributed.all_reduce(group[0])
                continue
            flat = torch.cat([tensor.flatten() for tensor in group])
            distributed.all_reduce(flat)
            for tensor, part in zip(group, flat.split([tensor.numel() for tensor in group]), strict=True):
                tensor.copy_(part.view_as(tensor))

    def total(self, values: Sequence[float]) -> list[float]:
        """Returns the sum over all processes of each value."""
        numbers = torch.tensor(values, dtype=torch.float64)
        self.add(numbers)
        return numbers.tolist()

    def any(self, flag: bool) -> bool:
        """Returns whether the flag is set in any process."""
        return self.total([float(flag)])[0] > 0

    def sum(self, tensor: Tensor) -> Tensor:
        """Returns the sum of a tensor over all processes, added in the order of their numbers, piece by piece."""
        if self.count == 1:
            return tensor
        total = torch.empty_like(tensor, memory_format=torch.contiguous_format)
        pieces = (t.reshape(-1).split(max(1, _PIECE // self.count)) for t in (tensor, total))
        for own, target in zip(*pieces, strict=True):
            first, *others = self.gathered(own)
            target.copy_(first)
            for other in others:
                target.add_(other)
        return total

    def sum_array(self, values: FloatArray) -> FloatArray:
        """Returns :meth:`sum` of an array."""
        return values if self.count == 1 else np.asarray(self.sum(torch.from_numpy(values)).numpy())

    def gathered(self, tensor: Tensor) -> list[Tensor]:
        """Returns the tensors of all processes, which have the same shape, in the order of their numbers."""
        if self.count == 1:
            return [tensor]
        found = [torch.empty_like(tensor) for _ in range(self.count)]
        distributed.all_gather(found, tensor.contiguous())
        return found

    def wait(self) -> None:
        """Waits until all processes call this function.

        Raises:
            InputError: if one of them does not, for ten minutes.
        """
        if self.count == 1:
            return
        try:
            distributed.monitored_barrier(timeout=_PATIENCE)
        except RuntimeError as error:
            raise InputError(
                f"processes: some of the {self.count} processes have not started this prediction within "
                f"{_PATIENCE.total_seconds() / 60:.0f} minutes, expected the same predictions on all; call predict on "
                "every process, or predict within fermisea.utilities.torchrun.alone()"
            ) from error

    def joined(self, tensor: Tensor) -> Tensor:
        """Returns the tensors of all processes, (n, ...), joined along the first axis; n differs between processes."""
        if self.count == 1:
            return tensor
        lengths = self._lengths(len(tensor))
        found = [tensor.new_empty((n, *tensor.shape[1:])) for n in lengths]
        found[self.rank] = tensor.contiguous()
        for rank, part in enumerate(found):
            distributed.broadcast(part, rank)
        return torch.cat(found)

    def _lengths(self, length: int) -> list[int]:
        """Returns a length in each process."""
        own = torch.zeros(self.count, dtype=torch.float64)
        own[self.rank] = length
        return [int(n) for n in self.sum(own)]

    def largest(self, value: float) -> float:
        """Returns the largest value of all processes."""
        if self.count == 1:
            return value
        number = torch.tensor(value, dtype=torch.float64)
        distributed.all_reduce(number, distributed.ReduceOp.MAX)
        return float(number)

    def swapped(
        self, outgoing: Callable[[int], Tensor], shape_from: Callable[[int], tuple[int, ...]]
    ) -> Iterator[tuple[int, Tensor]]:
        """Yields the piece that each process has for this one, with the number of that process; its own piece first.

        Pieces are exchanged with one process after the other, so that few are in memory. Every process has to read all
        of its pieces.

        Args:
            outgoing: function that returns the piece for a process, complex.
            shape_from: function that returns the shape of the piece from a process.
        """
        own = outgoing(self.rank)
        yield self.rank, own
        for step in range(1, self.count):
            to, source = (self.rank + step) % self.count, (self.rank - step) % self.count
            sent, received = outgoing(to).contiguous(), own.new_empty(shape_from(source))
            work = [
                distributed.P2POp(distributed.isend, torch.view_as_real(sent), to),
                distributed.P2POp(distributed.irecv, torch.view_as_real(received), source),
            ]
            for request in distributed.batch_isend_irecv(work):
                request.wait()
            del sent
            yield source, received

    def collected(self, values: npt.NDArray[Any], rows: int) -> Iterator[npt.NDArray[Any]]:
        """Yields the arrays of all processes in the first one, one after the other, in pieces; nothing in the others.

        Every process has to read this iterator to its end.

        Args:
            values: array of this process, (n, ...); the processes may have different n.
            rows: largest length of a piece.
        """
        for rank, length in enumerate(self._lengths(len(values))):
            for start in range(0, length, rows):
                stop = min(start + rows, length)
                if rank == self.rank:
                    piece = np.ascontiguousarray(values[start:stop])
                    if self.first:
                        yield piece
                    else:
                        distributed.send(torch.from_numpy(piece), 0)
                elif self.first:
                    piece = np.empty((stop - start, *values.shape[1:]), dtype=values.dtype)
                    distributed.recv(torch.from_numpy(piece), rank)
                    yield piece

    def send(self, tensor: Tensor, number: int) -> None:
        """Broadcasts ``tensor`` from the process of part ``number`` to all others, in place."""
        if self.count > 1:
            distributed.broadcast(tensor, number % self.count)


ALONE = Processes()
"""This process alone."""

_sharing: ContextVar[bool] = ContextVar("sharing", default=True)


def current() -> Processes:
    """Returns the processes that share a computation.

    Under torchrun, the first call joins all processes. Without torchrun, within :func:`alone` and within a training
    run, this process is alone.

    Raises:
        InputError: if the environment variables of torchrun are invalid, or the other processes are not found.
    """
    count = _variable("WORLD_SIZE", 1)
    if count == 1 or not _sharing.get():
        return ALONE
    if not distributed.is_initialized():
        _join(count, None)
        atexit.register(_leave)
    return Processes(distributed.get_rank(), distributed.get_world_size())


@contextmanager
def alone() -> Iterator[None]:
    """Makes every process compute on its own within a block."""
    token = _sharing.set(False)
    try:
        yield
    finally:
        _sharing.reset(token)


def _leave() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()


def rank() -> int:
    """Returns the number of this process under torchrun; 0 without torchrun."""
    return _variable("RANK", 0)


def local_rank() -> int:
    """Returns the local rank under torchrun, the number of this process on its machine; 0 without torchrun."""
    return _variable("LOCAL_RANK", 0)


@contextmanager
def joined(device: torch.device | None = None) -> Iterator[Processes]:
    """Joins the processes started by torchrun for the duration of a block; without torchrun there is only this one.

    Tensors on the CPU are exchanged with gloo, tensors on CUDA devices with NCCL.

    Args:
        device: device of this process; by default the CPU.

    Raises:
        InputError: if the environment variables of torchrun are invalid, or the other processes are not found.
    """
    count = _variable("WORLD_SIZE", 1)
    if count == 1:
        yield Processes()
        return
    if distributed.is_initialized():
        yield Processes(distributed.get_rank(), distributed.get_world_size())
        return
    _join(count, device)
    try:
        with alone():  # for predictions, which would share their grids
            yield Processes(distributed.get_rank(), distributed.get_world_size())
        distributed.barrier()  # no process leaves while others still use its connections
    finally:
        distributed.destroy_process_group()


def _join(count: int, device: torch.device | None) -> None:
    try:
        if device is None or device.type == "cpu":
            distributed.init_process_group("gloo")
        else:
            torch.cuda.set_device(device)
            distributed.init_process_group("cpu:gloo,cuda:nccl", device_id=device)
    except (ValueError, RuntimeError) as error:
        detail = " ".join(str(error).split())[:120]
        raise InputError(
            f"torchrun: the {count} processes do not find each other ({detail}); start them again"
        ) from error


def _variable(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdigit():
        raise InputError(f"{name}: got {text!r} in the environment, expected a number set by torchrun")
    return int(text)
