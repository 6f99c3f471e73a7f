"""HTML page: sections of text, figures and tables in one self-contained file."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jinja2

from fermisea.errors import InputError
from fermisea.physics.registry import OBSERVABLES
from fermisea.report.content import read_content, read_image, read_rows
from fermisea.utilities.files import write_text

CONTENT = "report.json"
"""File in a folder that defines the sections of its page; without it, the page has all figures and tables."""


_TITLES = {
    "calibration": "Spread against error",
    "dos": "Density of states",
    "errors": "Errors",
    "forces": "Forces",
    "free_energy": "Free energy",
    "observables": "Observables of the cell",
    "observables_per_atom": "Observables per atom",
    "stress": "Stress",
    "summary": "Summary of the errors",
    "thermo": "Thermodynamics of the electrons",
}
"""Titles of the files of commands, for a folder without defined sections."""

_SYMBOLS = {observable.symbol for observable in OBSERVABLES.values()}

_DECIMALS = {
    "K": "g",
    "eV": ".4f",
    "eV/atom": ".5f",
    "meV/atom": ".3f",
    "eV/Angstrom": ".4f",
    "eV/Angstrom^3": ".6f",
}
"""Formats of numbers by their unit: 0.1 meV for the cell and 0.01 meV/atom; other numbers have five digits."""


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes:
        title: heading of the section.
        text: paragraphs.
        figures: PNG files, relative to the folder.
        tables: CSV files, relative to the folder.
    """

    title: str
    text: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()


def write_sections(folder: Path, title: str, sections: Sequence[Section], provenance: str = "") -> None:
    """Writes the sections of the page of a folder.

    Raises:
        StorageError: if the file cannot be written.
    """
    content = {"title": title, "provenance": provenance, "sections": [asdict(section) for section in sections]}
    write_text(folder / CONTENT, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def add_sections(folder: Path, command: str, title: str, sections: Sequence[Section], provenance: str = "") -> None:
    """Adds the sections of a command to the page of a folder; its earlier sections are replaced, others are kept.

    Args:
        folder: folder of the results.
        command: name of the command, such as ``"predict"``.
        title: title of the page.
        sections: sections of the command.
        provenance: line at the end of the page.

    Raises:
        StorageError: if the file cannot be written, or an existing file cannot be read now.
    """
    path, others = folder / CONTENT, []
    if path.exists():
        before = read_content(folder, CONTENT)
        try:
            others = [entry for entry in json.loads(before)["sections"] if entry.get("command") != command]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            others = []  # a damaged file is written again
    added = [asdict(section) | {"command": command} for section in sections]
    content = {"title": title, "provenance": provenance, "sections": [*others, *added]}
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def read_sections(folder: Path) -> tuple[str, list[Section], str]:
    """Returns title, sections and provenance of the page of a folder.

    Without defined sections, the page has all figures and tables of the folder and its subfolders, by name.

    Raises:
        InputError: for a folder without figures and tables, or an invalid file of sections.
    """
    path = folder / CONTENT
    if path.exists():
        try:
            content = json.loads(read_content(folder, CONTENT))
            sections = [_section(entry) for entry in content["sections"]]
            return _text(content["title"]), sections, _text(content["provenance"])
        except InputError:
            raise
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f"{path}: cannot be read ({error}); write the file again or remove it") from error
    found: dict[str, dict[str, list[str]]] = {}
    for suffix, kind in ((".png", "figures"), (".csv", "tables")):
        for file in sorted(folder.rglob(f"*{suffix}")):
            stem = str(file.relative_to(folder).with_suffix(""))
            found.setdefault(stem, {}).setdefault(kind, []).append(str(file.relative_to(folder)))
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the --out folder of predict, evaluate, thermo or study")
    if not found:
        raise InputError(
            f"{folder}: no figures (.png) or tables (.csv) in this folder; give the output folder of a command"
        )
    sections = [
        Section(
            _TITLES.get(name, name.replace("_", " ")),
            figures=tuple(kinds.get("figures", ())),
            tables=tuple(kinds.get("tables", ())),
        )
        for name, kinds in sorted(found.items())
    ]
    return folder.resolve().name, sections, ""


def _section(entry: Any) -> Section:
    lists = [entry[key] for key in ("text", "figures", "tables")]
    if not all(isinstance(values, list) for values in lists):
        raise TypeError("text, figures and tables of a section must be lists")
    return Section(_text(entry["title"]), *(tuple(map(_text, values)) for values in lists))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"got {value!r}, expected text")
    value.encode()  # a lone surrogate cannot be written
    return value


def write_report(folder: Path) -> Path:
    """Writes ``report.html`` from the figures and tables of a folder and returns its path.

    Only PNG figures and CSV tables inside the folder are shown.

    Raises:
        InputError: if there are no figures and tables, a named file is missing, of another kind or outside the folder.
        StorageError: if the page cannot be written.
    """
    title, sections, provenance = read_sections(folder)
    page = (importlib.resources.files(__package__) / "page.html").read_text(encoding="utf-8")
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(page)
    shown = [
        {
            "title": section.title,
            "text": section.text,
            "images": [_image(folder, name) for name in section.figures],
            "tables": [_table(folder, name) for name in section.tables],
        }
        for section in sections
    ]
    path = folder / "report.html"
    write_text(path, template.render(title=title, sections=shown, provenance=provenance))
    return path


def _image(folder: Path, name: str) -> dict[str, str]:
    return {"name": Path(name).stem, "content": read_image(folder, name)}


def _table(folder: Path, name: str) -> dict[str, Any]:
    rows = read_rows(folder, name)
    forms = [_DECIMALS.get(_unit(head), ".5g") for head in rows[0]]
    return {
        "name": name,
        "header": [_heading(cell) for cell in rows[0]],
        "rows": [[_short(cell, form) for cell, form in zip(row, forms, strict=False)] for row in rows[1:]],
    }


def _heading(head: str) -> str:
    """Returns a column heading with spaces in the name; symbols such as C_e and units are unchanged."""
    name, bracket, unit = head.partition(" (")
    return head if name in _SYMBOLS else name.replace("_", " ") + bracket + unit


def _unit(head: str) -> str:
    """Returns the unit at the end of a column heading: eV/atom from "F (eV/atom)"."""
    return head.partition(" (")[2].removesuffix(")")


def _short(text: str, form: str) -> str:
    """Returns a formatted number, or the beginning of a checksum; the file holds all digits."""
    if len(text) > 40:
        return f"{text[:12]}…"
    try:
        return format(float(text), form) if "." in text or "e" in text else text or "—"
    except ValueError:
        return text
