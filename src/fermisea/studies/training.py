"""Models of a study, trained or read from an earlier run."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from fermisea.data.dataset import Dataset
from fermisea.data.sealed_file import stored_checksum
from fermisea.errors import InputError
from fermisea.model.loading import load_model
from fermisea.model.model import Model
from fermisea.training import TrainingState, checkpoint_files, train
from fermisea.training.config import TrainingConfig
from fermisea.utilities.files import write_text


def train_or_load(
    name: str,
    config: TrainingConfig,
    files: Sequence[Path],
    folder: Path,
    progress: Callable[[TrainingState], None] | None = None,
    *,
    device: str = "cpu",
) -> Model:
    """Returns a model of a study; an interrupted training run is resumed.

    The provenance identifies its data and settings (``study``). NAME.json stores the training time in s, or null if the
    training was interrupted.

    Args:
        name: name of the model.
        config: training configuration, with a precision supported by this processor.
        files: snapshot files, at one or several tau_ref.
        folder: folder of the model files.
        progress: callback with the state of the training.
        device: device of the training and of the model.

    Raises:
        InputError: if the snapshots are invalid or the device is not available.
    """
    digest = hashlib.sha256(json.dumps(config.to_dict(), sort_keys=True).encode())
    for file in files:
        digest.update(stored_checksum(file).encode())
    key = digest.hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.safetensors"
    if path.exists():
        try:
            model = load_model(path)
        except InputError:
            path.unlink()  # damaged
        else:
            if model.provenance.get("study") == key:
                return model.to(device)
    checkpoint = folder / f"{name}-{key[:12]}.checkpoint"
    data = Dataset.load_each(list(files), verify=False)
    checkpoints = checkpoint_files(checkpoint, [dataset.electron_temperature for dataset in data])
    resumed, started = any(path.exists() for path in checkpoints), time.perf_counter()
    model = train(data, config, checkpoint=checkpoint, resume=resumed, device=device, progress=progress)
    seconds = None if resumed else time.perf_counter() - started
    model = replace(model, provenance=model.provenance | {"study": key})
    model.save(path)
    write_text(path.with_suffix(".json"), json.dumps({"training_seconds": seconds}) + "\n")
    for checkpoint in checkpoints:
        checkpoint.unlink(missing_ok=True)
    return model.to(device)
