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
"""Number of rows in the tables of trials and rankings."""


def tune(
    data: Annotated[list[Path], typer.Argument(help="Snapshot files or folders of snapshot files.")],
    out: Annotated[Path, typer.Option(help="Folder of the search; an existing search is resumed.")],
    space: Annotated[
        Path | None,
        typer.Option(help="TOML file with the search space.  [dim]\\[default: region around the default settings][/]"),
    ] = None,
    trials: Annotated[
        int, typer.Option(help="Total number of finished trials, including trials of earlier calls.")
    ] = 50,
    workers: Annotated[int, typer.Option(help="Number of processes on this machine.")] = 1,
    timeout: Annotated[
        float | None, typer.Option(help="Time after which no new trial starts, s.  [dim]\\[default: none][/]")
    ] = None,
    minimise: Annotated[str, typer.Option(help="Error on held-out structures to minimise.")] = "ldos_error_percent",
    prune: Annotated[
        bool, typer.Option("--prune/--no-prune", help="Early stopping of trials with errors above the median.")
    ] = True,
    rank: Annotated[
        bool,
        typer.Option(
            "--rank",
            help="Estimated ranking of descriptors and networks, without training; compared with finished trials.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option(help="Random seed of the search.")] = 0,
    memory: Annotated[
        str, typer.Option(help="Memory limit for the training data of each process, such as 500MB or 4GB.")
    ] = "4GB",
    json: Json = False,
) -> None:
    """Search for the descriptor, network and optimiser with the lowest error on held-out structures.

    Writes trials.csv, best.toml (a configuration for fermisea train) and a figure. The same command resumes an
    interrupted search; several machines with access to the folder can share a search.

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
        raise fermisea.InputError(
            "tune: optuna is not installed; install it with pip install 'fermisea[tune]'"
        ) from error


def _trials_table(tuned: Tuned) -> Table:
    order = sorted(tuned.trials, key=lambda r: (r.state != "complete", float("inf") if r.value is None else r.value))
    names = list({name: None for result in order for name in result.varied})
    cells = [
        (str(r.number), r.state, _text(r.value), f"{r.seconds:.0f}", *(_text(r.varied.get(name)) for name in names))
        for r in order[:_SHOWN]
    ]
    pruned = sum(trial.state == "pruned" for trial in order)
    title = f"Best of {len(order)} trials ({pruned} stopped early)"
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
    return table(title, [*names, ranking.measure.replace("_", " "), "median result of trials", "trials"], cells)


def _verdict(ranking: Ranking) -> str:
    stands = f"{ranking.trained} {ranking.kind} from {ranking.trials} complete trials"
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
