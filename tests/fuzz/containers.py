"""Mutations of files with an inner structure: numpy arrays, HDF5, safetensors and zip archives.

Every function changes one file in place and returns a description of the change.
"""

from __future__ import annotations

import io
import json
import math
import random
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from fuzz.mutations import mutated_bytes, mutated_json, mutated_tree

_HEADERS = {
    "'descr'": ("'>f8'", "'<f4'", "'<f2'", "'|O'", "'<c16'", "'|S8'", "'<M8[s]'", "'|V8'", "'<i8'", "[('a','<f8')]"),
    "'fortran_order'": ("True", "None", "1"),
    "'shape'": ("()", "(-1,)", "(0, 0, 0)", "(10**12,)", "(10**6, 10**6, 1000, 11)", "(10, 10**15)", "[4, 4]", "None"),
}
_NEXT = {"'descr'": ", 'fortran", "'fortran_order'": ", 'shape", "'shape'": ", }"}


def mutated_npy(rng: random.Random, path: Path) -> str:
    """An array of another type or shape, with impossible values, or with another header."""
    data = path.read_bytes()
    if rng.random() < 0.4:
        content, change = mutated_bytes(rng, data)
        path.write_bytes(content)
        return change
    if rng.random() < 0.5:
        values = np.load(io.BytesIO(data))
        change = f"array {_array_change(rng, values)}"
        np.save(path, _changed(rng, values, change))
        return change
    end = data.index(b"\n") + 1
    header = data[10:end].decode("latin-1")
    name = rng.choice(sorted(_HEADERS))
    start = header.index(name) + len(name) + 2
    stop = header.index(_NEXT[name], start)
    value = rng.choice(_HEADERS[name])
    header = header[:start] + value + header[stop:]
    path.write_bytes(data[:8] + struct.pack("<H", len(header)) + header.encode("latin-1") + data[end:])
    return f"header {name} {value}"


_CHANGES = (
    "nan", "inf", "huge", "negative", "zero", "integers", "text", "complex", "booleans", "float32", "empty", "scalar",
    "transposed", "longer", "shorter", "flat", "big-endian", "shuffled", "one impossible value",
)  # fmt: skip


def _array_change(rng: random.Random, values: np.ndarray) -> str:
    return rng.choice([c for c in _CHANGES if values.dtype.kind in "fiu" or c in ("empty", "scalar", "longer", "text")])


def _changed(rng: random.Random, values: np.ndarray, change: str) -> np.ndarray:
    """The array after a change of ``_CHANGES``."""
    kind = change.removeprefix("array ")
    with np.errstate(all="ignore"):
        match kind:
            case "nan" | "inf" | "huge" | "one impossible value":
                result = values.astype(np.result_type(values.dtype, np.float32) if values.dtype.kind == "f" else float)
                if result.size:
                    value = {"nan": np.nan, "inf": np.inf, "huge": 1e30}.get(kind, -1e6)
                    result.flat[rng.randrange(result.size)] = value
            case "negative":
                result = -values if values.dtype.kind != "u" else values.astype(float) * -1
            case "zero":
                result = np.zeros_like(values)
            case "integers":
                result = values.astype(np.int16) if values.dtype.kind == "f" else values.astype(np.int64) * 2**40
            case "text":
                result = np.full(values.shape, b"text", dtype="S4")
            case "complex":
                result = values.astype(complex)
            case "booleans":
                result = values.astype(bool)
            case "float32":
                result = values.astype(np.float16 if values.dtype == np.float32 else np.float32)
            case "empty":
                result = values[:0] if values.ndim else np.zeros(0)
            case "scalar":
                result = np.asarray(values.flat[0] if values.size else 0.0)
            case "transposed":
                result = np.ascontiguousarray(values.T)
            case "longer":
                result = np.concatenate([values, values]) if values.ndim else np.zeros((2, 2))
            case "shorter":
                result = values[:-1] if values.ndim else values
            case "flat":
                result = values.ravel()
            case "big-endian":
                result = values.astype(values.dtype.newbyteorder(">"))
            case _:
                result = values.ravel().copy()
                np.random.default_rng(rng.randrange(1000)).shuffle(result)
                result = result.reshape(values.shape)
    return result


_ATTRIBUTES: tuple[Any, ...] = (
    "text", b"\xff\xfe", "", 0, -1, 1.5, math.nan, math.inf, 1e308, np.zeros(0), np.arange(5), np.int64(2**62), True,
    np.array(["a", "b"], dtype="S1"), h5py.Empty("f"), np.zeros((3, 3)), "{}", "[]", "null", "nan", "x" * 50_000, 1j,
)  # fmt: skip


def mutated_hdf5(rng: random.Random, path: Path) -> str:
    """An object or attribute of the file removed, renamed, or replaced by one of another type, shape or value."""
    with h5py.File(path, "r+") as file:
        items: list[str] = []
        file.visit(items.append)
        attributes = [(name, key) for name in ["/", *items] for key in _keys(file[name])]
        if attributes and rng.random() < 0.5:
            return _mutated_attribute(rng, file, *rng.choice(attributes))
        # names of one object among many alike, such as the components of a mesh, count once
        name = rng.choice(
            sorted({n if not n.rpartition("/")[2].isdigit() else n.rpartition("/")[0] + "/0" for n in items})
        )
        name = name if name in file else rng.choice(items)
        return _mutated_object(rng, file, name)


def _keys(item: Any) -> list[str]:
    # references between dimensions belong to the library, which is fragile without them
    return [
        key for key in item.attrs if key not in ("DIMENSION_LIST", "REFERENCE_LIST", "CLASS", "_Netcdf4Coordinates")
    ]


