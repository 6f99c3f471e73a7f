"""The complete demonstration."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from fermisea import __version__
from fermisea.analysis.evaluation import evaluate
from fermisea.data.snapshot import Snapshot
from fermisea.demo.first import shipped_model
from fermisea.demo.report import compare, draw, print_table
from fermisea.demo.settings import DemoSettings
from fermisea.demo.steps import dft_points, make_structures, trained_model, training_data
from fermisea.errors import InputError
from fermisea.utilities.files import check_writable_folder, write_text


def run_demo(settings: DemoSettings, out: Path, console: Console) -> dict[str, Any]:
    """Runs the demonstration with results in the folder ``out`` and returns the content of ``summary.json``.

    Raises:
        InputError: if the folder holds results with other settings or cannot be written to.
        ConvergenceError: if a DFT run does not converge.
    """
    key = _claim(settings, out)
    seconds: dict[str, float] = {}
    with _step(console, seconds, 1, "prediction with the model shipped with the package"):
        first = shipped_model(settings, out / "figures", console)
    with _step(console, seconds, 2, "structures from molecular dynamics"):
        training, test = make_structures(settings, out / "structures", console)
    with _step(console, seconds, 3, f"DFT at tau_ref = {settings.reference_electron_temperature:g} K"):
        files = training_data(settings, {**training, "test": test}, out / "data", console)
        unseen = Snapshot.load(files.pop())
    with _step(console, seconds, 4, f"training on {len(files)} structures"):
        model = trained_model(settings, files, out / "al.safetensors", key, console)
    with _step(console, seconds, 5, "self-consistent DFT of the unseen structure at other tau_e"):
        points = dft_points(settings, unseen, out / "references", key, console)
    with _step(console, seconds, 6, "prediction"):
        temperatures = sorted(
            {*np.linspace(100.0, max(settings.electron_temperatures), settings.curve), *settings.electron_temperatures}
        )
        prediction = model.predict(unseen.atoms, temperatures, unseen.grid, anchor=False)
        errors = evaluate(model, [*map(Snapshot.load, files), unseen], sorted(settings.electron_temperatures))
        errors = [row | {"unseen": row["snapshot"] == len(files)} for row in errors]
        rows = compare(prediction, points)
        draw(settings, prediction, unseen, rows, errors, out / "figures")
    summary = {
        "shipped_model": first,
        "atoms": len(unseen.atoms),
        "ion_temperature": settings.test_ion_temperature,
        "reference_electron_temperature": settings.reference_electron_temperature,
        "highest_electron_temperature": model.highest_electron_temperature,
        "rows": rows,
        "errors_against_own_ldos": errors,
        "seconds": seconds,
        "fermisea": __version__,
        "settings": settings.to_dict(),
    }
    write_text(out / "summary.json", json.dumps(summary, indent=2) + "\n")
    print_table(settings, rows, len(unseen.atoms), out, console)
    return summary


def _claim(settings: DemoSettings, out: Path) -> str:
    """Writes the settings to the folder and returns their digest; refuses results with other settings."""
    check_writable_folder(out)
    text = json.dumps({"fermisea": __version__, **settings.to_dict()}, indent=2) + "\n"
    path = out / "settings.json"
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise InputError(f"{out}: holds a demonstration with other settings; remove it or choose another --out folder")
    if not path.exists():
        write_text(path, text)
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def _step(console: Console, seconds: dict[str, float], number: int, title: str) -> Iterator[None]:
    console.print(f"{number}/6  {title}", style="bold")
    started = time.perf_counter()
    yield
    seconds[title] = round(time.perf_counter() - started, 1)
