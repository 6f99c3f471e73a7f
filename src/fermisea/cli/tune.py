"""``fermisea tune``: a search for descriptor, network and optimiser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

import fermisea
from fermisea.cli.common import Json, bytes_of, output_folder, print_json
from fermisea.terminal import progress_bar, stderr, stdout, table

if TYPE_CHECKING:
    from fermisea.tuning.ranking import Ranking
    from fermisea.tuning.results import Tuned

_SHOWN, _RANKED = 8, 12
"""Rows of the tables of trials and of ranked ones."""


def tune(
    data: Annotated[list[Path], typer.Argument(help="Snapshot files, or folders of them.")],
    out: Annotated[Path, typer.Option(help="Folder of the study; the same command goes on with one that is there.")],
    space: Annotated[
        Path | None,
        typer.Option(help="TOML file with what is varied.  [dim]\\[default: a space around the defaults][/]"),
    ] = None,
    trials: Annotated[int, typer.Option(help="Finished trials to reach, those of earlier calls included.")] = 50,
    workers: Annotated[int, typer.Option(help="Processes on this machine.")] = 1,
    timeout: Annotated[float | None, typer.Option(help="Seconds after which no trial begins.")] = None,
    minimise: Annotated[
        str, typer.Option(help="The error on held-out structures that ranks the trials.")
    ] = "ldos_error_percent",
    prune: Annotated[bool, typer.Option("--prune/--no-prune", help="End trials worse than the median early.")] = True,
    rank: Annotated[
        bool,
        typer.Option("--rank", help="Rank descriptors and networks without training, and judge that by the trials."),
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the search.")] = 0,
    memory: Annotated[str, typer.Option(help="Training data held at once by a process, as in 500MB or 4GB.")] = "4GB",
    json: Json = False,
) -> None:
    """Search for the descriptor, network and optimiser with the lowest error on structures held out.

    Writes trials.csv, best.toml (a configuration for fermisea train) and a figure. A search that was ended goes on when
    the same command is given again; given on several machines that share the folder, they work on it together.

    Example: [bold]fermisea tune data/ --out study/ --space space.toml --trials 30 --workers 2[/]
    """
    with _needs_optuna():
        from fermisea.tuning import SearchSpace  # noqa: PLC0415  # torch is not needed for --help
        from fermisea.tuning.ranking import rankings, write_rankings  # noqa: PLC0415  # an optional dependency
        from fermisea.tuning.workers import tune as search  # noqa: PLC0415
    chosen = SearchSpace.from_toml(space) if space else SearchSpace.default()
    console = stderr()
    with output_folder(out), progress_bar(console) as bar:
        task = bar.add_task("trials", total=trials, note="")
        told = 0

        def show(tuned: Tuned, note: str) -> None:
            nonlocal told
            best = "" if tuned.best is None else f"best {tuned.best.value:.4g} (trial {tuned.best.number})"
            ended = len(tuned.trials)
            bar.update(task, completed=ended, note=", ".join(word for word in (best, note) if word))
            if not console.is_terminal and ended > told:
                console.print(f"trials {ended}/{trials} {best}".rstrip())
            told = ended

        tuned = search(
            data,
            out,
            chosen,
            workers=workers,
            progress=show,
            trials=trials,
            timeout=timeout,
            minimise=minimise,
            prune=prune,
            seed=seed,
            memory=bytes_of(memory),
        )
        ranked: list[Ranking] = []
        if rank:
            scores = bar.add_task("rankings", total=None, note="")
            ranked = rankings(
                fermisea.Dataset.load(data),
                chosen,
                tuned.trials,
                seed=seed,
                progress=lambda done, of: bar.update(scores, completed=done, total=of),
            )
            write_rankings(out, ranked)
        if tuned.best is not None:
            points = [(t.number, t.value, t.state == "complete") for t in tuned.trials if t.value is not None]
            figure = fermisea.plots.tuning_figure(points, minimise, tuned.importances)
            fermisea.plots.save_figure(figure, out / "trials")
    if json:
        print_json(asdict(tuned) | {"rankings": [asdict(ranking) for ranking in ranked]})
        return
    if tuned.trials:
        stdout().print(_trials_table(tuned))
    for ranking in ranked:
        stdout().print(_ranking_table(ranking))
        stdout().print(_verdict(ranking))


@contextmanager
def _needs_optuna() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        raise fermisea.InputError("tune: optuna is not installed; pip install 'fermisea[tune]'") from error


def _trials_table(tuned: Tuned) -> Table:
    order = sorted(tuned.trials, key=lambda r: (r.state != "complete", float("inf") if r.value is None else r.value))
    names = list({name: None for result in order for name in result.varied})
    cells = [
        (str(r.number), r.state, _text(r.value), f"{r.seconds:.0f}", *(_text(r.varied.get(name)) for name in names))
        for r in order[:_SHOWN]
    ]
    pruned = sum(trial.state == "pruned" for trial in order)
    title = f"Best of {len(order)} trials, {pruned} of them ended early"
    return table(title, ["trial", "state", tuned.minimise, "seconds", *names], cells)


def _ranking_table(ranking: Ranking) -> Table:
    names = list({name: None for row in ranking.rows for name in row.design})
    cells = [
        (*(_text(row.design.get(name)) for name in names), _text(row.score), _text(row.value), str(row.trials))
        for row in ranking.rows[:_RANKED]
    ]
    titles = {"descriptors": "average cosine similarity distance", "networks": "minus the NASWOT score"}
    more = len(ranking.rows) - len(cells)
    title = f"{ranking.kind.capitalize()} without training, best first: {titles[ranking.kind]}"
    title += f"; {more} more in {ranking.kind}.csv" if more else ""
    return table(title, [*names, ranking.measure.replace("_", " "), "trained, median", "trials"], cells)


def _verdict(ranking: Ranking) -> str:
    stands = f"{ranking.trained} {ranking.kind} of {ranking.trials} complete trials"
    if ranking.spearman is None or ranking.kendall is None:
        return f"Rank correlation with trained results: none yet, {stands}."
    correlations = f"Spearman {ranking.spearman:+.2f}, Kendall {ranking.kendall:+.2f}"
    return f"Rank correlation with trained results: {correlations} ({stands})."


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list | tuple):
        return "-".join(str(item) for item in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
