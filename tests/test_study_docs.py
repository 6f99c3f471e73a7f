"""What the documentation says of the study of temperature transfer: its numbers are those of the tables beside it."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from fermisea.studies.transfer import TransferSettings
from fermisea.studies.transfer.data import crystal, name_of, scaled_name
from fermisea.studies.transfer.tables import in_mev

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "temperature-transfer"
PAGE = (ROOT / "docs" / "temperature-transfer.md").read_text(encoding="utf-8")
MODEL = "100-298-500-933K-16"
README = (ROOT / "README.md").read_text(encoding="utf-8")


def between(page: str, start: str, end: str) -> str:
    (text,) = re.findall(rf"{re.escape(start)}\n(.*?){re.escape(end)}", page, re.DOTALL)
    return re.sub(r"\]\([^)]*\)", "]", text)


def known() -> list[float]:
    found = []
    for path in FOLDER.glob("*.csv"):
        with path.open(encoding="utf-8") as stream:
            for row in csv.reader(stream):
                for cell in row:
                    try:
                        found.append(float(cell))
                    except ValueError:
                        continue
    return found


@pytest.mark.parametrize(
    ("text", "fewest"),
    [
        (between(PAGE, "<!-- table: study -->", "<!-- end: study -->"), 50),
        (between(PAGE, "<!-- end: mala_study -->", "## Results"), 12),
        (between(README, "<!-- study -->", "## Demo and tests"), 10),
    ],
    ids=["study", "MALA", "README"],
)
def test_every_number_of_the_text_stands_in_a_table(text, fewest):
    told = set(re.findall(r"(?<![\w.])\d+\.\d+(?![\w.]*\w)", re.sub(r"MALA 1\.4", "MALA", text)))
    assert len(told) >= fewest
    values = {decimals: {f"{abs(value):.{decimals}f}" for value in known()} for decimals in range(1, 7)}
    assert {number for number in told if number not in values[len(number.partition(".")[2])]} == set()


def rows_of(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def assert_rounded(told: list[str], values: list[str]) -> None:
    assert told == [f"{float(value):.{len(n.partition('.')[2])}f}" for n, value in zip(told, values, strict=True)]


def test_numbers_of_the_readme_are_in_their_places():
    told = [
        re.findall(r"\d+\.\d+", line.split("|", 2)[2])
        for line in between(README, "<!-- study -->", "<!-- end: study -->").splitlines()[2:]
    ]
    own = {row["name"].removeprefix(f"whole.{MODEL}."): row["value"] for row in rows_of("numbers.csv")}
    far = {float(row["electron_temperature"]): row for row in rows_of("transfer.csv") if row["model"] == MODEL}
    mala = {(row["code"], row["form"]): row for row in rows_of("mala.csv")}
    theirs = mala["MALA, published recipe, 400-400-400", "naive"]
    expected = [
        [own["anchored_free_energy_error.mean"], own["free_energy_error.mean"], theirs["free_energy_error"]],
        [far[10_000]["change_error_second_order"], theirs["change_error_10000K"]],
        [far[30_000]["change_error_second_order"], theirs["change_error_30000K"]],
        [own["density_error_percent.mean"], theirs["density_error_percent"]],
    ]
    for numbers, values in zip(told, expected, strict=True):
        assert_rounded(numbers, values)
    (seconds,) = re.findall(r"(\S+) s on one thread, .*? (\S+) s; five .* (\S+) s in another run", README)
    codes = [
        (f"fermisea, {MODEL}, the first network of it", "second_order"),
        ("MALA, same size, 256-256, rate 1e-3", "naive"),
    ]
    (ensemble,) = [row for row in rows_of("mala-2.csv") if row["code"] == f"fermisea, {MODEL}"]
    assert_rounded(list(seconds), [row["prediction_seconds"] for row in (*map(mala.get, codes), ensemble)])


def test_figures_and_tables_that_the_page_names_are_there():
    named = set(re.findall(r"\]\(temperature-transfer/([^)]*)\)", PAGE))
    assert named >= {"errors.csv", "transfer.csv", "numbers.csv", "mala.csv", "side_by_side.png"}
    assert {name for name in named if not (FOLDER / name).exists()} == set()


def test_data_are_those_of_the_recipe():
    settings = TransferSettings.load("full")
    with (FOLDER / "data.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    ideal = crystal(settings)
    count = {"training": settings.training_snapshots, "test": settings.test_snapshots}
    for part, number in count.items():
        names = [name_of(ideal, ion, k) for ion in settings.ion_temperatures for k in range(number)]
        assert [row["name"] for row in rows if row["part"] == part] == names
    source = settings.scaled_ion_temperature
    scaled = [scaled_name(name_of(ideal, source, k), scale) for k, scale in enumerate(settings.scales)]
    assert sorted(row["name"] for row in rows if row["part"] == "scaled") == sorted(scaled)
    assert len({row["sha256"] for row in rows}) == len(rows)


@pytest.mark.parametrize("name", ["README.md", "docs/temperature-transfer.md"])
def test_pages_say_how_to_see_it_oneself(name):
    assert "fermisea study transfer" in (ROOT / name).read_text(encoding="utf-8")


def test_energies_of_the_comparisons_are_scaled_to_mev():
    """Every energy of these tables, and nothing else, is known to be one."""
    for name in ("transfer_structures.csv", "size.csv"):
        columns = list(rows_of(name)[0])
        (scaled,) = in_mev([dict.fromkeys(columns, 1.0)])
        kept = {column for column in columns if scaled[column] == 1.0}
        other = {"model", "name", "atoms", "ion_temperature", "electron_temperature"}
        assert kept == {column for column in columns if column in other or column.endswith("percent")}
        assert {scaled[column] for column in columns} == {1.0, 1000.0}
