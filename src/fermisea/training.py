"""Training of the LDOS network: one visible loop over shuffled grid points of all snapshots."""

from __future__ import annotations

import importlib.metadata
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fermisea.dataset import Dataset
from fermisea.descriptors import Descriptor
from fermisea.errors import ConvergenceError
from fermisea.model import Model
from fermisea.network import Mlp
from fermisea.points import MEMORY, Points, gather
from fermisea.snapshot import Snapshot
from fermisea.training_config import TrainingConfig

__all__ = ["DivergenceError", "TrainingConfig", "TrainingState", "train"]

_SMALLEST_SCALE = 0.05


class DivergenceError(ConvergenceError):
    """Training met a loss that is not a number.

    Attributes:
        model: the model after the last whole epoch, or None if there was none.
        history: one mapping for each finished epoch.
    """

    def __init__(self, message: str, history: list[dict[str, float]], model: Model | None) -> None:
        super().__init__(message, history)
        self.model = model


@dataclass(frozen=True)
class TrainingState:
    """What a progress callback is told.

    Attributes:
        stage: ``"descriptors"`` (one step per snapshot) or ``"training"`` (one step per epoch).
        step: finished steps.
        steps: steps in all.
        training_loss: mean square error of the normalised LDOS and density over the epoch.
        validation_loss: the same for the validation structures, if there are any.
        learning_rate: of the next update.
        seconds: since the stage began.
    """

    stage: str
    step: int
    steps: int
    training_loss: float = math.nan
    validation_loss: float | None = None
    learning_rate: float = math.nan
    seconds: float = 0.0


def train(
    data: Dataset | str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    config: TrainingConfig | None = None,
    *,
    memory: int = MEMORY,
    scratch: str | os.PathLike[str] | None = None,
    progress: Callable[[TrainingState], None] | None = None,
) -> Model:
    """Returns a model of the LDOS in ``data``.

    The loss is the mean square of the normalised LDOS error plus ``density_weight`` times that of the density at
    tau_ref. Afterwards the last layer, in which the LDOS is linear, is set to the exact minimum of a least-squares
    problem that also holds the DOS of each snapshot. The same seed gives the same model, bit by bit, on one machine
    with one number of threads.

    Args:
        data: snapshots that agree in energy grid, broadening, tau_ref, functional and ions; or their files or folders.
        config: how to train; the defaults suit a few snapshots of one material.
        memory: bytes of descriptors and LDOS that are held at once; what is beyond goes through a scratch file.
        scratch: folder for that file; without, that of the system for temporary files.
        progress: is called after each snapshot's descriptors and after each epoch.

    Raises:
        InputError: if the data cannot be used.
        StorageError: if the scratch file does not fit on the disk.
        DivergenceError: if the loss stops being a number.
    """
    config = config or TrainingConfig()
    dataset = data if isinstance(data, Dataset) else Dataset.load(data)
    snapshots = list(dataset)
    training, validation = dataset.split(config.validation_fraction, config.seed)
    descriptor = config.make_descriptor(sorted(dataset.ions))
    tell = progress or (lambda _: None)
    points, held_out = _gather(list(training), list(validation or ()), descriptor, config, tell, memory, scratch)

    network = Mlp(
        descriptor.features,
        config.hidden,
        dataset.energy_grid.size,
        config.activation,
        dtype=config.dtype,
        seed=config.seed,
    )
    _normalise(network, points)
    loss_of = _loss(network, points, config.density_weight)
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    generator = torch.Generator().manual_seed(config.seed)
    size = sum(points.sizes)
    updates = config.epochs * math.ceil(size / config.batch_size)
    update, started = 0, time.perf_counter()
    history: list[dict[str, float]] = []
    best, best_loss, best_epoch = _copy(network), math.inf, 0

    def finished(state: dict[str, Tensor]) -> Model:
        network.load_state_dict(state)
        return _model(network, descriptor, dataset, snapshots, config, history)

    for epoch in range(1, config.epochs + 1):
        total = 0.0
        for descriptors, ldos in points.batches(config.batch_size, generator):
            rate = learning_rate(config, update / updates)
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.zero_grad()
            loss = loss_of(descriptors, ldos)
            if not math.isfinite(value := loss.item()):
                raise DivergenceError(
                    f"training: the loss is {value} in epoch {epoch} of {config.epochs}, expected a finite number; "
                    f"lower the learning rate (now {config.learning_rate:g})",
                    history,
                    finished(best) if history else None,
                )
            loss.backward()
            optimiser.step()
            total += value * len(ldos)
            update += 1
        record = {"epoch": float(epoch), "training_loss": total / size}
        if held_out is not None:
            record["validation_loss"] = _mean_loss(loss_of, held_out)
        history.append(record)
        judged = record.get("validation_loss", -epoch)  # without validation the last epoch counts
        if judged < best_loss:
            best, best_loss, best_epoch = _copy(network), judged, epoch
        rate = learning_rate(config, update / updates)
        seconds = time.perf_counter() - started
        tell(
            TrainingState("training", epoch, config.epochs, total / size, record.get("validation_loss"), rate, seconds)
        )
        if config.patience is not None and epoch - best_epoch >= config.patience:
            break

    network.load_state_dict(best)
    if config.readout == "ridge":
        fit_readout(network, points, config.dos_weight, config.ridge)
    return finished(_copy(network))


