"""Mutations of bytes, of text with numbers, and of trees of plain data.

Every function takes a ``random.Random`` and returns the result with a description of the change.
"""

from __future__ import annotations

import copy
import json
import math
import random
import re
from typing import Any

NUMBERS = (
    "nan", "inf", "-inf", "1e400", "1e308", "-1e308", "1e-320", "0", "-1", "-0.0", "1e30", "99999999999999999999",
    "2147483648", "1_000", "0x10", "1.5.2", "1e", "--3", "abc", "", "1,5", "\u0663", "1/0", "************",
)  # fmt: skip
"""Words that replace a number in a text."""

VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 0.5, -0.5, 1e308, -1e308, 1e-320, math.nan, math.inf, -math.inf, 10**12, -(10**12),
    10**400, "", "text", "1.0", "nan", "x" * 20_000, "\u0000", "../../x", [], [1.0], [[]], [None], {}, {"a": 1},
    [math.nan] * 3, "pbe", [1, 2, 3], [0, 0, 0], [10**6, 10**6, 10**6], "NaN", "\ud800",
)  # fmt: skip
"""Values that replace a value in a tree."""

_NUMBER = re.compile(r"[-+]?\d+(?:\.\d*)?(?:[eEdD][-+]?\d+)?")
_WORD = re.compile(r"[A-Za-z_]\w*")


def mutated_bytes(rng: random.Random, data: bytes) -> tuple[bytes, str]:
    """Bits flipped, or ranges cut, repeated, zeroed, moved or inserted."""
    size = len(data)
    if size == 0:
        return rng.randbytes(rng.randrange(1, 100)), "random bytes"
    start = rng.randrange(size)
    length = min(rng.choice((1, 2, 4, 8, 64, 512, size)), size - start)
    before, piece, after = data[:start], data[start : start + length], data[start + length :]
    where = f"{length} bytes at {start}"
    match rng.randrange(11):
        case 0 | 1:
            flipped = bytearray(data)
            places = [rng.randrange(size) for _ in range(rng.choice((1, 1, 1, 2, 8, 64)))]
            for place in places:
                flipped[place] ^= 1 << rng.randrange(8)
            content, change = bytes(flipped), f"bits flipped at {places[:4]}"
        case 2:
            content, change = before, f"truncated at {start}"
        case 3:
            content, change = before + after, f"{where} deleted"
        case 4:
            content, change = before + piece + piece + after, f"{where} repeated"
        case 5:
            content, change = before + bytes(length) + after, f"{where} zeroed"
        case 6:
            content, change = before + b"\xff" * length + after, f"{where} set to 255"
        case 7:
            content, change = before + rng.randbytes(length) + after, f"{where} random"
        case 8:
            run = rng.choice((b"A" * 200_000, b"9" * 5000, b"\n" * 5000, b"(" * 5000))
            content, change = before + run + data[start:], f"a run of one character inserted at {start}"
        case 9:
            content, change = after + piece + before, f"blocks around {start} exchanged"
        case _:
            tail = rng.choice((b"\x00", b"\n", b"0.0\n", rng.randbytes(100), data[: min(size, 10_000)]))
            content, change = data + tail, f"{len(tail)} bytes appended"
    return content, change


def mutated_text(rng: random.Random, text: str) -> tuple[str, str]:
    """Numbers and words replaced; lines deleted, repeated, exchanged, joined or made very long."""
    choice = rng.randrange(14)
    if choice < 5:
        found = list(_NUMBER.finditer(text))
        if found:
            # headers come first and decide most
            match = found[rng.randrange(min(len(found), rng.choice((12, 40, len(found)))))]
            word = rng.choice((*NUMBERS, match[0] + "0", f"-{match[0]}", match[0].replace(".", "")))
            return text[: match.start()] + word + text[match.end() :], f"{match[0]} at {match.start()} became {word!r}"
    if choice < 7:
        found = list(_WORD.finditer(text))
        if found:
            match = found[rng.randrange(min(len(found), rng.choice((12, 40, len(found)))))]
            word = rng.choice(("", "X", "Al", "Xx", match[0].upper(), match[0] * 2, found[-1][0], "0", "None"))
            return text[: match.start()] + word + text[match.end() :], f"{match[0]} at {match.start()} became {word!r}"
    lines = text.splitlines(keepends=True) or [""]
    index, other = rng.randrange(min(len(lines), rng.choice((8, len(lines))))), rng.randrange(len(lines))
    match choice:
        case 7:
            lines.pop(index)
            change = "deleted"
        case 8:
            lines.insert(index, lines[index])
            change = "repeated"
        case 9:
            lines[index], lines[other] = lines[other], lines[index]
            change = f"exchanged with line {other}"
        case 10:
            lines[index] = lines[index].rstrip("\n")
            change = "joined with the next line"
        case 11:
            lines[index] = lines[index].rstrip("\n") * 3000 + "\n"
            change = "3000 times as long"
        case 12:
            lines[index] = rng.choice(("\ufeff", "\x00", "\r\n", "\u2028", "#", '"', "=")) + lines[index]
            change = "with a stray character"
        case _:
            lines = lines[:index]
            change = "and all after it deleted"
    return "".join(lines), f"line {index} {change}"


