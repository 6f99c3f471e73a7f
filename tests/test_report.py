"""Pages from folders of figures and tables."""

from __future__ import annotations

import base64
import errno
import json
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from fermisea.cli import main
from fermisea.errors import InputError, StorageError
from fermisea.plots import save_figure
from fermisea.report import Section, add_sections, read_sections, write_report, write_sections
from fermisea.utilities.tables import write_csv


@pytest.fixture
def folder(tmp_path):
    figure = Figure(figsize=(1, 1))
    figure.subplots().plot([0, 1], [0, 1])
    save_figure(figure, tmp_path / "figures" / "line")
    write_csv(tmp_path / "errors.csv", [{"tau_e": 300.0, "F <eV>": 1.23456789, "name": "a & b", "sha256": "0" * 64}])
    return tmp_path


def test_a_folder_without_words_of_its_own_shows_all_it_has(folder):
    title, sections, _ = read_sections(folder)
    assert title == folder.name
    assert sections == [
        Section("Errors", tables=("errors.csv",)),
        Section("figures/line", figures=("figures/line.png",)),
    ]
    text = write_report(folder).read_text(encoding="utf-8")
    content = base64.b64encode((folder / "figures" / "line.png").read_bytes()).decode()
    assert f'src="data:image/png;base64,{content}"' in text


def test_cells_are_shortened_and_escaped(folder):
    text = write_report(folder).read_text(encoding="utf-8")
    for cell in ("<th>F &lt;eV&gt;</th>", "<td>1.2346</td>", "<td>a &amp; b</td>", "<td>000000000000…</td>"):
        assert cell in text


def test_a_page_says_what_was_written_for_it(folder):
    sections = [
        Section("First", ("One < two.", "Three."), ("figures/line.png",)),
        Section("Second", tables=("errors.csv",)),
    ]
    write_sections(folder, "A title", sections, "made by a test")
    assert read_sections(folder) == ("A title", sections, "made by a test")
    text = write_report(folder).read_text(encoding="utf-8")
    assert "<title>A title</title>" in text
    assert "<p>One &lt; two.</p>" in text
    assert text.index("First") < text.index("base64") < text.index("Second") < text.index("errors.csv")
    assert "made by a test" in text


def test_the_same_folder_gives_the_same_page(folder):
    first = write_report(folder).read_bytes()
    assert write_report(folder).read_bytes() == first


