"""Formats of other programs: cube, structure files, UPF, files of MALA, openPMD."""

from __future__ import annotations

import json
import random
import shutil
import warnings
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator

from fermisea.data.structures import read_frames, read_structures
from fermisea.data.trajectories import thin
from fermisea.interop import mala, openpmd
from fermisea.interop.cube import read_cube, write_cube
from fermisea.pseudopotentials import load_upf
from fuzz.containers import mutated_hdf5, mutated_npy, mutated_zip
from fuzz.kinds import Format
from fuzz.mutations import mutated_bytes, mutated_json, mutated_text
from fuzz.own_formats import bytes_of_file, snapshot_values
from mala_files import BE2, DATA, ENERGIES, KERNEL, MADE
from synthetic import made_up_snapshot, structure

_COARSE = 3
"""Every third point of MALA's grid, along each axis."""


def _text_of(*names: str) -> Any:
    """A damage to the text of one of the files, or seldom to its bytes."""

    def damage(rng: random.Random, folder: Path) -> str:
        name = rng.choice(names)
        if rng.random() < 0.2:
            return f"{name}: {bytes_of_file(name)(rng, folder)}"
        text, change = mutated_text(rng, (folder / name).read_text(encoding="utf-8"))
        (folder / name).write_bytes(text.encode(errors="replace"))
        return f"{name}: {change}"

    return damage


def _cube(folder: Path) -> None:
    snapshot = made_up_snapshot(0, shape=(4, 4, 5))
    write_cube(folder / "al.cube", snapshot.atoms, snapshot.density)


def _frames(folder: Path) -> None:
    frames = [structure(seed) for seed in range(12)]
    ase.io.write(folder / "al.extxyz", frames[0])
    for seed, frame in enumerate(frames):
        frame.set_momenta(np.random.default_rng(seed).normal(size=(4, 3)))
        frame.calc = SinglePointCalculator(frame, energy=-12.0 + 0.1 * (-1) ** seed, forces=np.zeros((4, 3)))
    ase.io.write(folder / "md.extxyz", frames)


def _read_structures(folder: Path) -> Any:
    thinned = thin(read_frames(folder / "md.extxyz"), 2, 300.0)
    return read_structures(folder / "al.extxyz"), thinned


def _predict(folder: Path) -> list[str]:
    return ["predict", "aluminium", str(folder / "al.extxyz"), "--no-density", "--grid", "4", "4", "4", "--json"]


def _upf(folder: Path) -> None:
    shutil.copy(DATA / "pseudopotentials" / "Al.pz-vbc.UPF", folder / "Al.UPF")


def _read_upf(folder: Path) -> Any:
    potential = load_upf(folder / "Al.UPF", momentum=12.0)
    names = ("symbol", "valence", "functional", "core", "channels", "local")  # without the hash of the file
    return {name: getattr(potential, name) for name in names}


def _mala(folder: Path) -> None:
    """MALA's snapshot on a coarse grid, as numpy arrays, and the snapshot of the package as MALA's openPMD."""
    ldos = np.load(BE2 / "Be_snapshot0.out.npy")[::_COARSE, ::_COARSE, ::_COARSE]
    info = json.loads((BE2 / "Be_snapshot0.info.json").read_text())
    info["grid_dimensions"] = list(ldos.shape[:3])
    info["voxel"]["array"] = (_COARSE * np.array(info["voxel"]["array"])).tolist()
    np.save(folder / "be.out.npy", ldos)
    (folder / "be.info.json").write_text(json.dumps(info))


def _mala_openpmd(folder: Path) -> None:
    _mala(folder)
    snapshot = mala.load_snapshot(folder / "be.out.npy", folder / "be.info.json", ENERGIES, broadening=KERNEL)
    openpmd.write_snapshot(folder / "be.h5", snapshot)


def _damaged_mala(rng: random.Random, folder: Path) -> str:
    if rng.random() < 0.5:
        return mutated_npy(rng, folder / "be.out.npy")
    content, change = mutated_json(rng, (folder / "be.info.json").read_bytes())
    (folder / "be.info.json").write_bytes(content)
    return change


