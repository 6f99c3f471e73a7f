"""Models of the package by name: NAME.safetensors beside this file, NAME.md, its card.

NAME.domain.json is the domain of a model whose file does not hold it.
"""

from __future__ import annotations

import importlib.resources
import json
import os
from pathlib import Path
from typing import Any

FOLDER = Path(str(importlib.resources.files(__package__)))


def shipped_models() -> list[str]:
    """Returns the names that ``load_model`` knows without a file."""
    return sorted(path.stem for path in FOLDER.glob("*.safetensors"))


def model_path(model: str | os.PathLike[str]) -> Path:
    """Returns the file of a model: the one of that path if there is one, else that of the shipped model so called."""
    path = Path(model)
    if not path.exists() and str(model) in shipped_models():
        return FOLDER / f"{model}.safetensors"
    return path


def model_card(model: str | os.PathLike[str]) -> str | None:
    """Returns the card of a shipped model in Markdown: data, domain, errors, licence; None for any other model."""
    path = model_path(model)
    if path.parent != FOLDER:
        return None
    return path.with_suffix(".md").read_text(encoding="utf-8")


def model_domain(model: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Returns the entries of the domain beside a shipped model; None for any other model or without such a file."""
    path = model_path(model)
    file = path.with_suffix(".domain.json")
    if path.parent != FOLDER or not file.exists():
        return None
    return dict(json.loads(file.read_text(encoding="utf-8"))["domain"])
