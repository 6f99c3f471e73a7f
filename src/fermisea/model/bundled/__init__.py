"""Shipped models by name: NAME.safetensors in this folder, and its description NAME.md.

NAME.domain.json is the domain of a model if it is not in the model file.
"""

from __future__ import annotations

import importlib.resources
import json
import os
from pathlib import Path
from typing import Any

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


def model_domain(model: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Returns the entries of the domain file of a shipped model; None for other models or without such a file."""
    path = model_path(model)
    file = path.with_suffix(".domain.json")
    if path.parent != FOLDER or not file.exists():
        return None
    return dict(json.loads(file.read_text(encoding="utf-8"))["domain"])
