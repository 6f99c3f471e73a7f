"""Results of the trials, as rows, a table and a configuration for training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from fermisea.physics.error_measures import ERROR_MEASURES, evaluation_heads
from fermisea.physics.registry import with_unit
from fermisea.training.config import TrainingConfig
from fermisea.tuning.space import SearchSpace
from fermisea.utilities.files import write_text
from fermisea.utilities.tables import write_csv
from fermisea.utilities.toml import toml_text


@dataclass(frozen=True)
class TrialResult:
    """A finished trial.

    Attributes:
        number: number of the trial.
        state: "complete", or "pruned" if the trial was stopped early.
        value: minimised error, for a pruned trial after its last epoch; None if there is none.
        epochs: number of epochs trained, None for all.
        seconds: duration, s.
        config: training configuration of the trial.
        varied: varied fields of the configuration that have a meaning in this trial.
        errors: root mean squares over the held-out structures, named as in ``Validation.errors``; empty if pruned.
        reason: reason why there is no value, or "".
    """

    number: int
    state: str
    value: float | None
    epochs: int | None
    seconds: float
    config: TrainingConfig
    varied: Mapping[str, Any]
    errors: Mapping[str, float]
    reason: str

    @classmethod
    def of(cls, trial: FrozenTrial, space: SearchSpace) -> TrialResult:
        """Returns the result of a finished trial."""
        config = space.config(trial.params)
        complete = trial.state == TrialState.COMPLETE
        last = trial.last_step
        return cls(
            number=trial.number,
            state="complete" if complete else "pruned",
            value=trial.value if complete else None if last is None else trial.intermediate_values[last],
            epochs=None if complete else last or 0,
            seconds=0.0 if trial.duration is None else trial.duration.total_seconds(),
            config=config,
            varied=space.values(config),
            errors=dict(trial.user_attrs.get("errors", {})),
            reason=str(trial.user_attrs.get("error", "")),
        )


@dataclass(frozen=True)
class Tuned:
    """Results of a search so far.

    Attributes:
        minimise: name of the minimised error.
        trials: finished trials in the order of their start.
        importances: contribution of each varied field to the variance of the values, the largest first; empty if there
            are too few trials.
    """

    minimise: str
    trials: tuple[TrialResult, ...]
    importances: Mapping[str, float]

    @property
    def best(self) -> TrialResult | None:
        """The complete trial with the lowest value, if there is one."""
        complete = [
            (trial.value, trial) for trial in self.trials if trial.state == "complete" and trial.value is not None
        ]
        return min(complete, key=lambda item: item[0])[1] if complete else None


def cell(value: Any) -> Any:
    """Returns a value in the form used in a table: lists and mappings as JSON."""
    return json.dumps(value) if isinstance(value, list | tuple | Mapping) else value


def write_results(folder: Path, tuned: Tuned) -> None:
    """Writes ``trials.csv`` and, if a trial is complete, ``best.toml``, a configuration for ``fermisea train``.

    Raises:
        StorageError: if the files cannot be written.
    """
    rows = [
        {"trial": r.number, "state": r.state, "value": r.value, "epochs": r.epochs, "seconds": round(r.seconds, 1)}
        | {name: cell(value) for name, value in r.varied.items()}
        | dict(r.errors)
        | {"reason": r.reason}
        for r in tuned.trials
    ]
    names = list({name: None for row in rows for name in row if name != "reason"})
    heads = evaluation_heads(names)
    heads["value"] = with_unit("value", ERROR_MEASURES[tuned.minimise].unit)
    write_csv(folder / "trials.csv", [{name: row.get(name) for name in (*names, "reason")} for row in rows], heads)
    best = tuned.best
    if best is not None:
        head = f"# trial {best.number} of {len(tuned.trials)}: {tuned.minimise} {best.value:.6g}\n"
        write_text(folder / "best.toml", head + toml_text(best.config.to_dict()))
