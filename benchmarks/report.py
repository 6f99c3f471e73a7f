"""Writes the tables of measured numbers to the pages of docs/, between markers, from full runs only.

python benchmarks/report.py    from bench-output/*.json
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

from common import OUTPUT, ROOT, Table, facts_line

PAGES = tuple(
    ROOT / "docs" / name
    for name in (
        "performance.md",
        "quantum-espresso.md",
        "training.md",
        "free-energies.md",
        "lammps.md",
        "temperature-transfer.md",
        "warm-dense-matter.md",
        "aluminium.md",
        "domain.md",
        "many-atoms.md",
    )
)


def blocks(folder: Path) -> dict[str, str]:
    """Returns the text of each table in the results of a folder: the table, then machine and versions."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["quick"]:
            continue
        runs = "one run" if content["repeat"] == 1 else f"median of {content['repeat']} runs"
        for table in content["tables"]:
            found[table["name"]] = f"{Table(**table).markdown()}\n\n{facts_line(content['machine'])}; {runs}."
    return found


def fill(page: str, found: dict[str, str]) -> tuple[str, list[str]]:
    """Returns a page with the tables between their markers replaced, and the names of tables without markers.

    The markers of a table ``x`` are the lines ``<!-- table: x -->`` and ``<!-- end: x -->``.
    """
    missing = []
    for name, text in found.items():
        markers = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- end: {name} -->)", re.DOTALL)
        page, count = markers.subn(lambda match, text=text: f"{match[1]}{text}\n{match[2]}", page)
        if not count:
            missing.append(name)
    return page, missing


def main() -> int:
    """Fills the pages and prints the names of the tables; returns 1 if a table has no markers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=OUTPUT, help="folder of JSON  [bench-output]")
    parser.add_argument(
        "--page", type=Path, nargs="+", default=PAGES, help="pages to fill  [pages of docs with tables]"
    )
    values = parser.parse_args()
    found = blocks(values.results)
    missing = set(found)
    for path in values.page:
        page, absent = fill(path.read_text(encoding="utf-8"), found)
        path.write_text(page, encoding="utf-8")
        print(f"{path}: {', '.join(name for name in found if name not in absent) or 'no tables'}")
        missing &= set(absent)
    if missing:
        print(f"no markers for: {', '.join(sorted(missing))}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
