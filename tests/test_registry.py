"""One registry of observables: documentation, data sets and tables agree with it."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from fermisea.physics.registry import OBSERVABLES, SCALARS, SHORT_CUTS, milli, per_atom_unit
from fermisea.utilities.tables import data_frame, write_table
from synthetic import structure
from test_prediction import SHAPE, random_model

PAGE = (Path(__file__).parents[1] / "docs" / "nomenclature.md").read_text(encoding="utf-8")


def documented() -> dict[str, tuple[str, str, str]]:
    """Symbol, unit and meaning of every name in the table of observables of the nomenclature."""
    (text,) = re.findall(r"## Observables\n(.*?)\n## ", PAGE, re.DOTALL)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return {row[1].strip("`"): (row[0], row[2], row[4]) for row in rows[2:]}


def test_the_nomenclature_lists_the_registry():
    expected = {o.name: (o.symbol, o.unit.replace("Angstrom", "A"), o.description) for o in OBSERVABLES.values()}
    assert documented() == expected


@pytest.fixture(scope="module")
def prediction():
    return random_model().predict(structure(4), [300.0, 8000.0], SHAPE, forces=True)


def test_a_data_set_has_the_units_of_the_registry(prediction):
    found = {name: variable.attrs["units"] for name, variable in prediction.data.variables.items() if variable.attrs}
    assert {name: unit for name, unit in found.items() if name in OBSERVABLES} == {
        name: OBSERVABLES[name].unit for name in found if name in OBSERVABLES
    }
    missing = {o.name for o in OBSERVABLES.values() if o.written} - set(found)
    assert {name for name in missing if not name.startswith("free_energy_")} == {
        "blend_error",
        "anchored_free_energy",
        "potential_free_energy",
        "ldos_entropy",
        "ldos_heat_capacity",
    }


def test_a_table_has_units_in_its_head_and_divides_extensive_observables(prediction):
    cell, atom = prediction.table(), prediction.table(per_atom=True)
    for observable in SCALARS:
        if observable.head() in cell.columns:
            factor = 4 if observable.extensive else 1
            per_atom = atom[observable.head(per_atom=True)]
            np.testing.assert_allclose(cell[observable.head()], factor * per_atom, rtol=1e-14)
    assert {"free_energy (eV/atom)", "entropy (eV/(K atom))", "fermi_level (eV)", "electrons (1/atom)"} <= set(atom)
    assert "electrons" in cell.columns


@pytest.mark.parametrize(
    ("unit", "per_atom"), [("eV", "eV/atom"), ("eV/K", "eV/(K atom)"), ("1/eV", "1/(eV atom)"), ("1", "1/atom")]
)
def test_units_per_atom(unit, per_atom):
    assert per_atom_unit(unit) == per_atom


def test_energies_are_scaled_to_milli_electronvolt():
    assert milli("eV/atom") == (1000, "meV/atom")
    assert milli("%") == (1, "%")


def test_short_cuts_have_names_of_their_own():
    assert not set(SHORT_CUTS) & set(OBSERVABLES)


def test_a_written_table_keeps_every_digit(tmp_path):
    rows = [{"a": 0.1 + 0.2, "n": 3, "words": [1.5, 2.5], "b": None}, {"a": 1e-300, "n": None, "words": [], "b": 1.0}]
    write_table(tmp_path / "t.csv", data_frame(rows, {"a": "a (eV)"}))
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines == ["a (eV),n,words,b", "0.30000000000000004,3,1.5 2.5,", "1e-300,,,1.0"]


def test_the_printed_form_is_short(prediction):
    lines = repr(prediction).splitlines()
    assert len(lines) == 5
    assert "F from the LDOS alone" in lines[1]
    assert f"{prediction.free_energy[1]:.4f}" in lines[-1]
    warned = dataclasses.replace(prediction, warnings=("the volume is large",))
    assert repr(warned).splitlines()[-1] == "warning: the volume is large"
    assert warned.data.attrs["warnings"] == ["the volume is large"]
    assert "warnings" not in prediction.data.attrs
    single = random_model().predict(structure(4), 300.0, SHAPE, density=False)
    assert f"{single.band_energy:.4f}" in repr(single)
