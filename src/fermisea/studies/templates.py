"""Text templates with placeholders for numbers."""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping
from typing import Any

import jinja2


def filled(package: str, name: str, facts: Mapping[str, Any]) -> str:
    """Returns the text of a template file with its placeholders filled; an unknown name is an error.

    Args:
        package: package with the file.
        name: name of the file.
        facts: values by name; an ``error`` is a mapping with mean and spread, meV/atom.
    """
    source = (importlib.resources.files(package) / name).read_text(encoding="utf-8")
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, autoescape=False)  # noqa: S701  # plain text
    environment.filters["error"] = _error
    return environment.from_string(source).render(facts)


def _error(entry: Mapping[str, float | None]) -> str:
    spread = entry["spread"]
    return f"{entry['mean']:.2f}{'' if spread is None else f' ± {spread:.2f}'} meV/atom"
