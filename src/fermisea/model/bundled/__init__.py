"""Shipped models by name: NAME.safetensors in this folder, and its description NAME.md."""

from __future__ import annotations

import importlib.resources
import os
from pathlib import Path

FOLDER = Path(str(importlib.resources.files(__package__)))


def shipped_models() -> list[str]:
    """Returns the names of the shipped models."""
    return sorted(path.stem for path in FOLDER.glob("*.safetensors"))


def model_path(model: str | os.PathLike[str]) -> Path:
    """Returns the file of a model: the given path if it is a file, otherwise the shipped model of this name."""
    path = Path(model)
    if str(model) in shipped_models() and not path.is_file():
        return FOLDER / f"{model}.safetensors"
    return path


def model_card(model: str | os.PathLike[str]) -> str | None:
    """Returns the description of a shipped model in Markdown: data, domain, errors, licence; None for other models."""
    path = model_path(model)
    if path.parent != FOLDER:
        return None
    return path.with_suffix(".md").read_text(encoding="utf-8")
