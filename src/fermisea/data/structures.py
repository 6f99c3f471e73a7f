"""Structure files in any format of ASE, checked before a long computation starts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import ase.io
from ase import Atoms

from fermisea.errors import InputError
from fermisea.grid import check_structure
from fermisea.utilities.files import atomic_path

SUFFIXES = (".cfg", ".cif", ".extxyz", ".poscar", ".traj", ".vasp", ".xyz")
"""Suffixes of structure files in a folder."""


def read_structures(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> dict[str, Atoms]:
    """Returns checked structures by name, in the order given and by file name within a folder.

    The name of a structure is the file name without suffix, followed by the frame number if there are several frames:
    ``al-0003``.

    Args:
        paths: files in any format of ASE, single frames given as ``FILE@3``, or folders.

    Raises:
        InputError: if a file cannot be read, a structure is invalid, or two structures have the same name.
    """
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    structures: dict[str, Atoms] = {}
    origin: dict[str, Path] = {}
    for file, index in (item for path in paths for item in _files(Path(path))):
        frames = _read(file, index)
        for number, atoms in enumerate(frames):
            name = file.stem if len(frames) == 1 else f"{file.stem}-{number:04d}"
            if name in structures:
                raise InputError(
                    f"{file}: its structure would have the name {name}, the same as the structure of {origin[name]}; "
                    "rename one file"
                )
            check_structure(atoms, str(file) if len(frames) == 1 else f"{file}, frame {number}")
            structures[name], origin[name] = atoms, file
    return structures


def read_structure(path: str | os.PathLike[str]) -> Atoms:
    """Returns the only structure in a file, or the frame given as ``FILE@3``.

    Raises:
        InputError: if the file cannot be read, the structure is invalid, or there are several structures.
    """
    structures = read_structures(path)
    if not structures:
        raise InputError(f"{path}: holds no structure, expected one")
    if len(structures) != 1:
        raise InputError(f"{path}: holds {len(structures)} structures, expected one; choose a frame as in {path}@0")
    return next(iter(structures.values()))


def read_frames(path: str | os.PathLike[str]) -> list[Atoms]:
    """Returns all frames of a trajectory after checking them, with energies and momenta if the file has them.

    Raises:
        InputError: if the file cannot be read or a frame is invalid.
    """
    frames = _read(Path(path), None)
    for number, atoms in enumerate(frames):
        check_structure(atoms, f"{path}, frame {number}")
    return frames


def write_structure(path: str | os.PathLike[str], atoms: Atoms) -> None:
    """Writes elements, positions, cell and ``atoms.info`` as extended XYZ, atomically."""
    with atomic_path(path) as temporary:
        ase.io.write(temporary, atoms, format="extxyz", columns=["symbols", "positions"], write_results=False)


def write_results(path: str | os.PathLike[str], frames: Sequence[Atoms]) -> None:
    """Writes structures with the results of their calculators as extended XYZ, atomically."""
    with atomic_path(path) as temporary:
        ase.io.write(temporary, frames, format="extxyz")


def _files(path: Path) -> list[tuple[Path, int | None]]:
    if path.is_dir():
        found = sorted(
            file
            for file in path.iterdir()
            if file.is_file() and not file.name.startswith(".") and file.suffix.lower() in SUFFIXES
        )
        if not found:
            raise InputError(
                f"{path}: no structure files in this folder, expected names ending with {', '.join(SUFFIXES)}"
            )
        return [(file, None) for file in found]
    base, _, index = path.name.rpartition("@")
    if base and not path.exists() and index.lstrip("-").isdigit():
        return [(path.with_name(base), int(index))]
    return [(path, None)]


def _read(file: Path, index: int | None) -> list[Atoms]:
    if not file.is_file():
        raise InputError(f"{file}: no such file or folder; give an existing structure file")
    try:
        frames = ase.io.read(file, index=":" if index is None else index)
    except Exception as error:
        # The readers of ASE raise many kinds of exceptions for invalid files.
        if isinstance(error, (StopIteration, IndexError)) and index is not None:
            raise InputError(
                f"{file}@{index}: got frame {index}, which is not in the file; frames are counted from 0"
            ) from error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{file}: not a structure file that ASE can read ({reason}); check format and file name extension"
        ) from error
    return frames if isinstance(frames, list) else [frames]
