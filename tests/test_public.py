"""What stands in the package by name, and that it costs nothing until it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import fermisea


def test_every_public_name_is_there():
    for name in fermisea.__all__:
        assert getattr(fermisea, name) is not None
    assert set(dir(fermisea)) == set(fermisea.__all__)


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = fermisea.nonsense


def test_import_and_help_load_nothing_heavy():
    code = (
        "import sys, fermisea.cli\n"
        "heavy = {'torch', 'scipy', 'matplotlib', 'ase', 'numba', 'xarray', 'h5py'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