def _mala_snapshot(name: str) -> Any:
    def read(folder: Path) -> Any:
        snapshot = mala.load_snapshot(folder / name, folder / "be.info.json", ENERGIES, broadening=KERNEL)
        values = {key: getattr(snapshot, key) for key in snapshot_values} | {"ldos": snapshot.ldos}
        given = json.loads((folder / "be.info.json").read_bytes())
        reference = {field: getattr(snapshot.reference, field) for field in ("electrons", "forces", "parts")}
        # documented as not a number where MALA's file has none
        names = ("fermi_energy_dft", "total_energy_dft_calculation", "entropy_contribution_dft_calculation")
        for key, field in zip(names, ("fermi_level", "free_energy", "entropy_term"), strict=True):
            reference[field] = getattr(snapshot.reference, field) if given.get(key) is not None else None
        return values | {"reference": reference}

    return read


def _convert_mala(*names: str) -> Any:
    energies = [] if names[0].endswith(".zip") else ["--energies", "-5", "2.5", "11"]
    out = "out.safetensors" if names[0].endswith(".zip") else "out.nc"
    return lambda folder: [
        "convert", "mala", *(str(folder / name) for name in names), *energies, "--broadening", "5", "--out",
        str(folder / out),
    ]  # fmt: skip


def _mala_model(folder: Path) -> None:
    shutil.copy(MADE / "single.zip", folder / "be.zip")
    shutil.copy(MADE / "split.zip", folder / "split.zip")


def _damaged_archive(rng: random.Random, folder: Path) -> str:
    name = rng.choice(("be.zip", "split.zip"))
    return f"{name}: {mutated_zip(rng, folder / name)}"


def _read_archives(folder: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        models = [mala.load_model(folder / name, broadening=KERNEL) for name in ("be.zip", "split.zip")]
    return [
        (model.network, model.energy_grid, model.ions, model.highest_electron_temperature, model.grid_spacing)
        for model in models
    ]


def _openpmd(folder: Path) -> None:
    openpmd.write_snapshot(folder / "al.h5", made_up_snapshot(0, shape=(4, 4, 4)))


def _hdf5_of(name: str) -> Any:
    """A damage to an HDF5 file: to an object or attribute, or seldom to its bytes."""

    def damage(rng: random.Random, folder: Path) -> str:
        if rng.random() < 0.25:
            content, change = mutated_bytes(rng, (folder / name).read_bytes())
            (folder / name).write_bytes(content)
            return change
        return mutated_hdf5(rng, folder / name)

    return damage


def _read_openpmd(folder: Path) -> Any:
    snapshot = openpmd.read_snapshot(folder / "al.h5")
    fields = openpmd.read_fields(folder / "al.h5")
    kept = [(f.atoms, f.grid, f.density, f.ldos, f.energy_grid) for f in fields]
    return {key: getattr(snapshot, key) for key in snapshot_values} | {"ldos": snapshot.ldos, "fields": kept}


FORMATS = (
    Format("cube", _cube, _text_of("al.cube"), lambda folder: read_cube(folder / "al.cube")),
    Format("extended XYZ", _frames, _text_of("al.extxyz", "md.extxyz"), _read_structures, _predict),
    Format("UPF", _upf, _text_of("Al.UPF"), _read_upf),
    Format(
        "MALA, numpy and JSON",
        _mala,
        _damaged_mala,
        _mala_snapshot("be.out.npy"),
        _convert_mala("be.out.npy", "be.info.json"),
    ),
    Format(
        "MALA, openPMD",
        _mala_openpmd,
        _hdf5_of("be.h5"),
        _mala_snapshot("be.h5"),
        _convert_mala("be.h5", "be.info.json"),
    ),
    Format("MALA, zip", _mala_model, _damaged_archive, _read_archives, _convert_mala("be.zip")),
    Format(
        "openPMD",
        _openpmd,
        _hdf5_of("al.h5"),
        _read_openpmd,
        lambda folder: ["convert", "openpmd", str(folder / "al.h5"), "--out", str(folder / "out.nc")],
    ),
)
