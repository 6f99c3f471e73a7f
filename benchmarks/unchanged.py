"""Are the results of two checkouts equal, bit by bit, and does the newer one take no longer?

    python benchmarks/unchanged.py record FILE.npz             results of the checkout that PYTHONPATH names
    python benchmarks/unchanged.py compare FILE.npz            those, and the ones of the checkout that PYTHONPATH names
    python benchmarks/unchanged.py compare OLD.npz NEW.npz
    python benchmarks/unchanged.py time OLD_SRC NEW_SRC        seconds of each item in both, folders that hold fermisea

The exit status of ``compare`` is 1 if something differs that is not among ``EXCEPTIONS``, and that of ``time`` is 1 if
an item takes more than 1.08 times as long. Times are minima of interleaved runs in two processes with one thread each.
``--only WORD`` takes the items whose names hold the word.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import Clock, Table, Worker, serve

BAR = 1.08
"""Largest ratio of times, new over old."""

_PATIENCE = 4
"""An item above the bar is run up to so many times as often: other work on the machine slows single runs."""

EXCEPTIONS: Mapping[str, tuple[float, str]] = {
    "ensemble, *: uncertainty/free_energy": (math.inf, "the spread of an anchored F is the spread of its change"),
    "ensemble, *: uncertainty/internal_energy": (math.inf, "the spread of an anchored U is the spread of its change"),
    "*: anchored_results/*": (math.inf, "the results at the single tau_e are anchored as the prediction is"),
    "ensemble, streamed: *_std": (1e-4, "streamed densities of members used to carry the rounding of float32"),
    "ensemble, streamed: uncertainty/*": (1e-4, "streamed densities of members used to carry the rounding of float32"),
    "ensemble, *: *_std": (1e-7, "spreads of an ensemble come from one pass over the grid"),
    "ensemble, *: uncertainty/*": (1e-7, "spreads of an ensemble come from one pass over the grid"),
}
"""What may differ: a pattern of "item: name", the largest relative difference, and the reason."""


def selected(names: Sequence[str], only: str | None) -> list[str]:
    """Returns the items whose names hold a word."""
    return [name for name in names if only is None or only in name]


def record(only: str | None) -> dict[str, np.ndarray]:
    """Returns the results of all items under "item: name", and the settings under "about"."""
    from unchanged_items import ITEMS, about, numbers  # noqa: PLC0415  # fermisea is needed for this only

    found = {"about": np.array(json.dumps(about()))}
    for item in selected(list(ITEMS), only):
        with Clock() as clock:
            found |= {f"{item}: {name}": values for name, values in numbers(item).items()}
        print(f"{item}: {clock.seconds:.1f} s", flush=True)
    return found


def load(path: Path) -> dict[str, np.ndarray]:
    """Returns what ``record`` gave, from a file."""
    with np.load(path) as data:
        return {name: data[name] for name in data.files}


def relative(old: np.ndarray, new: np.ndarray) -> float:
    """Returns the largest difference over the largest magnitude; 0 means equal bits, infinity another shape or NaN."""
    if old.dtype == new.dtype and old.shape == new.shape and old.tobytes() == new.tobytes():
        return 0.0
    if old.shape != new.shape or not np.array_equal(np.isfinite(old), np.isfinite(new)):
        return math.inf
    finite = np.isfinite(old)
    scale = np.abs(old[finite]).max(initial=0.0)
    change = np.abs(new[finite].astype(float) - old[finite].astype(float)).max(initial=0.0)
    return float(max(change / scale, np.finfo(float).tiny)) if scale else (math.inf if change else np.finfo(float).tiny)


def compare(old: Mapping[str, np.ndarray], new: Mapping[str, np.ndarray]) -> bool:
    """Prints each item with what differs in it; returns whether all is equal but for the exceptions."""
    for name, results in (("old", old), ("new", new)):
        print(f"{name}: {json.loads(str(results['about']))}")
    keys = [key for key in old if key != "about"]
    items = list(dict.fromkeys(key.split(": ")[0] for key in [*keys, *new] if key != "about"))
    same = True
    for item in items:
        own = [key for key in keys if key.startswith(f"{item}: ")]
        if not any(key.startswith(f"{item}: ") for key in new):
            print(f"{item}: only in old")
            continue
        lines = []
        for key in own:
            change = relative(old[key], new[key]) if key in new else math.inf
            if not change:
                continue
            allowed, reason = next(
                (value for pattern, value in EXCEPTIONS.items() if fnmatch.fnmatchcase(key, pattern)), (0.0, "")
            )
            within = change <= allowed
            same &= within
            word = f"allowed: {reason}" if within else "DIFFERS"
            lines.append(f"    {key}: {f'{change:.1e}' if key in new else 'only in old'}  {word}")
        lines += [f"    {key}: only in new" for key in new if key.startswith(f"{item}: ") and key not in old]
        print(f"{item}: {'equal' if not lines else ''} ({len(own)} numbers or arrays)")
        print("\n".join(lines), end="\n" if lines else "")
    print("all equal, but for the exceptions" if same else "THERE ARE DIFFERENCES")
    return same


def seconds(item: str) -> float:
    """Returns the seconds of an item, for a worker."""
    from unchanged_items import numbers  # noqa: PLC0415  # as above

    with Clock() as clock:
        numbers(item)
    return clock.seconds


def describe() -> dict[str, Any]:
    """Returns the settings and the names of the items, for a worker."""
    from unchanged_items import ITEMS, about  # noqa: PLC0415  # as above

    return about() | {"items": list(ITEMS)}


def measure(old: Path, new: Path, repeat: int, only: str | None) -> bool:
    """Prints the times of both checkouts; returns whether no item takes longer than the bar allows."""
    rows, slow = [], []
    with (
        Worker(Path(__file__), 1, environment={"PYTHONPATH": str(old.resolve())}) as one,
        Worker(Path(__file__), 1, environment={"PYTHONPATH": str(new.resolve())}) as two,
    ):
        facts = [worker.call("describe") for worker in (one, two)]
        for name, fact in zip(("old", "new"), facts, strict=True):
            print(f"{name}: { {key: value for key, value in fact.items() if key != 'items'} }", flush=True)
        for item in selected(facts[0]["items"], only):
            for worker in (one, two):
                worker.call("seconds", item=item)  # models, snapshots and compiled functions are made here
            best, ratio = [math.inf, math.inf], math.inf
            for run in range(_PATIENCE * repeat):
                if run >= repeat and ratio <= BAR:
                    break
                best = [
                    min(least, worker.call("seconds", item=item))
                    for least, worker in zip(best, (one, two), strict=True)
                ]
                ratio = best[1] / best[0]
            rows.append([item, f"{best[0]:.3f}", f"{best[1]:.3f}", f"{ratio:.3f}" + (" !" if ratio > BAR else "")])
            slow += [item] if ratio > BAR else []
            print(*rows[-1], sep="  ", flush=True)
    title = f"Seconds, one thread, minima of {repeat} or more interleaved runs; at most {BAR} is allowed"
    print(f"\n{Table('unchanged', title, ['item', 'old', 'new', 'ratio'], rows).markdown()}")
    print(f"slower: {', '.join(slow) or 'none'}")
    return not slow


def main() -> None:
    """Records, compares or measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("record", "compare", "time"))
    parser.add_argument("paths", type=Path, nargs="+")
    parser.add_argument("--only", help="items whose names hold this word")
    parser.add_argument("--repeat", type=int, default=7, help="runs of each item and checkout  [7]")
    values = parser.parse_args()
    if values.task == "record":
        np.savez(values.paths[0], **record(values.only))
    elif values.task == "compare":
        old = load(values.paths[0])
        new = load(values.paths[1]) if len(values.paths) > 1 else record(values.only)
        sys.exit(not compare(old, new))
    else:
        old_src, new_src = values.paths
        sys.exit(not measure(old_src, new_src, values.repeat, values.only))


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        serve(seconds, describe)
    else:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        main()
