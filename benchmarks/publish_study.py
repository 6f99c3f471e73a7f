"""Copies the results of a finished study to the documentation, and the model of the study of aluminium to the package.

Tables and figures are copied to a folder beside the page of the study in docs/, and the text is written between the
markers of this page. `fermisea study aluminium` made the model and the description in src/fermisea/model/bundled/. The
study must have the shipped settings: `full` for the transfer between temperatures, `aluminium` for aluminium, which may
lack some of the self-consistent runs (`references`, `hot`) that the model is compared with.

    python benchmarks/publish_study.py transfer FOLDER       folder of a finished `fermisea study transfer`
    python benchmarks/publish_study.py aluminium FOLDER      folder of a finished `fermisea study aluminium`
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import ROOT
from report import fill

import fermisea
from fermisea.report import Section, read_sections
from fermisea.studies.aluminium.settings import AluminiumSettings
from fermisea.studies.settings import Settings
from fermisea.studies.transfer.settings import TransferSettings

DOCS = ROOT / "docs"
SHIPPED = ROOT / "src" / "fermisea" / "model" / "bundled"


@dataclass(frozen=True)
class Published:
    """A study in the documentation.

    Attributes:
        page: page of the documentation, without suffix, and folder of its tables and figures.
        place: name of the place of the text in this page.
        settings: shipped settings of the study.
        further: names of tables that are not on the page of the study.
        model: name of the model that comes with the package; empty for none.
    """

    page: str
    place: str
    settings: Settings
    further: str
    model: str = ""


STUDIES = {
    "transfer": Published("temperature-transfer", "study", TransferSettings.load("full"), "mala-*.csv"),
    "aluminium": Published("aluminium", "aluminium", AluminiumSettings.load("aluminium"), "*.csv", "aluminium"),
}


def text_of(sections: Sequence[Section], provenance: str, folder: str) -> str:
    """Returns the sections of a study's page in Markdown, relative to the page of the documentation."""
    blocks = []
    for section in sections:
        blocks += [f"### {section.title}", *section.text]
        blocks += [f"![{Path(name).stem.replace('_', ' ')}]({folder}/{Path(name).name})" for name in section.figures]
        if section.tables:
            links = ", ".join(f"[{name}]({folder}/{name})" for name in section.tables)
            blocks.append(f"Numbers: {links}.")
    return "\n\n".join([*blocks, f"{provenance}."])


def _free(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings in which a published study may differ from the shipped ones."""
    return {name: settings[name] for name in ("references", "hot") if name in settings}


def main() -> int:
    """Copies results and fills the page; returns 1 if the study is unfinished or has other settings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=STUDIES)
    parser.add_argument("study", type=Path)
    given = parser.parse_args()
    study, published = given.study, STUDIES[given.name]
    if not (study / "report.html").exists():
        print(f"{study}: got no finished study; run `fermisea study {given.name}` to its end", file=sys.stderr)
        return 1
    stored = json.loads((study / "settings.json").read_text(encoding="utf-8"))
    stored.pop("fermisea")
    wanted = published.settings.to_dict()
    if stored | _free(wanted) != wanted:
        print(f"{study}: has other settings than the shipped ones", file=sys.stderr)
        return 1
    page, folder = DOCS / f"{published.page}.md", DOCS / published.page
    _, sections, provenance = read_sections(study)
    folder.mkdir(exist_ok=True)
    further = [path.name for path in study.glob(published.further)]
    for name in ("settings.json", *sorted({*further, *(t for s in sections for t in s.tables)})):
        shutil.copyfile(study / name, folder / name)
    for name in sorted({figure for section in sections for figure in section.figures}):
        shutil.copyfile(study / name, folder / Path(name).name)
    text = text_of(sections, provenance, published.page)
    filled, missing = fill(page.read_text(encoding="utf-8"), {published.place: text})
    if missing:
        print(f"{page}: has no place for the text", file=sys.stderr)
        return 1
    page.write_text(filled, encoding="utf-8")
    print(page, folder, sep="\n")
    if published.model:
        fermisea.load_model(study / f"{published.model}.safetensors").save(SHIPPED / f"{published.model}.safetensors")
        shutil.copyfile(study / f"{published.model}.md", SHIPPED / f"{published.model}.md")
        print(SHIPPED)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