def mutated_tree(rng: random.Random, tree: Any) -> tuple[Any, str]:
    """One value of a tree of dictionaries and lists replaced, deleted, renamed, repeated, scaled or nested."""
    tree = copy.deepcopy(tree)
    places = list(_places(tree, ()))
    if not places:
        return rng.choice(VALUES), "replaced as a whole"
    path, parent, key = rng.choice(places)
    value, where = parent[key], ".".join(map(str, path))
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match rng.randrange(10):
        case 0 | 1 | 2 | 3:
            parent[key] = rng.choice(VALUES)
            change = f"became {str(parent[key])[:30]!r}"
        case 4:
            del parent[key]
            change = "deleted"
        case 5 if isinstance(parent, dict):
            parent[rng.choice(("", "unknown", str(key).upper(), str(key) + "_"))] = parent.pop(key)
            change = "renamed"
        case 5:
            parent.insert(key, copy.deepcopy(value))
            change = "repeated"
        case 6:
            parent[key] = [value]
            change = "in a list"
        case 7:
            parent[key] = str(value)
            change = "as text"
        case 8 if number:
            factor = rng.choice((-1, 2, 0.5, 1e6, 1e-6, 1e200))
            parent[key] = value * factor
            change = f"times {factor}"
        case 8 if isinstance(value, list) and value:
            parent[key] = value[: rng.randrange(len(value))]
            change = "shortened"
        case _:
            nest: Any = value
            for _ in range(rng.choice((3, 200))):
                nest = [nest]
            parent[key] = nest
            change = "nested"
    return tree, f"{where} {change}"


def _places(tree: Any, path: tuple[Any, ...]) -> Any:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for index, (key, value) in enumerate(items):
        if isinstance(tree, list) and 3 < index < len(tree) - 1:
            continue  # long arrays are alike inside
        yield (*path, key), tree, key
        yield from _places(value, (*path, key))


def mutated_json(rng: random.Random, data: bytes) -> tuple[bytes, str]:
    """A JSON document with another tree, text or bytes."""
    match rng.randrange(6):
        case 0:
            return mutated_bytes(rng, data)
        case 1:
            text, change = mutated_text(rng, data.decode())
            return text.encode(errors="replace"), change
        case 2 if rng.random() < 0.3:
            depth = rng.choice((500, 5000, 200_000))
            text = data.decode()
            found = list(_NUMBER.finditer(text))
            if found:
                match = rng.choice(found)
                deep = "[" * depth + match[0] + "]" * depth
                return (text[: match.start()] + deep + text[match.end() :]).encode(), f"{depth} brackets"
    tree, change = mutated_tree(rng, json.loads(data))
    return json.dumps(tree).encode(), change


def mutated_toml(rng: random.Random, values: dict[str, Any]) -> tuple[bytes, str]:
    """Settings as TOML with another tree, text or bytes."""
    match rng.randrange(4):
        case 0:
            return mutated_bytes(rng, toml(values).encode())
        case 1:
            text, change = mutated_text(rng, toml(values))
            return text.encode(errors="replace"), change
    tree, change = mutated_tree(rng, values)
    return toml(tree if isinstance(tree, dict) else {}).encode(errors="replace"), change


def toml(values: dict[str, Any]) -> str:
    """Settings as text; a value without a form in TOML is left out."""
    return "".join(f"{_quoted(name)} = {_toml(value)}\n" for name, value in values.items() if value is not None)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_quoted(name)} = {_toml(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, float):
        return str(value)  # nan and inf are TOML
    return _quoted("None") if value is None else json.dumps(value)


def _quoted(name: str) -> str:
    return json.dumps(name)
