"""Copies the results of the study of temperature transfer to the documentation, and its model to the package.

Tables and figures are copied to docs/temperature-transfer/, the text is written between the markers of
docs/temperature-transfer.md, and the model of everything with its description is copied to src/fermisea/model/bundled/.
The study must have the settings `full`.

    python benchmarks/publish_study.py STUDY      folder of a finished `fermisea study transfer`
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from common import ROOT
from report import fill

import fermisea
from fermisea.report import Section, read_sections
from fermisea.studies.transfer.plans import EVERYTHING
from fermisea.studies.transfer.settings import TransferSettings

PAGE = ROOT / "docs" / "temperature-transfer.md"
FOLDER = ROOT / "docs" / "temperature-transfer"
SHIPPED = ROOT / "src" / "fermisea" / "model" / "bundled"
NAME = "aluminium"


def text_of(sections: Sequence[Section], provenance: str) -> str:
    """Returns the sections of a study's page in Markdown, relative to the page of the documentation."""
    blocks = []
    for section in sections:
        blocks += [f"### {section.title}", *section.text]
        blocks += [
            f"![{Path(name).stem.replace('_', ' ')}]({FOLDER.name}/{Path(name).name})" for name in section.figures
        ]
        if section.tables:
            links = ", ".join(f"[{name}]({FOLDER.name}/{name})" for name in section.tables)
            blocks.append(f"Numbers: {links}.")
    return "\n\n".join([*blocks, f"{provenance}."])


def main() -> int:
    """Copies results and fills the page; returns 1 if the study is unfinished or has other settings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    study: Path = parser.parse_args().study
    if not (study / "report.html").exists():
        print(f"{study}: got no finished study; run `fermisea study transfer` to its end", file=sys.stderr)
        return 1
    stored = json.loads((study / "settings.json").read_text(encoding="utf-8"))
    stored.pop("fermisea")
    if TransferSettings.from_dict(stored) != TransferSettings.load("full"):
        print(f"{study}: has other settings than the full study", file=sys.stderr)
        return 1
    _, sections, provenance = read_sections(study)
    FOLDER.mkdir(exist_ok=True)
    further = [path.name for path in study.glob("mala-*.csv")]
    for name in ("settings.json", *sorted({*further, *(t for s in sections for t in s.tables)})):
        shutil.copyfile(study / name, FOLDER / name)
    for name in sorted({figure for section in sections for figure in section.figures}):
        shutil.copyfile(study / name, FOLDER / Path(name).name)
    page, missing = fill(PAGE.read_text(encoding="utf-8"), {"study": text_of(sections, provenance)})
    if missing:
        print(f"{PAGE}: has no place for the text", file=sys.stderr)
        return 1
    PAGE.write_text(page, encoding="utf-8")
    (SHIPPED / f"{NAME}.domain.json").unlink(missing_ok=True)  # the model file holds the domain
    fermisea.load_model(study / "models" / f"{EVERYTHING}.safetensors").save(SHIPPED / f"{NAME}.safetensors")
    shutil.copyfile(study / "models" / f"{EVERYTHING}.md", SHIPPED / f"{NAME}.md")
    print(f"{PAGE}\n{FOLDER}\n{SHIPPED}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
