"""Models from files, given by path or by the name of a shipped model."""

from __future__ import annotations

import os
import warnings
from dataclasses import replace
from pathlib import Path

from fermisea.model.bundled import model_path, shipped_models
from fermisea.model.file import read_model
from fermisea.model.model import Model


def load_model(path: str | os.PathLike[str]) -> Model:
    """Returns the model from a file of ``Model.save``. Nothing in the file is executed or unpickled.

    Args:
        path: path of the file, or the name of a shipped model: "aluminium". A file of this name in the current folder
            is taken in place of the shipped model, with a warning; a folder is not.

    Raises:
        InputError: if the file does not exist.
        FileFormatError: if the file is not a fermisea model, truncated or altered.
    """
    first, *others = (Model(**parts) for parts in read_model(model_path(path)))
    model = replace(first, hotter=tuple(others)) if others else first
    if str(path) in shipped_models() and model_path(path) == Path(path):
        warnings.warn(
            f"{path}: took the file of this name in the current folder, not the shipped model; rename the file to use "
            "the shipped model",
            stacklevel=2,
        )
    return model
