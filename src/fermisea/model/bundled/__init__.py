"""Models that come with the package, by name: NAME.safetensors beside this file, and NAME.md, its card."""

from __future__ import annotations

import importlib.resources
import os
from pathlib import Path

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