def _mutated_attribute(rng: random.Random, file: h5py.File, name: str, key: str) -> str:
    attributes = file[name].attrs
    value = attributes[key]
    match rng.randrange(6):
        case 0:
            del attributes[key]
            return f"attribute {name}@{key} deleted"
        case 1:
            attributes[key + "_"] = value
            del attributes[key]
            return f"attribute {name}@{key} renamed"
        case 2 if isinstance(value, str) and value[:1] in "{[":
            changed, change = mutated_json(rng, value.encode())
            attributes[key] = changed.decode(errors="replace").replace("\x00", "?")[:60_000]
            return f"attribute {name}@{key}: {change}"
        case 3 if isinstance(value, np.number | np.ndarray) and np.asarray(value).dtype.kind in "fiu":
            factor = rng.choice((-1, 2, 0, 1e6))
            attributes[key] = np.asarray(value, dtype=float) * factor
            return f"attribute {name}@{key} times {factor}"
        case _:
            new = rng.choice(_ATTRIBUTES)
            attributes[key] = new
            return f"attribute {name}@{key} became {str(new)[:30]!r}"


def _mutated_object(rng: random.Random, file: h5py.File, name: str) -> str:
    item = file[name]
    kept = {key: item.attrs[key] for key in _keys(item)}
    values, kind = (np.asarray(item[()]), item.dtype) if isinstance(item, h5py.Dataset) else (None, None)
    choice = rng.randrange(10)
    if choice == 1:
        file.move(name, f"{name}_")
        return f"{name} renamed"
    del file[name]
    if choice == 0:
        change = "deleted"
    elif choice == 2:
        file.create_group(name).attrs.update(kept)
        change = "became an empty group"
    elif choice == 3:
        link = rng.choice((h5py.SoftLink(f"/{name}"), h5py.SoftLink("/nothing"), h5py.ExternalLink("/dev/null", "/x")))
        file[name] = link
        change = f"became {type(link).__name__}"
    elif values is None:
        file.create_dataset(name, data=np.zeros(3)).attrs.update(kept)
        change = "became numbers"
    elif choice == 4:
        shape = tuple(10**5 for _ in values.shape) or (10**10,)
        chunks = tuple(min(n, 64) for n in shape)
        file.create_dataset(name, shape=shape, dtype=kind, chunks=chunks).attrs.update(kept)
        change = f"became huge and without content, {shape}"
    else:
        change = _array_change(rng, values)
        file.create_dataset(name, data=_changed(rng, values, change)).attrs.update(kept)
    return f"{name} {change}"


def mutated_safetensors(rng: random.Random, path: Path, reseal: Callable[[dict[str, Any], Any], None] | None) -> str:
    """The header, its JSON entry or a tensor changed; ``reseal`` then makes the checksum right again."""
    if reseal is None and rng.random() < 0.4:
        data = path.read_bytes()
        size = int.from_bytes(data[:8], "little")
        header, change = mutated_json(rng, data[8 : 8 + size])
        stated = rng.choice((len(header), len(header), len(header), size, 0, 2**63, 2**40, len(data)))
        path.write_bytes(stated.to_bytes(8, "little") + header + data[8 + size :])
        return f"header {change}, stated length {stated}"
    with safe_open(path, framework="pt") as stream:
        entry = json.loads(stream.metadata()["fermisea"])
        tensors = {name: stream.get_tensor(name).clone() for name in stream.keys()}  # noqa: SIM118
    if rng.random() < 0.6:
        entry, change = mutated_tree(rng, entry)
    else:
        name = rng.choice(sorted(tensors))
        values = tensors.pop(name).numpy()
        change = f"tensor {name} " + rng.choice((_array_change(rng, values), "removed", "renamed"))
        if change.endswith("renamed"):
            tensors[name + "_"] = torch.from_numpy(values)
        elif not change.endswith("removed"):
            new = _changed(rng, values, change.removeprefix(f"tensor {name} "))
            known = new.dtype.isnative and new.dtype.kind not in "Sc"
            tensors[name] = torch.from_numpy(np.array(new if known else np.zeros(0)))
    if reseal is not None and isinstance(entry, dict):
        reseal(entry, tensors)
    save_file(tensors, path, {"fermisea": json.dumps(entry)})
    return change


def mutated_zip(rng: random.Random, path: Path) -> str:
    """A file of the archive changed, renamed, repeated, removed or made a bomb; or the bytes of the archive changed."""
    if rng.random() < 0.2:
        data, change = mutated_bytes(rng, path.read_bytes())
        path.write_bytes(data)
        return change
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(sorted(files))
    extra: list[tuple[str | zipfile.ZipInfo, bytes]] = []
    compression = zipfile.ZIP_STORED
    match rng.randrange(9):
        case 0:
            new = rng.choice(("../../x", "/x", "C:\\x", "a/../../x", "-", "\u2028", "x" * 60_000, "m.unknown"))
            files[new] = files.pop(name)
            change = f"{name} renamed to {new[:20]!r}"
        case 1:
            del files[name]
            change = f"{name} removed"
        case 2:
            extra, change = [(f"other.{name}", files[name])], f"{name} twice"
        case 3:
            compression = zipfile.ZIP_DEFLATED
            files[name] = bytes(rng.choice((2**26, 2**27)))
            change = f"{name} became a bomb"
        case 4:
            link = zipfile.ZipInfo("link")
            link.external_attr = (stat.S_IFLNK | 0o777) << 16
            extra, change = [(link, b"/etc/passwd")], "a link"
        case _:
            changed = mutated_json if name.endswith(".json") else mutated_bytes
            files[name], change = changed(rng, files[name])
            change = f"{name}: {change}"
    with zipfile.ZipFile(path, "w", compression) as archive:
        for entry, content in [*files.items(), *extra]:
            archive.writestr(entry, content)
    return change
