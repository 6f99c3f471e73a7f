"""Training of a model from snapshots with one or several tau_ref."""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from fermisea.data.closure import check_closure
from fermisea.data.dataset import OF_TAU_REF, Dataset, differences
from fermisea.errors import InputError
from fermisea.model.combining import blend_models
from fermisea.model.model import Model
from fermisea.networks.precision import chosen_precision
from fermisea.training.config import TrainingConfig
from fermisea.training.points import MEMORY
from fermisea.training.resumption import begun, identity_of
from fermisea.training.run import Task, run_task
from fermisea.training.state import TrainingState
from fermisea.utilities.devices import device_of
from fermisea.utilities.torchrun import joined


def train(
    data: Dataset | Sequence[Dataset] | str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    config: TrainingConfig | None = None,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    memory: int = MEMORY,
    scratch: str | os.PathLike[str] | None = None,
    device: str = "cpu",
    progress: Callable[[TrainingState], None] | None = None,
) -> Model:
    """Returns a model of the LDOS in ``data``.

    The loss is the mean square error of the normalised LDOS plus weighted mean square errors of the density and of the
    grand potential density of the electrons at tau_ref. After the last epoch the last layer, in which the LDOS is
    linear, is set to the exact minimum of a least-squares problem that also includes the DOS of each snapshot. On the
    same machine with the same number of threads, a seed gives the same model bit by bit, with or without interruptions.
    Data with several tau_ref give a model with a network and a potential at each, see :func:`fermisea.blend_models`.
    Processes started by torchrun share every batch; each process returns the model, which agrees with training in one
    process to rounding, and the first process prints and writes.

    Args:
        data: snapshots with the same functional and pseudopotentials, or their files or folders. Snapshots with the
            same tau_ref have the same energies and broadening. For several tau_ref, a dataset for each.
        config: training configuration; the defaults suit a few snapshots of one material.
        checkpoint: file of the state of the training, written after every epoch and on SIGINT or SIGTERM; for several
            tau_ref, ``checkpoint_files`` are written instead. The caller removes them after saving the model.
        resume: whether to resume from this file. Learning rate, schedule, epochs and other fields outside of the state
            may be changed.
        memory: limit of descriptors and LDOS in memory, bytes; larger data go through a scratch file.
        scratch: folder of the scratch file; by default the system's folder for temporary files.
        device: device for training, "cpu" or "cuda"; under torchrun each process of a machine uses the CUDA device
            with its own number. Descriptors are computed on the CPU, and the final model is on the CPU.
        progress: callback after the descriptors of each snapshot and after each epoch.

    Raises:
        InputError: if the data or the device are invalid, the LDOS of a snapshot does not give the free energy of the
            DFT code, or a checkpoint exists without ``resume`` or has other data or settings.
        FileFormatError: for a damaged checkpoint.
        StorageError: if the scratch file or the checkpoint does not fit on the disk.
        DivergenceError: if the loss becomes infinite or NaN; the checkpoint then holds the last complete epoch.
        TrainingInterruptedError: if a signal requested a stop.
    """
    config, where = config or TrainingConfig(), device_of(device)
    config = replace(config, precision=chosen_precision(config.precision, where))
    datasets = _datasets(data)
    references = [dataset.electron_temperature for dataset in datasets]
    _warn_of_cutoffs(datasets)
    files: Sequence[Path | None] = [None] * len(datasets)
    if checkpoint is not None:
        files = checkpoint_files(checkpoint, references)
        if len(references) > 1 and Path(checkpoint).exists():
            raise InputError(
                f"{checkpoint}: holds an unfinished training with a single tau_ref, but the data have "
                f"{len(references)}; use the same data, or remove the file to start again"
            )
    tasks = []
    for index, (dataset, file) in enumerate(zip(datasets, files, strict=True)):
        identity = identity_of(dataset, config)
        state = begun(file, identity, resume=resume)
        closure = check_closure(dataset.snapshots, dataset.names, allow=config.allow_closure_error)
        colder = references[index - 1] if index else None
        hotter = references[index + 1] if index + 1 < len(references) else None
        tasks.append(Task(dataset, config, identity, file, state, closure, colder, hotter))
    models = []
    with joined(where) as processes:
        for task in tasks:
            tau_ref = task.dataset.electron_temperature if task.several else None

            def tell(state: TrainingState, tau_ref: float | None = tau_ref) -> None:
                if progress is not None and processes.first:
                    progress(replace(state, reference_electron_temperature=tau_ref))

            models.append(run_task(task, processes, where, tell, memory, scratch))
    return models[0] if len(models) == 1 else blend_models(models)


def checkpoint_files(checkpoint: str | os.PathLike[str], references: Sequence[float]) -> list[Path]:
    """Returns the checkpoint of each tau_ref: the given file, or NAME-1000K.SUFFIX and so on for several tau_ref.

    Args:
        checkpoint: checkpoint of a training run.
        references: every tau_ref of the data, K.
    """
    file = Path(checkpoint)
    if len(references) == 1:
        return [file]
    return [file.with_name(f"{file.stem}-{tau_ref:g}K{file.suffix}") for tau_ref in references]


def _warn_of_cutoffs(datasets: Sequence[Dataset]) -> None:
    """Warns of different plane-wave cutoffs, whose errors of F would enter the change from one tau_ref to the next."""
    found = {s.provenance["cutoff_eV"] for dataset in datasets for s in dataset if "cutoff_eV" in s.provenance}
    if len(datasets) > 1 and len(found) > 1:
        listed = ", ".join(f"{cutoff:g}" for cutoff in sorted(found))
        warnings.warn(
            f"cutoff: the snapshots have plane-wave cutoffs of {listed} eV; between two tau_ref, F and the entropy "
            "then contain the differences of F from the cutoff; use the same cutoff at every tau_ref",
            stacklevel=3,
        )


def _datasets(
    data: Dataset | Sequence[Dataset] | str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
) -> Sequence[Dataset]:
    """Returns a dataset for each tau_ref."""
    if isinstance(data, Dataset):
        return [data]
    given = [] if isinstance(data, str | os.PathLike) else [item for item in data if isinstance(item, Dataset)]
    if not given:
        return Dataset.load_each(data)  # type: ignore[arg-type]  # files and folders only
    files = [item for item in data if not isinstance(item, Dataset)]  # type: ignore[union-attr]
    datasets = sorted([*given, *(Dataset.load_each(files) if files else ())], key=lambda one: one.electron_temperature)
    for one, two in itertools.pairwise(datasets):
        if one.electron_temperature == two.electron_temperature:
            raise InputError(
                f"data: got two datasets with tau_ref = {one.electron_temperature:g} K, expected one for each tau_ref; "
                "join their snapshots in one Dataset"
            )
        if sorted(one.ions) != sorted(two.ions):
            raise InputError(
                f"data: got the elements {', '.join(sorted(one.ions))} at tau_ref = {one.electron_temperature:g} K and "
                f"{', '.join(sorted(two.ions))} at {two.electron_temperature:g} K, expected the same"
            )
    snapshots, names = [s for d in datasets for s in d], [name for d in datasets for name in d.names]
    for difference in differences(snapshots, names, ignored=OF_TAU_REF):
        raise InputError(f"{difference}; expected the same value in all snapshots of a model")
    return datasets
