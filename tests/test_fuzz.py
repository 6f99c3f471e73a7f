"""A part of ``make fuzz``: damaged files of every format end in the package's own error or in sound numbers."""

from __future__ import annotations

import pytest

from fuzz.formats import FORMATS
from fuzz.invariance import CHECKS, run
from fuzz.worker import FAULTS, results

MUTATIONS = 8


@pytest.mark.parametrize("kind", FORMATS, ids=lambda kind: kind.name)
def test_damaged_files_are_refused_or_read_soundly(kind, tmp_path):
    found = list(results(kind, range(MUTATIONS), tmp_path / "fuzz"))
    assert len(found) == MUTATIONS
    assert [result for result in found if result.outcome in FAULTS] == []


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(("name", "examples"), [("float64", 3), ("float32", 1)])
def test_predictions_have_the_symmetries_of_the_structure(check, name, examples):
    run(check, name, examples, repeatable=True)
