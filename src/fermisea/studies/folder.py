"""Folder of a study: it belongs to one set of settings, and its results are stored with what they depend on."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from fermisea import __version__
from fermisea.errors import InputError
from fermisea.studies.settings import Settings
from fermisea.utilities.files import check_writable_folder, write_text

Rows = list[dict[str, Any]]

_FREE = ("command", "memory")
"""Entries of tables of settings that may change."""


def claim_folder(out: Path, settings: Settings, free: Collection[str]) -> None:
    """Writes settings.json to the folder of a study; refuses a folder with results from other settings.

    Args:
        out: folder of the study.
        settings: its settings.
        free: names of settings that may change, because the results that depend on them store their origin.

    Raises:
        InputError: if the folder holds a study with other settings or cannot be written to.
    """
    check_writable_folder(out)
    path = out / "settings.json"
    wanted = settings.to_dict()
    if path.exists():
        try:
            stored = dict(json.loads(path.read_text(encoding="utf-8")))
            stored.pop("fermisea")
            found = type(settings).from_dict(stored).to_dict()  # new settings have their default values
        except (ValueError, TypeError, LookupError) as error:
            raise InputError(f"{path}: cannot be read ({error}); choose another --out folder") from error
        differing = [name for name in wanted if name not in free and _same(found[name]) != _same(wanted[name])]
        if differing:
            raise InputError(
                f"{out}: holds a study with other settings ({', '.join(differing)}); remove it or choose another --out "
                "folder"
            )
    write_text(path, json.dumps({"fermisea": __version__, **wanted}, indent=2) + "\n")


def _same(value: Any) -> Any:
    """Returns a setting without the entries that have no influence on results: how DFT is started, and its memory."""
    return {key: item for key, item in value.items() if key not in _FREE} if isinstance(value, dict) else value


def stored_rows(path: Path, key: list[Any], compute: Callable[[], Rows]) -> Rows:
    """Returns rows from a file if the file has the same ``key``; otherwise computes and writes them."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        if known["key"] == key:
            return list(known["rows"])
    except (OSError, ValueError, KeyError):
        pass
    rows = compute()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps({"key": key, "rows": rows}) + "\n")
    return rows
