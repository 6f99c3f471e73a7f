"""MALA's files in the test data, and archives made from them."""

from __future__ import annotations

import hashlib
import json
import pickle
import sys
import types
import zipfile
from pathlib import Path
from unittest.mock import patch

import numpy as np

from fermisea.errors import FermiseaError
from fermisea.grid import EnergyGrid
from fermisea.interop import mala
from fermisea.physics.broadening import Broadening

DATA = Path(__file__).parent / "data"
BE2, MADE = DATA / "mala-be2", DATA / "mala-made"
MODEL = BE2 / "Be_model.zip"
ENERGIES = EnergyGrid(-5.0, 2.5, 11)
KERNEL = Broadening("fermi-dirac derivative", np.pi / np.sqrt(3) * 5.0)
EXPECTED = json.loads((BE2 / "expected.json").read_text())


def be_snapshot(number: int = 0, ldos: str | Path | None = None, **options):
    """One of MALA's snapshots, read."""
    options = {"broadening": KERNEL} | options
    ldos = BE2 / (ldos or f"Be_snapshot{number}.out.npy")
    return mala.load_snapshot(ldos, BE2 / f"Be_snapshot{number}.info.json", ENERGIES, **options)


def members(archive: Path = MODEL) -> dict[str, bytes]:
    """The files in an archive by the end of their name, such as "params.json"."""
    with zipfile.ZipFile(archive) as opened:
        return {name.split(".", 1)[1]: opened.read(name) for name in opened.namelist()}


def write_archive(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """An archive like MALA's with these files."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for ending, content in files.items():
            archive.writestr(f"m.{ending}", content)
    return path


def with_parameters(path: Path, section: str, **entries) -> Path:
    """The beryllium model with other parameters."""
    files = members()
    parameters = json.loads(files["params.json"])
    parameters[section] |= entries
    return write_archive(path, files | {"params.json": json.dumps(parameters).encode()})


def digest(folder: Path) -> dict[str, str]:
    """What tells whether any file of a folder changed."""
    return {
        path.name: f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.stat().st_mtime_ns}"
        for path in sorted(folder.iterdir())
        if path.is_file()
    }


def refusal(load, *arguments, **options) -> str:
    """The one line that a call is refused with."""
    try:
        load(*arguments, **options)
    except FermiseaError as error:
        text = str(error)
    else:
        raise AssertionError("nothing was refused")
    assert "\n" not in text, text
    return text


def pickled_scaler(entries: dict[str, object], protocol: int = 4) -> bytes:
    """The pickle of an object that bears the name of MALA's scaler; MALA need not be there."""
    names = ("mala", "mala.datahandling", "mala.datahandling.data_scaler")
    modules = {name: types.ModuleType(name) for name in names}
    scaler = type("DataScaler", (), {"__module__": names[-1]})
    modules[names[-1]].DataScaler = scaler
    made = scaler()
    made.__dict__ |= entries
    with patch.dict(sys.modules, modules):
        return pickle.dumps(made, protocol)
