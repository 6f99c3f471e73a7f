"""Text for terminals of every encoding: spellings of signs, and names as they are."""

from __future__ import annotations

import io
import json
import sys

import pytest

from fermisea.campaign import Record
from fermisea.campaign.run import Outcome
from fermisea.cli import main
from fermisea.prediction.domain import Domain
from fermisea.terminal import CampaignView, PlainConsole, facts, fail, table
from fermisea.utilities.counts import counted
from fermisea.utilities.signs import printable, spelt
from synthetic import made_up_snapshot

ENCODINGS = ("ascii", "cp1252", "latin-1", "utf-8")
NAMES = {
    "[red]x[bold]": "[red]x[bold]",
    "[link=a]b": "[link=a]b",
    "al:warning:": "al:warning:",
    "a@1  'b' \"c\"": "a@1  'b' \"c\"",
    "two\nlines": r"two\nlines",
    "over\rwritten\t": r"over\rwritten\t",
    "\x1b[31mred\x9b2J": r"\x1b[31mred\x9b2J",
    "\u202egnp": r"\u202egnp",
    "\udcff": r"\xff",
    "Å漢": "Å漢",
}


@pytest.fixture
def stream(monkeypatch):
    """Replaces standard output by one with an encoding, and returns a function for the text written to it."""

    def replace(encoding):
        written = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding, errors="strict"))
        return lambda: (sys.stdout.flush(), written.getvalue().decode(encoding))[1]

    return replace


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    file = tmp_path_factory.mktemp("data") / "al.nc"
    made_up_snapshot(0).save(file)
    return file


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10⁵ J/m³/K", "10^5 J/m^3/K"),
        ("Å⁻¹", "A^-1"),
        ("µ μ τ Ω ς φ", "mu mu tau Omega sigma phi"),
        ("±2 − 1 → ≈ ∞ × 3°", "+-2 - 1 -> ~ inf x 3deg"),
        ("— … “a”", '- ... "a"'),
        ("H₂O ½ é Ö ß", "H2O 1/2 e O ss"),
        ("│─┌┼", "|-++"),
        ("漢😀", r"\u6f22\U0001f600"),
        ("plain", "plain"),
    ],
)
def test_signs_are_spelt_where_the_encoding_lacks_them(text, expected):
    assert spelt(text, "ascii") == expected
    assert spelt(text, "utf-8") == text


def test_signs_of_an_encoding_stay():
    assert spelt("10⁵ Å³ ± µ τ", "latin-1") == "10^5 Å³ ± µ tau"
    assert spelt("— τ", "cp1252") == "— tau"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_command_prints_in_every_encoding(snapshot, stream, encoding):
    text = stream(encoding)
    assert main(["info", str(snapshot)]) == 0
    assert spelt("volume (Å³)", encoding) in text()
    assert "?" not in text()
    text = stream(encoding)
    assert main(["info", str(snapshot), "--json"]) == 0
    assert text().isascii()
    assert json.loads(text())["atoms"] == 4


def test_help_is_printed_in_every_encoding(stream):
    text = stream("ascii")
    assert main(["predict", "--help"]) == 0
    assert "bohr^3" in text()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_columns_of_a_table_are_wide_enough_for_the_spelling(stream, encoding):
    text = stream(encoding)
    PlainConsole(width=80).print(table("10⁵ Å³", ["C (10⁵ J/m³/K)", "τ ± (Å)"], [("1", "—"), ("2", "3 ± 4")]))
    title, *lines = text().splitlines()
    assert title.strip() == spelt("10⁵ Å³", encoding)
    assert len({len(line.rstrip()) for line in lines}) == 1
    assert spelt("C (10⁵ J/m³/K)", encoding) in lines[1]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("width", [200, 80, 70, 50, 20])
def test_narrow_tables_break_at_spaces_only(stream, encoding, width):
    text = stream(encoding)
    heads = ["tau_e (K)", "F (eV/atom)", "transfer error (meV/atom)", "spread (meV/atom)", "-TS (eV/atom)", "τ (Å)"]
    cells = ["1000", "-56.41123", "0.000", "1 ± 2", "-0.00876", "Al first.h5"]
    PlainConsole(width=width, soft_wrap=True).print(table("Al", heads, [cells]))
    lines = text().splitlines()[1:]
    assert all(spelt(cell, encoding) in lines[-1 if "0.000" in lines[-1] else -2] for cell in cells)
    words = " ".join(lines).replace("│", " ").replace("┃", " ").replace("|", " ").split()
    assert set(spelt(" ".join(heads), encoding).split()) <= set(words)
    longest = max(map(len, lines))
    assert longest <= width if width >= 70 else width < longest <= 70
    assert len({len(line) for line in lines}) == 1


def test_one_thing_is_in_the_singular():
    assert [counted(number, "atom") for number in (0, 1, 2)] == ["0 atoms", "1 atom", "2 atoms"]


def test_long_values_break_at_spaces_only(stream):
    text = stream("utf-8")
    path = "/a/long/path/" + "x" * 40
    PlainConsole(width=40, soft_wrap=True).print(facts("file", {"path": path, "shift": ["0.123456"] * 9}))
    lines = text().splitlines()
    assert lines[1].endswith(path)
    assert [line.split().count("0.123456") for line in lines[2:]] == [6, 3]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_printed_as_they_are(name, stream, capsys):
    shown = NAMES[name]
    assert printable(name) == shown
    text = stream("utf-8")
    console = PlainConsole(width=200, soft_wrap=True)
    console.print(f"files: {name}")
    console.print(table(name, ["structure", "F"], [(name, "1")]))
    console.print(facts(name, {"name": name}))
    first, title, _, _, _, row, _, second, fact = text().splitlines()
    assert first == f"files: {shown}"
    assert title.strip() == second.strip() == shown
    assert row.strip("│ ").startswith(shown.strip())
    assert fact.split(maxsplit=1)[1].strip() == shown.strip()
    assert fail(f"{name}: no such file", 2) == 2
    assert capsys.readouterr().err == f"fermisea: {shown}: no such file\n"


@pytest.mark.parametrize("name", NAMES)
def test_a_campaign_prints_the_names_of_structures_as_they_are(name, stream, tmp_path):
    text = stream("utf-8")
    view = CampaignView(PlainConsole(width=40), 1, 1)
    view.end(Outcome(name, tmp_path / "a.nc", "failed", Record(name, "failed"), error=f"{name}: [/] no"))
    assert text() == f"failed   {NAMES[name]}: {NAMES[name]}: [/] no\n"


def test_descriptions_are_ascii():
    domain = Domain(("Al",), (300.0, 3000.0), volume_per_atom=(15.0, 18.0), distances={"Al-Al": 2.2})
    assert repr(domain) == (
        "Domain: Al, tau_e 300 to 3000 K without a tail\nvolume 15.00 to 18.00 A^3 per atom\n"
        "distance Al-Al at least 2.20 A"
    )
