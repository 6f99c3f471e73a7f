"""``fermisea dft``: a restartable campaign of DFT runs."""

from __future__ import annotations

from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import fermisea
from fermisea.cli.common import Json, bytes_of, print_json, pseudopotential_files
from fermisea.cli.dry_run import DryRun, show_estimates
from fermisea.terminal import CampaignView, stderr, stdout, table

if TYPE_CHECKING:
    from fermisea.campaign import Outcome


_DIGITS = 20
"""Number of digits that no number of bands has."""


class SchedulerName(StrEnum):
    """Scheduler of a campaign."""

    LOCAL = "local"
    DASK = "dask"


class EngineName(StrEnum):
    """DFT engine of a campaign."""

    PLANEWAVE = "planewave"
    ESPRESSO = "espresso"


def dft(
    structures: Annotated[
        list[Path], typer.Argument(help="Structure files or folders of structure files, in any format that ASE reads.")
    ],
    electron_temperature: Annotated[
        float, typer.Option(help="Electronic temperature of the calculations (tau_ref), K.", show_default=False)
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the snapshot files, required except with --dry-run.")
    ] = None,
    engine: Annotated[EngineName | None, typer.Option(help="DFT engine.  [dim]\\[default: planewave][/]")] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file with settings; command-line options override it.  [dim]\\[default: none][/]"),
    ] = None,
    xc: Annotated[
        str | None,
        typer.Option(
            help="Exchange-correlation functional: lda, pz, pbe or pbesol; with planewave also at tau_e: ksdt, "
            "corrksdt, gdsmfb or kdt16.  "
            "[dim]\\[default: pbe; with espresso the functional of the pseudopotentials][/]"
        ),
    ] = None,
    cutoff: Annotated[
        float | None,
        typer.Option(
            help="Plane-wave cutoff, eV.  [dim]\\[default: F converged to 10 meV/atom with gth; 270 with files][/]"
        ),
    ] = None,
    kpts: Annotated[
        tuple[int, int, int] | None,
        typer.Option(
            help="Three numbers of k-points, one along each reciprocal vector.  [dim]\\[default: at most "
            "0.2/Å apart][/]"
        ),
    ] = None,
    shift: Annotated[
        tuple[int, int, int] | None,
        typer.Option(
            help="Three shifts of the k-mesh, one along each reciprocal vector: 0, or 1 for half a step.  "
            "[dim]\\[default: 0 0 0 with --kpts, otherwise 1 1 1][/]"
        ),
    ] = None,
    pseudopotentials: Annotated[
        list[str] | None,
        typer.Option(
            help="Pseudopotentials: gth, or for each element SYMBOL=FILE (UPF) or a shipped one such as Mg=Mg-q2.  "
            "[dim]\\[default: gth, softer where gth needs more than 4000 eV][/]"
        ),
    ] = None,
    bands: Annotated[
        str | None,
        typer.Option(
            help="Number of bands with planewave, or all for all states of the basis.  [dim]\\[default: depends on "
            "tau_e][/]"
        ),
    ] = None,
    tail: Annotated[
        bool | None,
        typer.Option(
            "--tail/--no-tail",
            help="Free electrons above the bands with planewave.  [dim]\\[default: at high tau_e][/]",
        ),
    ] = None,
    energy_spacing: Annotated[
        float | None, typer.Option(help="Energy spacing of the LDOS, eV.  [dim]\\[default: 0.2, more above 36 kK][/]")
    ] = None,
    broadening: Annotated[
        float | None,
        typer.Option(help="Broadening of the LDOS (standard deviation), eV.  [dim]\\[default: energy spacing][/]"),
    ] = None,
    highest_electron_temperature: Annotated[
        float | None,
        typer.Option(
            help="Highest tau_e for which the energy window is valid, K.  [dim]\\[default: 10000, or "
            "--electron-temperature if higher][/]"
        ),
    ] = None,
    energy_window: Annotated[
        tuple[float, float] | None,
        typer.Option(
            help="First and last energy of the LDOS, eV.  [dim]\\[default: chosen for the first structure][/]"
        ),
    ] = None,
    grid: Annotated[
        tuple[int, int, int] | None,
        typer.Option(
            help="Three numbers of grid points of the LDOS, one along each lattice vector.  "
            "[dim]\\[default: chosen by the engine][/]"
        ),
    ] = None,
    command: Annotated[
        str | None,
        typer.Option(help="Command that starts pw.x, for example 'mpirun -n 4 pw.x'.  [dim]\\[default: pw.x][/]"),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            help="Memory for the LDOS of a run of pw.x and the bands that are read for it, such as 8GiB.  "
            "[dim]\\[default: 2GiB][/]"
        ),
    ] = None,
    workers: Annotated[int, typer.Option(help="Number of structures computed in parallel.")] = 1,
    scheduler: Annotated[
        SchedulerName,
        typer.Option(help="Scheduler: local for processes on this machine, dask for workers of a Dask cluster."),
    ] = SchedulerName.LOCAL,
    scheduler_address: Annotated[
        str | None,
        typer.Option(
            help="Address of a Dask scheduler, or its scheduler file.  [dim]\\[default: new cluster on this machine][/]"
        ),
    ] = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="Recomputation of structures whose calculation failed in an earlier run.")
    ] = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Compute a snapshot file for each structure by finite-temperature DFT.

    The output folder records the progress of the campaign, the set of DFT runs. After an interruption, the same command
    keeps valid files and computes the rest. A structure that fails is reported; the others are still computed, and
    the exit status is 1.

    Example: [bold]fermisea dft structures/ --electron-temperature 1000 --kpts 8 8 8 --out data/[/]
    """
    from fermisea.cli.dft_settings import (  # noqa: PLC0415  # not needed for --help
        settings_lines,
        settings_title,
        used_settings,
        window_line,
    )

    given: dict[str, Any] = {
        "engine": None if engine is None else engine.value,
        "xc": xc,
        "cutoff": cutoff,
        "kpts": kpts,
        "shift": shift,
        "pseudopotentials": pseudopotential_files(pseudopotentials),
        "bands": None if bands is None else number_of_bands(bands),
        "tail": tail,
        "energy_spacing": energy_spacing,
        "broadening": broadening,
        "highest_electron_temperature": highest_electron_temperature,
        "energy_window": energy_window,
        "grid": grid,
        "command": command,
        "memory": None if memory is None else bytes_of(memory),
    }
    changes = {name: value for name, value in given.items() if value is not None}
    campaign = fermisea.Campaign.from_toml(config, **changes) if config else fermisea.Campaign(**changes)
    found = fermisea.read_structures(structures)
    if dry_run:
        from fermisea.campaign.estimate import estimate  # noqa: PLC0415  # not needed otherwise

        estimates = [estimate(campaign, name, atoms, electron_temperature) for name, atoms in found.items()]
        show_estimates(estimates, workers=workers, json=json)
        return
    if out is None:
        raise fermisea.InputError("--out: missing; give a folder for the snapshot files")
    chosen = campaign.make_engine().for_elements([symbol for atoms in found.values() for symbol in set(atoms.symbols)])
    settings = used_settings(campaign, chosen, found, electron_temperature)
    view = CampaignView(stderr(), len(found), workers)
    with ExitStack() as stack:

        def begin() -> None:
            if not json:
                for line in settings_lines(settings):
                    stderr().print(line, soft_wrap=True)
            stack.enter_context(view)

        outcomes = fermisea.run_campaign(
            chosen,
            found,
            electron_temperature,
            out,
            workers=workers,
            scheduler=scheduler.value,
            address=scheduler_address,
            retry=retry,
            begin=begin,
            watch=view.watch,
            end=view.end,
        )
    rows = [outcome_row(outcome) for outcome in outcomes]
    window = next((outcome.snapshot.energy_grid for outcome in outcomes if outcome.snapshot is not None), None)
    strange = fermisea.campaign.outliers(outcomes)
    if json:
        print_json(
            {
                "settings": settings | {"energy_window": None if window is None else [window.start, window.stop]},
                "rows": rows,
                "outliers": strange,
            }
        )
    else:
        if window is not None:
            highest = max(campaign.highest_electron_temperature, electron_temperature)
            stdout().print(window_line(window, None if campaign.energy_window else highest))
        stdout().print(_table(rows, settings_title(settings, electron_temperature)))
        for name, reasons in strange.items():
            stdout().print(f"outlier {name}: {'; '.join(reasons)}")
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if any(outcome.record.kind == "structure" for outcome in failed) and not json:
        stdout().print("the next run skips failed structures; --retry computes them again")
    if failed:
        raise typer.Exit(1)


def number_of_bands(text: str) -> int | str:
    """Returns the number of bands of an option; other text, and a number of very many digits, is left to the engine."""
    return int(text) if text.isdecimal() and len(text) < _DIGITS else text


def outcome_row(outcome: Outcome) -> dict[str, Any]:
    """Returns the result of a structure as plain data."""
    row: dict[str, Any] = {"name": outcome.name, "status": outcome.status, "file": outcome.path}
    if outcome.snapshot is None:
        return row | {"error": outcome.error}
    reference, atoms, closure = outcome.snapshot.reference, len(outcome.snapshot.atoms), outcome.record.closure_error
    return row | {
        "atoms": atoms,
        "ion_temperature": outcome.snapshot.ion_temperature,
        "free_energy": reference.free_energy,
        "iterations": outcome.record.iteration or None,
        "closure_error_per_atom": None if closure is None else closure / atoms,
        "entropy_term": reference.entropy_term,
        "fermi_level": reference.fermi_level,
        "seconds": outcome.seconds,
    }


def _table(rows: list[dict[str, Any]], title: str) -> Any:
    columns = [
        "structure",
        "status",
        "F (eV/atom)",
        "-TS (eV/atom)",
        "Fermi level (eV)",
        "SCF",
        "closure (meV/atom)",
        "time (s)",
    ]
    cells = []
    for row in rows:
        if row["status"] == "failed":
            cells.append((row["name"], "failed", *[""] * (len(columns) - 2)))
            continue
        atoms, closure = row["atoms"], row["closure_error_per_atom"]
        cells.append(
            (
                row["name"],
                row["status"],
                f"{row['free_energy'] / atoms:.5f}",
                f"{row['entropy_term'] / atoms:.5f}",
                f"{row['fermi_level']:.4f}",
                str(row["iterations"] or "-"),
                "-" if closure is None else f"{1000 * closure:+.3f}",
                f"{row['seconds']:.0f}" if row["seconds"] else "-",
            )
        )
    return table(title, columns, cells)