def test_what_is_missing_or_damaged_is_named(folder, tmp_path_factory):
    with pytest.raises(InputError, match="no figures"):
        write_report(tmp_path_factory.mktemp("empty"))
    write_sections(folder, "A title", [Section("One", tables=("gone.csv",))])
    with pytest.raises(InputError, match=r"gone\.csv: cannot be read"):
        write_report(folder)
    (folder / "gone.csv").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match=r"gone\.csv: empty"):
        write_report(folder)
    (folder / "report.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"report\.json: cannot be read"):
        write_report(folder)
    (folder / "report.json").write_text(
        json.dumps({"title": "t", "sections": [{}], "provenance": ""}), encoding="utf-8"
    )
    with pytest.raises(InputError, match=r"report\.json: cannot be read"):
        write_report(folder)
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize(
    ("figures", "tables", "message"),
    [
        (["../outside.png"], [], "lies outside"),
        (["{outside}/outside.png"], [], "lies outside"),
        (["linked.png"], [], "lies outside"),
        (["linked/outside.png"], [], "lies outside"),
        (["figures/../../outside.png"], [], "lies outside"),
        ([], ["../outside.csv"], "lies outside"),
        ([], ["/etc/passwd"], "not a CSV table"),
        ([], ["notes.txt"], "not a CSV table"),
        (["notes.txt"], [], "not a PNG figure"),
        (["page.png"], [], "not a PNG figure"),
        (["."], [], "cannot be read"),
        (["a\0b.png"], [], "not the name of a file"),
        ([], ["figures/line.csv"], "not a CSV table"),
        ("figures/line.png", [], "must be lists"),
        ([3], [], "got 3, expected text"),
        ([], [{"a": 1}], "expected text"),
        (["\ud800.png"], [], "cannot be read"),
    ],
)
def test_only_figures_and_tables_of_the_folder_are_shown(folder, tmp_path, figures, tables, message):
    inside = tmp_path / "inside"
    (folder / "errors.csv").rename(tmp_path / "outside.csv")
    inside.mkdir()
    (folder / "figures").rename(inside / "figures")
    png = inside / "figures" / "line.png"
    (tmp_path / "outside.png").write_bytes(png.read_bytes())
    (inside / "linked.png").symlink_to(tmp_path / "outside.png")
    (inside / "linked").symlink_to(tmp_path)
    (inside / "notes.txt").write_text("a,b\n1,2\n")
    (inside / "page.png").write_text("<script>alert(1)</script>")
    (inside / "figures" / "line.csv").write_bytes(png.read_bytes())
    names = [name.format(outside=tmp_path) if isinstance(name, str) else name for name in figures]
    section = {"title": "One", "text": [], "figures": names if isinstance(figures, list) else figures, "tables": tables}
    content = {"title": "t", "provenance": "", "sections": [section]}
    (inside / "report.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=message) as caught:
        write_report(inside)
    assert "\n" not in str(caught.value)
    assert not (inside / "report.html").exists()


def test_links_that_lead_out_of_a_folder_without_sections_are_refused(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "errors.csv").symlink_to(folder / "errors.csv")
    with pytest.raises(InputError, match=r"errors\.csv: lies outside"):
        write_report(other)
    (folder / "again.csv").symlink_to(folder / "errors.csv")  # a link inside the folder is no harm
    (folder / "linked").symlink_to(folder, target_is_directory=True)
    assert write_report(folder) == folder / "report.html"


def test_all_text_is_escaped(folder):
    evil = "<script>alert('\"')</script>"
    (folder / f"{evil.replace('/', '|')}.csv").write_text(f"{evil},b\n{evil},{evil}\n")
    (folder / "figures" / "line.png").rename(folder / '" onerror="x.png')
    sections = [
        {
            "title": evil,
            "text": [evil],
            "figures": ['" onerror="x.png'],
            "tables": [f"{evil.replace('/', '|')}.csv"],
        }
    ]
    content = {"title": evil, "provenance": evil, "sections": sections}
    (folder / "report.json").write_text(json.dumps(content))
    text = write_report(folder).read_text(encoding="utf-8")
    assert "<script" not in text
    assert 'onerror="' not in text
    assert text.count("&lt;script&gt;") >= 7


def test_sections_that_cannot_be_read_now_are_not_replaced(folder, monkeypatch):
    one = Section("One", tables=("errors.csv",))
    add_sections(folder, "predict", "First", [one])
    before = (folder / "report.json").read_text()

    def refused(*_args, **_kwargs):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refused)
        with pytest.raises(StorageError, match=r"report\.json: cannot be read now"):
            add_sections(folder, "evaluate", "Second", [one])
    assert (folder / "report.json").read_text() == before


def test_the_command_prints_the_page(folder, capsys):
    assert main(["report", str(folder)]) == 0
    assert capsys.readouterr().out.strip() == str(folder / "report.html")
    assert main(["report", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": str(folder / "report.html")}
    assert main(["report", str(folder / "nothing")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_a_command_replaces_its_own_sections_and_keeps_those_of_others(folder):
    one, two, three = (Section(title, tables=("errors.csv",)) for title in ("One", "Two", "Three"))
    add_sections(folder, "predict", "First", [one])
    add_sections(folder, "evaluate", "Second", [two])
    add_sections(folder, "predict", "Third", [three], "made by a test")
    assert read_sections(folder) == ("Third", [two, three], "made by a test")
    (folder / "report.json").write_text("{", encoding="utf-8")
    add_sections(folder, "predict", "First", [one])
    assert read_sections(folder) == ("First", [one], "")


def test_digits_follow_the_unit_in_the_head(folder):
    row = {"free_energy (eV)": -1826.41234567, "F (eV/atom)": -57.0756789, "C_e (k_B/atom)": 1.23456789, "± (eV)": None}
    write_csv(folder / "free_energy.csv", [row])
    text = write_report(folder).read_text(encoding="utf-8")
    for cell in ("-1826.4123", "-57.07568", "1.2346", "—"):
        assert f"<td>{cell}</td>" in text
    for head in ("free energy (eV)", "C_e (k_B/atom)"):
        assert f"<th>{head}</th>" in text
    assert "<h2>Free energy</h2>" in text
