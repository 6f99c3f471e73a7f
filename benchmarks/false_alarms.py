"""Warnings of the shipped model: kinds of structures in its training data should give none.

Structures of every kind of the study of aluminium are sampled with another random seed. No DFT is needed. About eight
minutes on one core.

    python benchmarks/false_alarms.py
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from common import Table, finish, options, parse

import fermisea
from fermisea.studies.aluminium.settings import AluminiumSettings

TAU_E = 1000.0
SEED = 2
"""Random seed; the study has another one."""

NEW = ("liquid16", "divacancy", "interstitial")
"""Kinds that the training data of the shipped model do not have."""


def main() -> None:
    """Samples structures, checks them, prints a table and writes JSON."""
    parser = options(__doc__, "false_alarms", 1)
    parser.add_argument("--structures", type=int, help="number of structures of each kind  [20, quick 1]")
    values = parse(parser)
    number = values.structures or (1 if values.quick else 20)
    settings, domain = AluminiumSettings.load("aluminium"), fermisea.load_model("aluminium").domain
    kinds = [kind for kind in settings.kinds if kind.sampler == "emt"]
    rows: list[list[str]] = []
    runs: list[dict[str, Any]] = []
    for kind in sorted(kinds, key=lambda kind: kind.name in NEW):
        found: Counter[str] = Counter()
        warned = 0
        for index in range(number):
            atoms = kind.structure("training", index, settings.lattice_constant, SEED)
            sentences = {text.partition(":")[0] for text in domain.check(atoms, TAU_E)}
            warned += bool(sentences)
            found.update(sentences)
        named = ", ".join(f"{name} {count}" for name, count in sorted(found.items())) or "none"
        rows.append([kind.name, "no" if kind.name in NEW else "yes", str(number), str(warned), named])
        runs.append({"kind": kind.name, "structures": number, "with_warnings": warned, "warnings": dict(found)})
        print(*rows[-1], sep="; ", flush=True)
    known = [run for run in runs if run["kind"] not in NEW]
    alarms, total = (sum(run[name] for run in known) for name in ("with_warnings", "structures"))
    columns = ["kind", "in the training data", "structures", "with a warning", "warnings"]
    note = f"Kinds in the training data: warnings for {alarms} of {total} structures ({100 * alarms / total:.1f} %)."
    title = f"Warnings for newly sampled structures of the kinds of the study, tau_e = {TAU_E:g} K"
    finish(values, [Table("false_alarms", title, columns, rows, note)], {"runs": runs})


if __name__ == "__main__":
    main()
