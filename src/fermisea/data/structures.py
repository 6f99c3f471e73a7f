"""Structure files in any format of ASE, checked before a long computation starts."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.io.formats import (
    IOFormat,
    UnknownFileTypeError,
    filetype,
    get_compression,
    ioformats,
    open_with_compression,
)

from fermisea.errors import InputError
from fermisea.grid import check_structure
from fermisea.utilities.files import atomic_path

_OTHER_CONTENT = ("db", "json", "lammps-data")
"""Formats of ASE that hold structures or something else; in a folder, such a file is skipped if it is no structure."""

_FIELDS = ("cube",)
"""Formats of densities and other fields, which hold a structure too; in a folder they are skipped."""

_COUNTED = ("extxyz", "xyz")
"""Formats in which each frame begins with its number of atoms."""

_LARGEST = 1e9
"""Largest energy (eV) and momentum (units of ASE) in a trajectory; an atom has less at the speed of light."""

_NAMED = 10
"""Largest number of skipped files that a warning names."""


def read_structures(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> dict[str, Atoms]:
    """Returns checked structures by name, in the order given and by file name within a folder.

    The name of a structure is the file name without suffix, followed by the frame number if there are several frames:
    ``al-0003``. From a folder, files are read that ASE recognizes by their names as structures in a format that it can
    read and write, such as ``al.extxyz``, ``POSCAR_2`` or ``al.xyz.gz``; a warning names the others.

    Args:
        paths: files in any format of ASE, single frames given as ``FILE@3``, or folders. If a file with the name
            ``FILE@3`` exists, the whole file is read.

    Raises:
        InputError: if a file cannot be read, a structure is invalid, or two structures have the same name.
    """
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    structures: dict[str, Atoms] = {}
    origin: dict[str, Path] = {}
    for file, index in (item for path in paths for item in _files(Path(path))):
        frames, stem = _read(file, index), _stem(file)
        for number, atoms in enumerate(frames):
            name = stem if len(frames) == 1 else f"{stem}-{number:04d}"
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
        _check_dynamics(atoms, f"{path}, frame {number}")
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
    """Returns each file of a path with its requested frame; None for all frames."""
    if path.is_dir():
        return [(file, None) for file in _structure_files(path)]
    base, _, index = path.name.rpartition("@")
    if base and not path.exists() and index.lstrip("-").isdigit():
        return [(path.with_name(base), int(index))]
    return [(path, None)]


def _structure_files(folder: Path) -> list[Path]:
    """Returns the structure files of a folder, with a warning that names everything else in it."""
    found: list[Path] = []
    skipped: list[str] = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_file() and _is_structure(path):
            found.append(path)
        else:
            skipped.append(f"{path.name}/" if path.is_dir() else path.name)
    names = ", ".join(skipped[:_NAMED]) + (f" and {len(skipped) - _NAMED} more" if len(skipped) > _NAMED else "")
    known = "expected names that ASE recognizes as structures, such as al.extxyz, al.cif or POSCAR"
    if not found:
        raise InputError(f"{folder}: no structure files in this folder{f' ({names})' if names else ''}, {known}")
    if skipped:
        warnings.warn(f"{folder}: skipped {names}, {known}; give a file with another name by itself", stacklevel=5)
    return found


def _is_structure(file: Path) -> bool:
    """Returns whether ASE recognizes the name of a file as a structure in a format that it reads and writes."""
    form = _format(str(file.absolute()))
    if form is None or form.name in _FIELDS or not (form.can_read and form.can_write):
        return False
    if form.name not in _OTHER_CONTENT:
        return True
    try:
        return bool(_read(file, None))
    except InputError:
        return False


def _format(name: str) -> IOFormat | None:
    """Returns the format that ASE recognizes by the name of a file, if any."""
    try:
        return ioformats.get(filetype(name, read=False))
    except UnknownFileTypeError:
        return None


def _format_before_at_sign(file: Path) -> str | None:
    """Returns the format of a file such as ``al.extxyz@0``; None for other names, which ASE recognizes itself."""
    base, sign, _ = file.name.rpartition("@")
    form = _format(f"/{base}") if sign and _format(f"/{file.name}") is None else None
    return None if form is None else form.name


def _stem(file: Path) -> str:
    """Returns the name of a file without suffix and compression; the number in ``POSCAR.2`` is no suffix."""
    name = Path(get_compression(file.name)[0])
    numbered = _format(f"/{name.stem}") is not None and _format(f"/structure{name.suffix}") is None
    return name.name if numbered else name.stem


def _read(file: Path, index: int | None) -> list[Atoms]:
    if not file.is_file():
        raise InputError(f"{file}: no such file or folder; give an existing structure file")
    named = _format_before_at_sign(file)
    _check_elements(file, named)
    try:
        _check_atom_counts(file, named)
        frames = ase.io.read(
            file.absolute(),  # a relative name such as postgres/al.cif would be a database
            index=":" if index is None else index,
            format=named,
            do_not_split_by_at_sign=True,
        )
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


def _check_elements(file: Path, named: str | None) -> None:
    """Raises InputError for a LAMMPS data file without masses, whose atom types ASE would take for atomic numbers."""
    form = named or getattr(_format(str(file.absolute())), "name", None)
    if form != "lammps-data":
        return
    with suppress(OSError, UnicodeDecodeError), file.open(encoding="utf-8") as stream:  # errors of reading follow
        if not any(line.split("#")[0].strip() == "Masses" for line in stream):
            raise InputError(
                f"{file}: a LAMMPS data file without masses, so the elements of its atom types are unknown; add a "
                "section Masses, or convert the structure to extended XYZ with its elements"
            )


def _check_dynamics(atoms: Atoms, name: str) -> None:
    """Raises InputError for an energy or momenta that are not numbers of a trajectory."""
    results = getattr(atoms.calc, "results", {})
    for what, value, unit in (
        ("the energy", results.get("energy", 0.0), "eV"),
        ("a momentum", atoms.arrays.get("momenta", np.zeros(3)), "units of ASE"),
    ):
        try:
            numbers = np.asarray(value, dtype=float)
        except (TypeError, ValueError):
            numbers = np.array(np.nan)
        bad = ~(np.abs(numbers) < _LARGEST)
        if bad.any():
            got = np.asarray(value)[bad].ravel()[0]
            raise InputError(
                f"{name}: {what} is {got}, expected a finite number below {_LARGEST:g} in {unit}; correct the frame"
            )


def _check_atom_counts(file: Path, named: str | None) -> None:
    """Raises ValueError if a frame of an XYZ file states more atoms than lines follow; ASE would count them all."""
    form = _format(f"/{file.name}")
    if (named or (form.name if form else "")) not in _COUNTED:
        return
    with open_with_compression(str(file)) as stream:
        while (line := stream.readline()).strip():
            try:
                count = int(line)
            except ValueError:
                return  # ASE names the fault
            left = sum(1 for _ in islice(stream, count + 1)) - 1 if 0 <= count < sys.maxsize else -1
            if count < 0 or left < count:
                raise ValueError(f"a frame states {line.strip()[:20]} atoms, but {max(left, 0)} lines follow")
