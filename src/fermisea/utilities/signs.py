"""Text for a terminal: signs that its encoding cannot hold are spelt in ASCII, control characters are escaped."""

from __future__ import annotations

import codecs
import re
import sys
import unicodedata
from contextlib import suppress
from typing import Any

_HANDLER = "fermisea"
"""Name of the codec error handler."""

_SPELT = {
    "±": "+-",
    "×": "x",
    "·": "*",
    "−": "-",
    "–": "-",
    "—": "-",
    "→": "->",
    "←": "<-",
    "≤": "<=",
    "≥": ">=",
    "≈": "~",
    "∞": "inf",
    "∂": "d",
    "∇": "grad",
    "∫": "int",
    "√": "sqrt",
    "∑": "sum",
    "°": "deg",
    "µ": "mu",
    "Å": "A",
    "ß": "ss",
    "ø": "o",
    "Ø": "O",
    "ł": "l",
    "Ł": "L",
    "æ": "ae",
    "Æ": "AE",
    "“": '"',
    "”": '"',
    "„": '"',
    "‘": "'",
    "’": "'",
    "•": "*",
    "⁄": "/",
    "━": "-",
    "╸": "-",
    "╺": "-",
}

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
"""Characters that move the cursor, start an escape sequence, change the direction of the text or cannot be printed."""

_GREEK = re.compile(r"GREEK (SMALL|CAPITAL) LETTER (?:FINAL )?(\w+)")

_NAMED = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


def printable(text: str, keep: str = "") -> str:
    r"""Returns a text as one line with control characters in the notation of Python, for example ``\x1b`` and ``\n``.

    Args:
        text: any text, such as the name of a file.
        keep: control characters that stay.
    """
    return _CONTROL.sub(lambda match: match[0] if match[0] in keep else _escaped(match[0]), text)


def _escaped(sign: str) -> str:
    code = ord(sign)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is not UTF-8
        code -= 0xDC00
    short = f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    return _NAMED.get(sign, short if code < 0x10000 else f"\\U{code:08x}")


def spelt(text: str, encoding: str) -> str:
    """Returns a text in which ASCII spellings replace the signs that an encoding cannot hold."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.encode(encoding, _HANDLER).decode(encoding)
    return text


def spell_on(stream: Any) -> None:
    """Sets a stream to print ASCII spellings in place of signs that its encoding cannot hold."""
    with suppress(AttributeError, ValueError, OSError):  # a stream of another kind has no encoding
        stream.reconfigure(errors=_HANDLER)


def spell_on_standard_streams() -> None:
    """Sets standard output and standard error to print ASCII spellings."""
    for stream in (sys.stdout, sys.stderr):
        spell_on(stream)


def _spell(error: UnicodeError) -> tuple[str, int]:
    """Returns the spelling of the signs that cannot be encoded, and the place after them; a handler of codecs."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found, raised = "", False
    for sign in error.object[error.start : error.end]:
        up = unicodedata.decomposition(sign).startswith("<super>")
        found += "^" * (up and not raised) + _spelling(sign)
        raised = up
    return found, error.end


def _spelling(sign: str) -> str:
    if sign in _SPELT:
        return _SPELT[sign]
    name = unicodedata.name(sign, "")
    if name.startswith("BOX DRAWINGS"):
        return "+" if " AND " in name else "-" if name.endswith("HORIZONTAL") else "|"
    plain = "".join(part for part in unicodedata.normalize("NFKD", sign) if not unicodedata.combining(part))
    if plain and (text := "".join(_SPELT.get(part, part) for part in plain)).isascii():
        return text
    if len(plain) == 1 and (greek := _GREEK.match(unicodedata.name(plain, ""))):
        return greek[2].lower() if greek[1] == "SMALL" else greek[2].capitalize()
    return _escaped(sign)


codecs.register_error(_HANDLER, _spell)
