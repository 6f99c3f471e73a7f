"""Files that a reader of the source opens when following one ``Model.predict`` from call to call.

    python benchmarks/walk.py [--json FILE]          PYTHONPATH selects the checkout

The first prediction of a process is traced: model "aluminium" at its lowest tau_ref, anchored, 4 atoms, 3 tau_e, with
forces, 12x12x12 points. All modules are imported beforehand. The walk is the sequence of files of the called functions
of the package, in the order of the calls; equal neighbours count once. Each visit of a file "enters" it, and each visit
after the first is a "return". Properties are excluded, because they read like attributes. Comprehensions and lambdas
are excluded, because they are part of the text of their function. For a function called through another package, such
as ``torch.nn.Module.__call__``, the caller is the nearest function of fermisea on the stack. Work for a pool of threads
runs in the main thread, so that it is traced as well and the order does not depend on timing.

The check of the domain before and after a prediction is excluded, because it is not a stage of the pipeline and older
checkouts do not have it. Four walks are counted:
    page       the calls in the source of ``predict`` itself
    stages     each function of the stages (model, prediction, thermal states and observables) at its first call
    folders    each function of the package at its first call, by folder; a top-level module counts as a folder
    everything each distinct pair of calling and called function, by file, down to the lowest layer
"""

from __future__ import annotations

import argparse
import functools
import importlib
import inspect
import itertools
import json
import pkgutil
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np
from ase.build import bulk

import fermisea

PACKAGE = Path(fermisea.__file__).parent
STAGES = {
    "physics/observables.py",
    "physics/thermal_states.py",
    *("model.py", "predict.py", "prediction.py", "ldos_pass.py", "sweep.py", "boxes.py", "density_basis.py"),
    *("ldos_energy.py", "ldos_forces.py", "sweep_gradient.py", "uncertainty.py"),
}
DOMAIN = {
    f"prediction/{name}.py" for name in ("contacts", "domain", "limits", "outliers", "plausibility", "surroundings")
}
SHAPE, TEMPERATURES = (12, 12, 12), [300.0, 1000.0, 10_000.0]


def stack(frame: FrameType | None) -> Iterator[FrameType]:
    """Yields a frame and those that called it."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def trace(function: Callable[[], Any]) -> list[tuple[CodeType | None, CodeType]]:
    """Returns the distinct pairs of calling and called function of the package, in the order of first occurrence."""
    edges: dict[tuple[CodeType | None, CodeType], None] = {}
    root = str(PACKAGE)

    def note(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(root):
            return
        callers = [at.f_code for at in stack(frame.f_back) if at.f_code.co_filename.startswith(root)]
        if not any(file_of(at) in DOMAIN for at in (code, *callers)):
            edges[callers[0] if callers else None, code] = None

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return list(edges)


def properties() -> set[CodeType]:
    """Returns the code of all properties of the package."""
    found = set()
    modules = [module for name, module in list(sys.modules.items()) if name.startswith("fermisea")]
    for _, kind in itertools.chain.from_iterable(inspect.getmembers(module, inspect.isclass) for module in modules):
        for value in vars(kind).values():
            if isinstance(value, property) and value.fget is not None:
                found.add(value.fget.__code__)
            elif isinstance(value, functools.cached_property):
                found.add(value.func.__code__)
    return found


def file_of(code: CodeType) -> str:
    """Returns the file of a function, relative to the package."""
    return str(Path(code.co_filename).relative_to(PACKAGE))


def is_stage(file: str) -> bool:
    """Returns whether a file belongs to the stages of a prediction, in today's layout or the flat one before."""
    return file in STAGES or file.startswith(("model/", "prediction/"))


def walk(places: Iterable[str]) -> list[str]:
    """Returns the places without repetitions in a row."""
    return [place for place, _ in itertools.groupby(places)]


def counts(places: list[str]) -> dict[str, int]:
    """Returns how often places are entered, how many there are, and how many entries are returns."""
    return {"entered": len(places), "places": len(set(places)), "returns": len(places) - len(set(places))}


def submit_at_once(_: ThreadPoolExecutor, work: Callable[..., Any], *arguments: Any, **named: Any) -> Future[Any]:
    """Runs work in this thread, in place of ``ThreadPoolExecutor.submit``."""
    future: Future[Any] = Future()
    future.set_result(work(*arguments, **named))
    return future


def model_of() -> fermisea.Model:
    """Returns the model that comes with the package, at its lowest tau_ref."""
    return fermisea.load_model("aluminium").parts[0]


def predict() -> None:
    """Predicts free energies and forces of four aluminium atoms."""
    atoms = bulk("Al", "fcc", a=4.05, cubic=True)
    atoms.positions += np.random.default_rng(1).normal(scale=0.05, size=(4, 3))
    model_of().predict(atoms, TEMPERATURES, SHAPE, forces=True, anchor=True)


def main() -> None:
    """Prints the walk and its counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file for the walk and its counts")
    values = parser.parse_args()
    for module in pkgutil.walk_packages([str(PACKAGE)], "fermisea."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    model = model_of()
    start = model.predict.__func__.__code__
    ThreadPoolExecutor.submit = submit_at_once
    warnings.simplefilter("ignore")
    edges = trace(predict)
    begin = next(k for k, (_, code) in enumerate(edges) if code is start)  # before it, the model is loaded
    left_out = properties()
    edges = [(caller, code) for caller, code in edges[begin:] if not (code in left_out or code.co_name[0] == "<")]
    functions = [file_of(code) for code in dict.fromkeys(code for _, code in edges)]
    called = [(caller and file_of(caller), file_of(code)) for caller, code in edges]
    walks = {
        "page": walk(code for caller, code in called if caller is not None and Path(caller).name == "predict.py"),
        "stages": walk(file for file in functions if is_stage(file)),
        "folders": walk(str(Path(file).parent) if "/" in file else file for file in functions),
        "everything": walk(file for _, file in called),
    }
    for name in ("page", "stages", "folders"):
        print(f"{name}: {' '.join(walks[name])}\n")
    print(f"fermisea: {PACKAGE}")
    for name, places in walks.items():
        print(f"{name:11}" + "  ".join(f"{count} {what}" for what, count in counts(places).items()))
    if values.json is not None:
        found = {name: counts(places) | {"walk": places} for name, places in walks.items()}
        values.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
