"""Training of the network and the potential of one tau_ref."""

from __future__ import annotations

import importlib.metadata
import math
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fermisea.data.dataset import Dataset
from fermisea.data.energy_shift import axis_of, on_axis
from fermisea.data.snapshot import Snapshot
from fermisea.descriptors import Descriptor
from fermisea.model.model import Model
from fermisea.networks.ensemble import Ensemble
from fermisea.networks.mlp import Mlp
from fermisea.physics.energy_axis import EnergyAxis
from fermisea.training.checkpoint import write_checkpoint
from fermisea.training.config import TrainingConfig
from fermisea.training.domain import training_domain
from fermisea.training.interruption import stop_requests
from fermisea.training.loop import Loop, NotFiniteError
from fermisea.training.loss import Loss, local_integrals
from fermisea.training.member import Member
from fermisea.training.normalisation import Normalisation
from fermisea.training.points import Points, gather
from fermisea.training.potential import changes_of_forces, fit_anchor, fit_change, has_anchor
from fermisea.training.readout import fit_readout
from fermisea.training.resumption import load
from fermisea.training.state import DivergenceError, TrainingInterruptedError, TrainingState
from fermisea.training.validation import Validation
from fermisea.utilities.torchrun import Processes

_BEYOND, _LAST = 1.02, 10.0
"""Highest tau_e of a potential over the next tau_ref, and this tau_ref over the highest one of the data."""


@dataclass(frozen=True)
class Task:
    """Training of the network and the potential at one tau_ref.

    Attributes:
        dataset: snapshots at this tau_ref.
        config: training configuration.
        identity: data and settings that a checkpoint must have.
        file: checkpoint; None without one.
        state: state of an interrupted training run; None to start from the beginning.
        closure: closure error of each snapshot, eV per atom.
        colder: next lower tau_ref of the model, K; None for the lowest.
        hotter: next higher tau_ref of the model, K; None for the highest.
    """

    dataset: Dataset
    config: TrainingConfig
    identity: dict[str, Any]
    file: Path | None
    state: tuple[dict[str, Tensor], dict[str, Any]] | None
    closure: Sequence[float | None]
    colder: float | None = None
    hotter: float | None = None

    @property
    def several(self) -> bool:
        """Whether the model has several tau_ref."""
        return self.colder is not None or self.hotter is not None

    @property
    def limit(self) -> float:
        """Highest tau_e of the potential, K: a little beyond the next tau_ref, above which it is not used."""
        return math.inf if self.hotter is None else _BEYOND * self.hotter

    @property
    def beyond(self) -> float | None:
        """Highest tau_e to which free electrons may extend the potential, K."""
        return _BEYOND * (self.hotter or _LAST * self.dataset.electron_temperature) if self.several else None


def run_task(
    task: Task,
    processes: Processes,
    where: torch.device,
    tell: Callable[[TrainingState], None],
    memory: int,
    scratch: str | os.PathLike[str] | None,
) -> Model:
    """Returns the trained model of one tau_ref. Arguments and errors are the same as for :func:`fermisea.train`."""
    dataset, config, identity, file = task.dataset, task.config, task.identity, task.file
    axis = axis_of(dataset) if config.energy_axis == "density" else None
    original, _ = dataset.split(config.validation_fraction, config.seed)
    learned = dataset if axis is None else on_axis(dataset, axis)
    training, held_out = learned.split(config.validation_fraction, config.seed)
    descriptor = config.make_descriptor(sorted(dataset.ions))
    points, held_points = _gather(training, held_out, descriptor, config, tell, memory, scratch, processes)
    points.device = where
    if held_points is not None:
        held_points.device = where
    normalisation = Normalisation.of(points, config.descriptor_floor)
    networks = [
        Mlp(
            descriptor.features,
            config.hidden,
            learned.energy_grid.size,
            config.activation,
            dtype=config.dtype,
            seed=config.seed + number,
        )
        for number in range(config.ensemble)
    ]
    for network in networks:
        normalisation.apply(network)
        network.to(where)
    loss = Loss(
        local_integrals(training),
        points,
        normalisation,
        weights=(config.density_weight, config.grand_potential_weight),
        precision=config.precision,
    )
    validation = None if held_out is None or held_points is None else Validation(list(held_out), held_points)
    members = [Member(network, config) for network in networks]
    loop = Loop(members, loss, points, validation, config, processes)
    if task.state is not None:
        load(loop, task.state, file)
    try:
        _run(loop, file, identity, tell, processes)
    except NotFiniteError as error:
        for member in members:
            member.restore_best()
            member.network.cpu()
        kept = f"; {file} holds the state after epoch {loop.epoch}" if file is not None and loop.epoch else ""
        raise DivergenceError(
            f"training: the loss is {error} in epoch {loop.epoch + 1} of {config.epochs}, expected a finite "
            f"number; lower the learning rate (now {config.learning_rate:g}){kept}",
            loop.history,
            _model(networks, descriptor, learned, axis, task.closure, config, loop.history) if loop.epoch else None,
        ) from error
    for member in members:
        member.restore_best()
        if config.readout == "ridge":
            fit_readout(member.network, points, config.dos_weight, config.ridge, processes)
    model = _model(networks, descriptor, learned, axis, task.closure, config, loop.history)
    anchor = fit_anchor(original, config) if has_anchor(original, config) else None
    thermal = fit_change(
        original,
        anchor,
        config,
        task.colder or 0.0,
        task.beyond,
        task.limit,
        lambda temperatures: changes_of_forces(model, original, temperatures, processes, tell),
    )
    model = replace(model, anchor=anchor, thermal=thermal)
    if validation is not None:
        model.provenance["final"] |= validation.errors(model.network, processes)
        if len(networks) > 1:
            model.provenance["members"] = [validation.errors(network, processes) for network in networks]
    model.network.cpu()
    return replace(model, training_domain=training_domain(model, original))


