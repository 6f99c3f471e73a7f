"""Rankings of descriptors and networks without training, and their correlation with the results of training."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from scipy import stats

from fermisea.data.dataset import Dataset
from fermisea.networks.mlp import Mlp
from fermisea.training.config import TrainingConfig
from fermisea.tuning.results import TrialResult, cell
from fermisea.tuning.scores import cosine_distance, descriptors_at, naswot, sampled_points
from fermisea.tuning.space import SearchSpace
from fermisea.utilities.arrays import FloatArray
from fermisea.utilities.files import write_text

Key = Callable[[TrainingConfig], tuple[Any, ...]]
_PAIRED, _BATCH, _REPEATS = 2000, 128, 5
"""Number of points for similarities, of points in a batch, and of batches, each with its own initial weights."""


@dataclass(frozen=True)
class Ranked:
    """A ranked descriptor or network.

    Attributes:
        design: varied fields that define the descriptor or network.
        score: score without training; lower is better.
        value: median result of the trials with this design, or None if there are none.
        trials: number of these trials.
    """

    design: Mapping[str, Any]
    score: float
    value: float | None
    trials: int


@dataclass(frozen=True)
class Ranking:
    """Ranking of descriptors or networks, the best one first.

    Attributes:
        kind: ``"descriptors"`` or ``"networks"``.
        measure: name of the score.
        rows: ranked descriptors or networks.
        spearman, kendall: rank correlations of score and trained result, 1 for the correct order; None for fewer than
            three trained designs or for equal values.
        trials: number of complete trials used for the correlations.
    """

    kind: str
    measure: str
    rows: tuple[Ranked, ...]
    spearman: float | None
    kendall: float | None
    trials: int

    @property
    def trained(self) -> int:
        """Number of designs with a trial."""
        return sum(row.value is not None for row in self.rows)


def rankings(
    dataset: Dataset,
    space: SearchSpace,
    results: Sequence[TrialResult] = (),
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Ranking]:
    """Returns a ranking of the descriptors and a ranking of the networks of a search space, if they are varied.

    Descriptors are ranked by their average cosine similarity distance over the pairs of 2000 points. Networks are
    ranked by minus the NASWOT score of a batch of 128 points, averaged over five batches and initial weights, all with
    the first descriptor of the space. The designs of the trials and a few others from the whole space are ranked.

    Args:
        dataset: structures with the points.
        space: search space.
        results: trials of the search, for the correlations.
        seed: random seed of points and weights.
        progress: callback with the number of ranked designs and their total number.
    """
    complete = [result for result in results if result.state == "complete" and result.value is not None]
    designs = {
        key: _designs(space, key, complete)
        for key, names in _FIELDS.items()
        if not space.varied.keys().isdisjoint(names)
    }
    chosen, ldos = sampled_points(dataset, _PAIRED, seed)
    elements, done = sorted(dataset.ions), 0

    def described(config: TrainingConfig) -> FloatArray:
        return descriptors_at(dataset, config.make_descriptor(elements), chosen)

    found = []
    for key, configs in designs.items():
        common = torch.from_numpy(described(configs[0]))
        rows = []
        for config in configs:
            values = [r.value for r in complete if key(r.config) == key(config) and r.value is not None]
            if key is _descriptor:
                score = cosine_distance(described(config), ldos)
            else:
                score = -_mean_naswot(config, common, ldos.shape[1], seed)
            design = {name: value for name, value in space.values(config).items() if name in _FIELDS[key]}
            rows.append(Ranked(design, score, statistics.median(values) if values else None, len(values)))
            done += 1
            if progress is not None:
                progress(done, sum(len(some) for some in designs.values()))
        found.append(_judged("descriptors" if key is _descriptor else "networks", rows))
    return found


def write_rankings(folder: Path, found: Sequence[Ranking]) -> None:
    """Writes ``descriptors.csv`` and ``networks.csv`` for the existing rankings.

    Raises:
        StorageError: if the files cannot be written.
    """
    for ranking in found:
        text = io.StringIO()
        names = list({name: None for row in ranking.rows for name in row.design})
        writer = csv.DictWriter(text, [*names, ranking.measure, "trained", "trials"], restval="", lineterminator="\n")
        writer.writeheader()
        for row in ranking.rows:
            design = {name: cell(value) for name, value in row.design.items()}
            writer.writerow(design | {ranking.measure: row.score, "trained": row.value, "trials": row.trials})
        write_text(folder / f"{ranking.kind}.csv", text.getvalue())


def _designs(space: SearchSpace, key: Key, results: Sequence[TrialResult]) -> list[TrainingConfig]:
    """Returns one configuration for each descriptor or network of the space and of the results."""
    names = _FIELDS[key]
    configs = (*space.designs(names), *(result.config for result in results))
    return list({key(config): config for config in reversed(configs)}.values())[::-1]


def _descriptor(config: TrainingConfig) -> tuple[Any, ...]:
    size = config.twojmax if config.descriptor == "bispectrum" else config.order
    return config.descriptor, size, config.cutoff, tuple(sorted((config.element_weights or {}).items()))


def _network(config: TrainingConfig) -> tuple[Any, ...]:
    return config.hidden, config.activation


_FIELDS: dict[Key, tuple[str, ...]] = {
    _descriptor: ("descriptor", "order", "twojmax", "cutoff", "element_weights"),
    _network: ("hidden", "activation"),
}
"""Kinds of designs, and the fields of a configuration that define each kind."""


def _mean_naswot(config: TrainingConfig, descriptors: torch.Tensor, energies: int, seed: int) -> float:
    """Returns the mean over batches and initial weights."""
    deviation = descriptors.std(0)
    scale = torch.where(deviation > 0, deviation, 1.0)
    scores = []
    for repeat in range(_REPEATS):
        order = torch.randperm(len(descriptors), generator=torch.Generator().manual_seed(seed + repeat))
        network = Mlp(
            descriptors.shape[1], config.hidden, energies, config.activation, dtype="float64", seed=seed + repeat
        )
        network.set_normalisation(descriptors.mean(0), scale, torch.zeros(energies), torch.ones(energies))
        scores.append(naswot(network, descriptors[order[:_BATCH]]))
    return statistics.fmean(scores)


def _judged(kind: str, rows: Sequence[Ranked]) -> Ranking:
    trained = [row for row in rows if row.value is not None]
    scores, values = [row.score for row in trained], [row.value or 0.0 for row in trained]
    spearman = kendall = None
    if len(set(scores)) > 2 and len(set(values)) > 2:
        spearman, kendall = float(stats.spearmanr(scores, values)[0]), float(stats.kendalltau(scores, values)[0])
    ordered = sorted(rows, key=lambda row: row.score)
    measure = "cosine_distance" if kind == "descriptors" else "minus_naswot"
    return Ranking(kind, measure, tuple(ordered), spearman, kendall, sum(row.trials for row in trained))
