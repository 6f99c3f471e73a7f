"""Comparison of two checkouts: bitwise equality of the results, and the time for each result.

    python benchmarks/unchanged.py record FILE.npz             stores the results of the checkout on PYTHONPATH
    python benchmarks/unchanged.py compare OLD.npz NEW.npz     compares two stored files
    python benchmarks/unchanged.py compare OLD.npz             compares a stored file with the checkout on PYTHONPATH
    python benchmarks/unchanged.py time OLD_SRC NEW_SRC        measures both; the arguments are the two src folders

``compare`` exits with status 1 if a result differs and is not among ``EXEMPTIONS``. ``time`` exits with status 1 if an
item of the new checkout takes more than 1.08 times as long as in the old one. Times are minima of interleaved runs in
two processes with one thread each. ``--only WORD`` selects the items whose names contain the word.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import Clock, Table, Worker, serve

BAR = 1.08
"""Largest ratio of times, new over old."""

_PATIENCE = 4
"""Factor of additional runs for an item above the bar, because other work on the machine slows single runs."""

Results = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Exemption:
    """Results that may differ between the two checkouts.

    Attributes:
        pattern: regular expression of "item: name".
        largest: largest relative difference.
        reason: reason for the difference.
        expected: reference for the new result, from the match of the pattern and the old results; without it,
            the old result of the same name.
    """

    pattern: str
    largest: float
    reason: str
    expected: Callable[[re.Match[str], Results], np.ndarray] = lambda match, old: old[match[0]]


_STREAMED = "streamed densities of members used to carry the rounding of float32"
_TOGETHER = "spreads of an ensemble come from one pass over the grid"
_SPREAD = "the spread of an anchored F or U is the spread of its change"

EXEMPTIONS = (
    Exemption(
        r"(.*): anchored_results/(\d+)/(.*)",
        1e-15,
        "the results at the single tau_e are anchored as the prediction is",
        lambda match, old: old[f"{match[1]}: free_energy_by/{match[3]}"][int(match[2])],
    ),
    *(
        Exemption(
            rf"(ensemble, {item}): uncertainty/{name}",
            largest,
            _SPREAD,
            lambda match, old, spread=spread: old[f"{match[1]}: data/{spread}"],
        )
        for item, largest in (("streamed", 1e-4), (".*", 1e-7))
        for name, spread in (("free_energy", "free_energy_std"), ("internal_energy", "internal_energy_std"))
    ),
    Exemption(r"ensemble, streamed: (.*_std|uncertainty/.*)", 1e-4, _STREAMED),
    Exemption(r"ensemble, .*: (.*_std|uncertainty/.*)", 1e-7, _TOGETHER),
)
"""The first exemption whose pattern matches a differing result applies."""


def selected(names: Sequence[str], only: str | None) -> list[str]:
    """Returns the items whose names contain a word."""
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
    """Returns the results in a file written by ``record``."""
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


def judge(key: str, old: Results, new: Results) -> tuple[float, str]:
    """Returns the relative difference of a result and the reason why it is allowed (empty if not allowed)."""
    if key not in new:
        return math.inf, ""
    change = relative(old[key], new[key])
    if change:
        for exemption in EXEMPTIONS:
            match = re.fullmatch(exemption.pattern, key)
            if match:
                change = relative(exemption.expected(match, old), new[key])
                return change, exemption.reason if change <= exemption.largest else ""
    return change, ""


def compare(old: Results, new: Results) -> bool:
    """Prints the differences of each item; returns whether all results are equal, apart from the exemptions."""
    for name, results in (("old", old), ("new", new)):
        print(f"{name}: {json.loads(str(results['about']))}")
    keys = {name: [key for key in results if key != "about"] for name, results in (("old", old), ("new", new))}
    wrong = 0
    for item in dict.fromkeys(key.split(": ")[0] for key in [*keys["old"], *keys["new"]]):
        mine, others = ([key for key in keys[name] if key.startswith(f"{item}: ")] for name in ("old", "new"))
        if not others:
            print(f"{item}: only in old")
            continue
        judged = {key: judge(key, old, new) for key in mine}
        different = {key: found for key, found in judged.items() if found != (0.0, "")}
        print(f"{item}: {len(mine) - len(different)} of {len(mine)} numbers or arrays are equal")
        for reason in dict.fromkeys(reason for _, reason in different.values() if reason):
            changes = [change for change, other in different.values() if other == reason]
            print(f"    {len(changes)} within {max(changes):.1e}: {reason}")
        for key, (change, reason) in different.items():
            if not reason:
                print(f"    {key}: {f'{change:.1e}' if key in new else 'only in old'}  DIFFERS")
                wrong += 1
        added = [key.split(": ")[1] for key in others if key not in old]
        print(f"    only in new: {', '.join(added)}\n" if added else "", end="")
    print(f"THERE ARE {wrong} DIFFERENCES" if wrong else "all equal, but for the exemptions")
    return not wrong


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
    """Prints the times of both checkouts; returns whether all items are within the allowed ratio."""
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
    parser.add_argument("--only", help="items whose names contain this word")
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