def _run(
    loop: Loop,
    file: Path | None,
    identity: dict[str, Any],
    tell: Callable[[TrainingState], None],
    processes: Processes,
) -> None:
    """Runs the loop to its end, and saves its state regularly if a file is given."""
    if file is None:
        loop.run(tell, lambda: None, lambda: None)
        return
    with stop_requests() as request:

        def save() -> None:
            if processes.first:
                write_checkpoint(file, loop.tensors(), {"identity": identity, "loop": loop.numbers()})

        def save_if_asked() -> None:
            if processes.any(request.made):
                save()
                processes.any(flag=True)  # no process leaves before the file is complete
                raise TrainingInterruptedError(
                    request.number or signal.SIGTERM,
                    f"training: stopped after {loop.epoch} epochs; {file} holds the state; use resume to continue",
                )

        loop.run(tell, save_if_asked, save)
        save_if_asked()  # a signal after the last update


def _gather(
    training: Dataset,
    validation: Dataset | None,
    descriptor: Descriptor,
    config: TrainingConfig,
    tell: Callable[[TrainingState], None],
    memory: int,
    scratch: str | os.PathLike[str] | None,
    processes: Processes,
) -> tuple[Points, Points | None]:
    held = () if validation is None else validation.snapshots
    started, steps = time.perf_counter(), len(training) + len(held)
    share = sum(s.grid.size for s in held) / sum(s.grid.size for s in (*training, *held))

    def part(snapshots: Sequence[Snapshot], before: int, share: float, seed: int | None) -> Points:
        return gather(
            snapshots,
            descriptor,
            dtype=config.dtype,
            memory=int(share * memory),
            scratch=None if scratch is None else Path(scratch),
            seed=seed,
            processes=processes,
            done=lambda index: tell(
                TrainingState("descriptors", before + index + 1, steps, seconds=time.perf_counter() - started)
            ),
        )

    points = part(training.snapshots, 0, 1 - share, config.seed)
    return points, part(held, len(training), share, None) if held else None


def _model(
    networks: Sequence[Mlp],
    descriptor: Descriptor,
    dataset: Dataset,
    axis: EnergyAxis | None,
    closure: Sequence[float | None],
    config: TrainingConfig,
    history: list[dict[str, float]],
) -> Model:
    first = dataset[0]
    provenance: dict[str, Any] = {
        "fermisea": importlib.metadata.version("fermisea"),
        "torch": torch.__version__,
        "config": config.to_dict(),
        "snapshots": [
            {
                "formula": s.atoms.get_chemical_formula(),
                "ion_temperature": s.ion_temperature,
                "volume_per_atom": s.grid.volume / len(s.atoms),
                "grid": list(s.grid.shape),
                "closure_error_per_atom": error,
            }
            for s, error in zip(dataset, closure, strict=True)
        ],
        "data": dict(first.provenance),
        "epochs": len(history),
        "final": dict(history[-1]) if history else {},
    }
    network = networks[0] if len(networks) == 1 else Ensemble(networks)
    return Model(
        network=network.eval().requires_grad_(requires_grad=False),
        descriptor=descriptor,
        energy_grid=dataset.energy_grid,
        broadening=dataset.broadening,
        ions=dict(dataset.ions),
        functional=dataset.functional,
        reference_electron_temperature=dataset.electron_temperature,
        highest_electron_temperature=min(s.highest_electron_temperature for s in dataset),
        grid_spacing=max(max(s.grid.spacing) for s in dataset),
        provenance=provenance,
        total_energy_obstacle=first.total_energy_obstacle,
        axis=axis,
        structures=tuple(snapshot.atoms for snapshot in dataset),
    )
