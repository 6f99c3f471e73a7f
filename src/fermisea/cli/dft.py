"""``fermisea dft``: a restartable series of DFT runs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

import fermisea
from fermisea.cli.common import Json, print_json, progress_bar, pseudopotential_files, stderr, stdout, table

if TYPE_CHECKING:
    from fermisea.campaign import Outcome
    from fermisea.engines import ScfStep


class EngineName(StrEnum):
    """The engines that a campaign can use."""

    PLANEWAVE = "planewave"


def dft(
    structures: Annotated[list[Path], typer.Argument(help="Structure files, or folders of them; any format of ASE.")],
    electron_temperature: Annotated[
        float, typer.Option(help="tau_ref: tau_e of the calculations, K.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="Folder for the snapshot files.", show_default=False)],
    engine: Annotated[EngineName, typer.Option(help="The DFT code.")] = EngineName.PLANEWAVE,
    config: Annotated[
        Path | None, typer.Option(help="TOML file with any of the settings below; options win over it.")
    ] = None,
    xc: Annotated[str | None, typer.Option(help="lda, pz, pbe or pbesol.  [dim]\\[default: pbe][/]")] = None,
    cutoff: Annotated[
        float | None, typer.Option(help="Highest kinetic energy of a plane wave, eV.  [dim]\\[default: 270][/]")
    ] = None,
    kpts: Annotated[tuple[int, int, int] | None, typer.Option(help="k-mesh.  [dim]\\[default: 1 1 1][/]")] = None,
    shift: Annotated[
        tuple[int, int, int] | None, typer.Option(help="1 moves the mesh by half a step.  [dim]\\[default: 0 0 0][/]")
    ] = None,
    pseudopotentials: Annotated[
        list[str] | None,
        typer.Option(help="gth, or SYMBOL=FILE (UPF) for each element.  [dim]\\[default: gth][/]"),
    ] = None,
    energy_spacing: Annotated[float | None, typer.Option(help="Of the LDOS, eV.  [dim]\\[default: 0.2][/]")] = None,
    broadening: Annotated[
        float | None, typer.Option(help="Standard deviation, eV.  [dim]\\[default: the spacing][/]")
    ] = None,
    highest_electron_temperature: Annotated[
        float | None, typer.Option(help="tau_e that the energy window must serve, K.  [dim]\\[default: 10000][/]")
    ] = None,
    energy_window: Annotated[
        tuple[float, float] | None,
        typer.Option(help="First and last energy, eV.  [dim]\\[default: from the first structure][/]"),
    ] = None,
    grid: Annotated[
        tuple[int, int, int] | None, typer.Option(help="Points of the LDOS.  [dim]\\[default: the engine's][/]")
    ] = None,
    json: Json = False,
) -> None:
    """Compute a snapshot file for each structure by finite-temperature DFT.

    Interrupted or repeated, it keeps the valid files that are there. A structure that fails is reported, the others go
    on, and the exit status is then 1.

    Example: [bold]fermisea dft structures/ --electron-temperature 1000 --kpts 8 8 8 --out data/[/]
    """
    del engine  # the only one so far
    given: dict[str, Any] = {
        "xc": xc,
        "cutoff": cutoff,
        "kpts": kpts,
        "shift": shift,
        "pseudopotentials": pseudopotential_files(pseudopotentials),
        "energy_spacing": energy_spacing,
        "broadening": broadening,
        "highest_electron_temperature": highest_electron_temperature,
        "energy_window": energy_window,
        "grid": grid,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    campaign = fermisea.Campaign.from_toml(config, **changes) if config else fermisea.Campaign(**changes)
    planewave = campaign.engine()
    found = fermisea.read_structures(structures)

    console = stderr()
    with progress_bar(console) as bar:
        task = bar.add_task("DFT", total=len(found), note="")

        def begin(name: str) -> None:
            bar.update(task, description=name, note="starts")

        def step(scf: ScfStep) -> None:
            note = f"iteration {scf.iteration}, F = {scf.free_energy:.4f} eV, residual {scf.residual:.0e} eV/atom"
            bar.update(task, note="forces and LDOS" if scf.residual < planewave.scf.tolerance else note)

        def end(outcome: Outcome) -> None:
            bar.update(task, advance=1, note="")
            report(console, outcome)

        outcomes = fermisea.run_campaign(planewave, found, electron_temperature, out, begin=begin, step=step, end=end)
    rows = [outcome_row(outcome) for outcome in outcomes]
    if json:
        print_json({"rows": rows})
    else:
        stdout().print(_table(rows, electron_temperature))
    if any(outcome.status == "failed" for outcome in outcomes):
        raise typer.Exit(1)


def report(console: Console, outcome: Outcome) -> None:
    """Prints a line on what became of a structure."""
    if outcome.snapshot is None:
        console.print(f"[red]failed[/]   {outcome.name}: {outcome.error}", soft_wrap=True)
    else:
        energy = outcome.snapshot.reference.free_energy / len(outcome.snapshot.atoms)
        took = f", {outcome.seconds:.0f} s" if outcome.status == "computed" else ""
        console.print(f"{outcome.status:8s} {outcome.name}: F = {energy:.5f} eV/atom{took}", soft_wrap=True)


def outcome_row(outcome: Outcome) -> dict[str, Any]:
    """Returns what became of a structure as plain data."""
    row: dict[str, Any] = {"name": outcome.name, "status": outcome.status, "file": outcome.path}
    if outcome.snapshot is None:
        return row | {"error": outcome.error}
    reference = outcome.snapshot.reference
    return row | {
        "atoms": len(outcome.snapshot.atoms),
        "ion_temperature": outcome.snapshot.ion_temperature,
        "free_energy": reference.free_energy,
        "entropy_term": reference.entropy_term,
        "fermi_level": reference.fermi_level,
        "seconds": outcome.seconds,
    }


def _table(rows: list[dict[str, Any]], electron_temperature: float) -> Any:
    columns = ["structure", "status", "F (eV/atom)", "-TS (eV/atom)", "Fermi level (eV)", "time (s)"]
    cells = []
    for row in rows:
        if row["status"] == "failed":
            cells.append((row["name"], "failed", "", "", "", ""))
            continue
        atoms = row["atoms"]
        cells.append(
            (
                row["name"],
                row["status"],
                f"{row['free_energy'] / atoms:.5f}",
                f"{row['entropy_term'] / atoms:.5f}",
                f"{row['fermi_level']:.4f}",
                f"{row['seconds']:.0f}",
            )
        )
    return table(f"DFT at tau_e = {electron_temperature:g} K", columns, cells)
