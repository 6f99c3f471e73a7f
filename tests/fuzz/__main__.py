"""``make fuzz``: a table of outcomes by format, the symmetries of predictions, and the status 1 for any fault."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from fuzz.formats import FORMATS
from fuzz.invariance import CHECKS, MODELS, run
from fuzz.worker import FAULTS, OUTCOMES, Result, counts, results


def main() -> int:
    """Runs the mutations of all formats, or of the named ones."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--mutations", type=int, default=300, help="Number of mutations for each format (default 300).")
    parser.add_argument("--first", type=int, default=0, help="Number of the first mutation, its seed (default 0).")
    parser.add_argument("--format", nargs="*", default=[], help="Beginnings of the names of formats (default: all).")
    parser.add_argument("--examples", type=int, default=20, help="Examples of each symmetry and model (default 20).")
    given = parser.parse_args()
    faults: list[tuple[str, Result]] = []
    sys.stdout.write(f"{'format':24}{'mutations':>12}" + "".join(f"{outcome:>17}" for outcome in OUTCOMES) + "\n")
    for kind in FORMATS:
        if given.format and not kind.name.startswith(tuple(given.format)):
            continue
        with tempfile.TemporaryDirectory() as folder:
            numbers = range(given.first, given.first + given.mutations)
            found = list(results(kind, numbers, Path(folder) / "fuzz"))
        faults += [(kind.name, result) for result in found if result.outcome in FAULTS]
        number = counts(found)
        row = "".join(f"{number[outcome]:17d}" for outcome in OUTCOMES)
        sys.stdout.write(f"{kind.name:24}{len(found):12d}{row}\n")
        sys.stdout.flush()
    for name, result in faults:
        sys.stdout.write(f"{name} {result.index}: {result.outcome}: {result.change}: {result.detail}\n")
    for check in CHECKS if given.examples else ():
        for model in MODELS:
            run(check, model, given.examples, repeatable=False)
        sys.stdout.write(f"symmetry {check.__name__}: holds in {given.examples} examples for {', '.join(MODELS)}\n")
        sys.stdout.flush()
    return int(bool(faults))


if __name__ == "__main__":
    raise SystemExit(main())