def learning_rate(config: TrainingConfig, progress: float) -> float:
    """Returns the learning rate when a fraction ``progress`` (0 to 1) of all updates is done.

    ``"one_cycle"`` rises linearly over the first 15 % from a tenth of the peak, then falls as a cosine to a thousandth
    (Smith and Topin, arXiv 1708.07120); ``"cosine"`` falls from the start (Loshchilov and Hutter, arXiv 1608.03983).
    """
    rise, low, last = (0.15, 0.1, 1e-3) if config.schedule == "one_cycle" else (0.0, 1.0, 1e-3)
    if config.schedule == "constant":
        return config.learning_rate
    if progress < rise:
        return config.learning_rate * (low + (1 - low) * progress / rise)
    phase = (progress - rise) / (1 - rise)
    return config.learning_rate * (last + (1 - last) * (1 + math.cos(math.pi * phase)) / 2)


def fit_readout(network: Mlp, points: Points, dos_weight: float, ridge: float) -> None:
    """Sets the last layer, d = W h + b, to the minimum of a least-squares problem at fixed hidden layers.

    Minimised, with z the normalised LDOS, means over all points, s the snapshots and bars their means (the DOS), is
        mean |W h + b - z|^2 + dos_weight mean_s |W hbar_s + b - zbar_s|^2 + ridge tr(A)/dim |(W, b) - (W, b)_before|^2,
    where A is the matrix of its normal equations. Each energy is a problem of its own with the same matrix, so the
    result is best for every linear functional of the LDOS at once.
    """
    width = network.widths[-1] + 1
    normal = torch.zeros(width, width, dtype=torch.float64)
    right = torch.zeros(width, network.outputs, dtype=torch.float64)
    mean_input = torch.zeros(len(points.sizes), width, dtype=torch.float64)
    mean_error = torch.zeros(len(points.sizes), network.outputs, dtype=torch.float64)
    for index, descriptors, ldos in points.blocks():
        hidden, error = _hidden_and_error(network, descriptors, ldos)
        normal += hidden.T @ hidden / sum(points.sizes)
        right += hidden.T @ error / sum(points.sizes)
        mean_input[index] += hidden.sum(0) / points.sizes[index]
        mean_error[index] += error.sum(0) / points.sizes[index]
    weight = dos_weight / len(points.sizes)
    normal += weight * mean_input.T @ mean_input
    right += weight * mean_input.T @ mean_error
    normal += ridge * normal.trace() / width * torch.eye(width, dtype=torch.float64)
    change = torch.linalg.solve(normal, right).T
    matrix, bias = network.readout()
    scale, mean = network.output_scale.double(), network.output_mean.double()
    network.set_readout(matrix / scale[:, None] + change[:, :-1], (bias - mean) / scale + change[:, -1])


@torch.no_grad()
def _hidden_and_error(network: Mlp, descriptors: Tensor, ldos: Tensor) -> tuple[Tensor, Tensor]:
    hidden = network.hidden(descriptors)
    predicted = torch.as_tensor(network.layers[-1](hidden)).double()
    error = (ldos.double() - network.output_mean.double()) / network.output_scale.double() - predicted
    return torch.cat([hidden.double(), torch.ones(len(hidden), 1, dtype=torch.float64)], dim=1), error


