"""Through which files does a reader walk who follows one ``Model.predict`` from call to call?

    python benchmarks/walk.py [--json FILE]          of the checkout that PYTHONPATH names

The first prediction of a process is traced: model "aluminium", 4 atoms, 3 tau_e, forces, 12x12x12 points. All modules
are imported before. Of every distinct pair (calling function, called function) of the package, in the order of first
occurrence, the file of the called function is noted; equal files that follow each other count once. A function that is
called through another package, such as ``torch.nn.Module.__call__``, has the nearest function of fermisea as its
caller. What goes to a pool of threads is run at once in the main thread, so that it is traced as well, and the order
does not depend on timing.
"""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np
from ase.build import bulk

import fermisea

PACKAGE = Path(fermisea.__file__).parent
SHAPE, TEMPERATURES = (12, 12, 12), [300.0, 1000.0, 10_000.0]


def trace(function: Callable[[], Any]) -> list[tuple[CodeType | None, CodeType]]:
    """Returns the distinct pairs of calling and called function of the package, in the order of first occurrence."""
    edges: dict[tuple[CodeType | None, CodeType], None] = {}
    root = str(PACKAGE)

    def note(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(root):
            return
        caller = frame.f_back
        while caller is not None and not caller.f_code.co_filename.startswith(root):
            caller = caller.f_back
        edges[caller and caller.f_code, code] = None

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return list(edges)


def walk(edges: list[tuple[CodeType | None, CodeType]]) -> list[str]:
    """Returns the files of the called functions, relative to the package; equal ones in a row count once."""
    files: list[str] = []
    for _, code in edges:
        file = str(Path(code.co_filename).relative_to(PACKAGE))
        if not files or files[-1] != file:
            files.append(file)
    return files


def submit_at_once(_: ThreadPoolExecutor, work: Callable[..., Any], *arguments: Any, **named: Any) -> Future[Any]:
    """Runs work in this thread, in place of ``ThreadPoolExecutor.submit``."""
    future: Future[Any] = Future()
    future.set_result(work(*arguments, **named))
    return future


def predict() -> None:
    """Predicts free energies and forces of four aluminium atoms."""
    atoms = bulk("Al", "fcc", a=4.05, cubic=True)
    atoms.positions += np.random.default_rng(1).normal(scale=0.05, size=(4, 3))
    fermisea.load_model("aluminium").predict(atoms, TEMPERATURES, SHAPE, forces=True)


def main() -> None:
    """Prints the walk and its counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file for the walk and its counts")
    values = parser.parse_args()
    for module in pkgutil.walk_packages([str(PACKAGE)], "fermisea."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    model = fermisea.load_model("aluminium")
    start = model.predict.__func__.__code__
    ThreadPoolExecutor.submit = submit_at_once
    warnings.simplefilter("ignore")
    edges = trace(predict)
    begin = next(k for k, (_, code) in enumerate(edges) if code is start)  # before it, the model is loaded
    edges = edges[begin:]
    files = walk(edges)
    entered = {name: files.count(name) for name in dict.fromkeys(files)}
    folders = [str(Path(file).parent) for file in files]
    rooms = [folder for k, folder in enumerate(folders) if k == 0 or folders[k - 1] != folder]
    found = {
        "fermisea": str(PACKAGE),
        "pairs": len(edges),
        "files": len(entered),
        "entered": len(files),
        "returns": len(files) - len(entered),
        "folders": len(set(rooms)),
        "folders_entered": len(rooms),
        "predict.py": sum(count for name, count in entered.items() if Path(name).name == "predict.py"),
        "times_by_file": dict(sorted(entered.items(), key=lambda item: -item[1])),
        "walk": files,
    }
    print("\n".join(files))
    print(json.dumps({name: value for name, value in found.items() if name != "walk"}, indent=1))
    if values.json is not None:
        values.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
