"""The page: sections of text, figures and tables, all in one file that needs no other."""

from __future__ import annotations

import base64
import csv
import importlib.resources
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jinja2

from fermisea.errors import InputError
from fermisea.utilities.files import write_text

CONTENT = "report.json"
"""File in a folder that says what stands on its page; without it, all figures and tables do."""


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        title: of it.
        text: paragraphs.
        figures: PNG files, relative to the folder.
        tables: CSV files, likewise.
    """

    title: str
    text: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()


def write_sections(folder: Path, title: str, sections: Sequence[Section], provenance: str = "") -> None:
    """Writes what stands on the page of a folder.

    Raises:
        StorageError: if it cannot be written.
    """
    content = {"title": title, "provenance": provenance, "sections": [asdict(section) for section in sections]}
    write_text(folder / CONTENT, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def read_sections(folder: Path) -> tuple[str, list[Section], str]:
    """Returns title, sections and provenance of a folder's page.

    Without a file that says so, every figure and table in it and the folders below, by name.

    Raises:
        InputError: for a folder with nothing to show, or a file with something else.
    """
    path = folder / CONTENT
    if path.exists():
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            sections = [
                Section(entry["title"], *(tuple(entry[key]) for key in ("text", "figures", "tables")))
                for entry in content["sections"]
            ]
            return str(content["title"]), sections, str(content["provenance"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: cannot be read ({error}); write it anew or remove it") from error
    found: dict[str, dict[str, list[str]]] = {}
    for suffix, kind in ((".png", "figures"), (".csv", "tables")):
        for file in sorted(folder.rglob(f"*{suffix}")):
            stem = str(file.relative_to(folder).with_suffix(""))
            found.setdefault(stem, {}).setdefault(kind, []).append(str(file.relative_to(folder)))
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give one that a command wrote")
    if not found:
        raise InputError(f"{folder}: no figures (.png) or tables (.csv) there; give a folder that a command wrote")
    sections = [
        Section(name.replace("_", " "), figures=tuple(kinds.get("figures", ())), tables=tuple(kinds.get("tables", ())))
        for name, kinds in sorted(found.items())
    ]
    return folder.resolve().name, sections, ""


def write_report(folder: Path) -> Path:
    """Writes ``report.html`` from the figures and tables of a folder and returns its path.

    Raises:
        InputError: if there is nothing to show, or a file that is named is missing.
        StorageError: if it cannot be written.
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
    return {"name": Path(name).stem, "content": base64.b64encode(_content(folder, name)).decode()}


def _table(folder: Path, name: str) -> dict[str, Any]:
    rows = list(csv.reader(_content(folder, name).decode("utf-8").splitlines()))
    if not rows:
        raise InputError(f"{folder / name}: empty, expected a table")
    return {
        "name": name,
        "header": [cell.replace("_", " ") for cell in rows[0]],
        "rows": [_short(row) for row in rows[1:]],
    }


def _short(row: Sequence[str]) -> list[str]:
    """Returns numbers with five digits, and the beginning of checksums; the file has them all."""

    def cell(text: str) -> str:
        if len(text) > 40:
            return f"{text[:12]}…"
        try:
            return f"{float(text):.5g}" if "." in text or "e" in text else text
        except ValueError:
            return text

    return [cell(text) for text in row]


def _content(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise InputError(f"{folder / name}: cannot be read ({error.strerror}); the page names it") from error