def _gather(
    training: Sequence[Snapshot],
    validation: Sequence[Snapshot],
    descriptor: Descriptor,
    config: TrainingConfig,
    tell: Callable[[TrainingState], None],
    memory: int,
    scratch: str | os.PathLike[str] | None,
) -> tuple[Points, Points | None]:
    started, steps = time.perf_counter(), len(training) + len(validation)
    held = sum(s.grid.size for s in validation) / sum(s.grid.size for s in (*training, *validation))

    def part(snapshots: Sequence[Snapshot], before: int, share: float) -> Points:
        return gather(
            snapshots,
            descriptor,
            dtype=config.dtype,
            memory=int(share * memory),
            scratch=None if scratch is None else Path(scratch),
            seed=config.seed,
            done=lambda index: tell(
                TrainingState("descriptors", before + index + 1, steps, seconds=time.perf_counter() - started)
            ),
        )

    points = part(training, 0, 1 - held)
    return points, part(validation, len(training), held) if validation else None


def _normalise(network: Mlp, points: Points) -> None:
    """Inputs to mean 0 and variance 1 each; outputs likewise, but no scale below 5 % of the largest one."""
    x, y = _Moments(points.features), _Moments(points.energies)
    for _, descriptors, ldos in points.blocks():
        x.add(descriptors)
        y.add(ldos)
    spread = torch.where(x.deviation > 1e-9 * x.largest.clamp(min=1e-300), x.deviation, 1.0)
    scale = y.deviation.clamp(min=max(_SMALLEST_SCALE * float(y.deviation.max()), 1e-12))
    network.set_normalisation(x.mean, spread, y.mean, scale)


class _Moments:
    """Means and deviations of columns, block by block (Chan, Golub and LeVeque, The American Statistician 37, 242)."""

    def __init__(self, columns: int) -> None:
        self.count = 0
        self.mean = torch.zeros(columns, dtype=torch.float64)
        self.largest = torch.zeros(columns, dtype=torch.float64)
        self._squares = torch.zeros(columns, dtype=torch.float64)

    def add(self, values: Tensor) -> None:
        """Takes rows, (n, columns)."""
        values = values.double()
        mean, count = values.mean(0), len(values)
        change, total = mean - self.mean, self.count + count
        self._squares += (values - mean).square().sum(0) + change.square() * (self.count * count / total)
        self.mean = self.mean + change * (count / total)
        self.largest = torch.maximum(self.largest, values.abs().amax(0))
        self.count = total

    @property
    def deviation(self) -> Tensor:
        """Root of the mean squared distance from the mean, (columns,)."""
        return (self._squares / self.count).sqrt()


def _loss(network: Mlp, points: Points, density_weight: float) -> Callable[[Tensor, Tensor], Tensor]:
    """The mean square error of normalised LDOS plus ``density_weight`` times that of the normalised density."""
    weights, densities = points.density_weights, _Moments(1)
    for _, _, ldos in points.blocks():
        densities.add((ldos @ weights)[:, None])
    functional = network.output_scale * weights / densities.deviation.clamp(min=1e-12).to(weights.dtype)

    def loss(descriptors: Tensor, ldos: Tensor) -> Tensor:
        error = network.normalised(descriptors) - (ldos - network.output_mean) / network.output_scale
        return error.square().mean() + density_weight * (error @ functional).square().mean()

    return loss


@torch.no_grad()
def _mean_loss(loss_of: Callable[[Tensor, Tensor], Tensor], points: Points) -> float:
    return math.fsum(loss_of(x, y).item() * len(x) for _, x, y in points.blocks()) / sum(points.sizes)


def _copy(network: Mlp) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _model(
    network: Mlp,
    descriptor: Descriptor,
    dataset: Dataset,
    snapshots: Sequence[Snapshot],
    config: TrainingConfig,
    history: list[dict[str, float]],
) -> Model:
    highest = min(s.highest_electron_temperature for s in snapshots)
    provenance: dict[str, Any] = {
        "fermisea": importlib.metadata.version("fermisea"),
        "torch": torch.__version__,
        "config": config.to_dict(),
        "snapshots": [
            {
                "formula": s.atoms.get_chemical_formula(),
                "ion_temperature": s.ion_temperature,
                "grid": list(s.grid.shape),
            }
            for s in snapshots
        ],
        "data": dict(snapshots[0].provenance),
        "epochs": len(history),
        "final": history[-1] if history else {},
    }
    return Model(
        network=network.eval().requires_grad_(requires_grad=False),
        descriptor=descriptor,
        energy_grid=dataset.energy_grid,
        broadening=dataset.broadening,
        ions=dict(dataset.ions),
        functional=dataset.functional,
        reference_electron_temperature=dataset.electron_temperature,
        highest_electron_temperature=highest,
        grid_spacing=max(max(s.grid.spacing) for s in snapshots),
        provenance=provenance,
        total_energy_obstacle=snapshots[0].total_energy_obstacle,
    )
