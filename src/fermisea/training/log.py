"""Log of a training run as a table and for TensorBoard."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

from fermisea.errors import InputError
from fermisea.physics.error_measures import evaluation_heads
from fermisea.training.state import TrainingState
from fermisea.utilities.files import check_writable_folder
from fermisea.utilities.tables import write_csv

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class TrainingLog:
    """A progress callback that writes losses, learning rate and errors after every epoch.

    ``training.csv`` has a row for each epoch, including epochs before an interruption; heads hold the units. For data
    with several tau_ref there is a file for each, such as ``training-1000K.csv``, and a folder of events.
    """

    def __init__(self, folder: str | os.PathLike[str], *, tensorboard: bool = False) -> None:
        """Creates the folder.

        Args:
            folder: folder of the files.
            tensorboard: whether event files for ``tensorboard --logdir folder`` are written too.

        Raises:
            InputError: if tensorboard is requested but not installed.
            StorageError: if the folder cannot be written to.
        """
        self._folder = check_writable_folder(folder)
        self._wants_events = tensorboard
        self._events: dict[str, SummaryWriter] = {}
        if tensorboard:
            _writer_class()

    def __call__(self, state: TrainingState) -> None:
        """Receives the state of the training."""
        if not state.history:
            return
        rows = [{**record, "epoch": int(record["epoch"])} for record in state.history]
        heads = evaluation_heads(name for row in rows for name in row)
        tau_ref = state.reference_electron_temperature
        part = "" if tau_ref is None else f"{tau_ref:g}K"
        write_csv(self._folder / f"training{'-' * bool(part)}{part}.csv", rows, heads)
        if self._wants_events:
            if part not in self._events:  # events after an interruption replace the events of lost epochs
                self._events[part] = _writer_class()(str(self._folder / part), purge_step=state.step)
            events = self._events[part]
            for name, value in state.history[-1].items():
                if name != "epoch":
                    events.add_scalar(name, value, state.step)
            events.flush()

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the event files."""
        for events in self._events.values():
            events.close()


def _writer_class() -> type[SummaryWriter]:
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  # an optional dependency
    except ImportError as error:
        raise InputError("tensorboard: not installed; install it with pip install 'fermisea[tensorboard]'") from error
    return SummaryWriter
