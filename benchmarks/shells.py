"""Binding energies of the electron shells of free atoms and elemental solids, for the limit of frozen cores.

The energy of a shell is that of its weakest bound subshell, relative to the vacuum in gases and to the Fermi level in
solids. Seconds; the table of edges comes from xraydb, which nothing else needs:

    pip install xraydb
    python benchmarks/shells.py              comparison with the stored table
    python benchmarks/shells.py --store      writes src/fermisea/pseudopotentials/shells.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import fermisea

FILE = Path(fermisea.__file__).parent / "pseudopotentials" / "shells.json"
ELEMENTS = 98
SOURCE = (
    "W. T. Elam, B. D. Ravel, J. R. Sieber, Radiat. Phys. Chem. 63, 121 (2002), in the edition of the Python package "
    "xraydb"
)
ABOUT = (
    "Binding energies of electron shells: for each element and shell, the edge of the weakest bound subshell, relative "
    "to the Fermi level in solids. The highest frozen shell of a pseudopotential is the shell of its core with the "
    "smallest binding energy. Written by benchmarks/shells.py."
)
EDGES = {"K": "1s"} | {
    f"{letter}{number + 1}": f"{n}{'spdf'[(number + 1) // 2]}"
    for n, letter in enumerate("LMNOPQ", start=2)
    for number in range(min(2 * n - 1, 7))
}
"""Shell of each edge in the notation of X-ray spectroscopy, such as 2p for L2 and L3."""


def shells(symbol: str) -> dict[str, float]:
    """Returns the binding energy of each shell of an element, eV, from the lowest shell on."""
    from xraydb import xray_edges  # noqa: PLC0415  # installed for this script only

    energies: dict[str, float] = {}
    for name, edge in xray_edges(symbol).items():
        if name in EDGES:
            shell = EDGES[name]
            energies[shell] = min(float(edge.energy), energies.get(shell, float("inf")))
    return dict(sorted(energies.items(), key=lambda item: list(EDGES.values()).index(item[0])))


def main() -> None:
    """Compares the stored table with its source, or stores it."""
    from xraydb import atomic_symbol  # noqa: PLC0415

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", action="store_true", help="write the table to the package")
    values = parser.parse_args()
    table = {symbol: shells(symbol) for symbol in map(atomic_symbol, range(1, ELEMENTS + 1))}
    if values.store:
        rows = ",\n".join(f"  {json.dumps(symbol)}: {json.dumps(row)}" for symbol, row in table.items())
        head = json.dumps({"about": ABOUT, "source": SOURCE, "unit": "eV"}, indent=1)[:-2]
        FILE.write_text(f'{head},\n "binding_energies": {{\n{rows}\n }}\n}}\n', encoding="utf-8")
    stored = json.loads(FILE.read_text(encoding="utf-8"))["binding_energies"]
    different = [symbol for symbol in table if table[symbol] != stored.get(symbol)]
    print(f"{len(table)} elements, different from the stored table: {', '.join(different) or 'none'}")


if __name__ == "__main__":
    main()
