"""Density of hot liquids: error against the number of training structures and the descriptor.

A network with one output, the density at tau_ref, learns from some points of hot liquids of the study of aluminium. Its
error is the mean absolute error over the mean density of the first test liquid at 5000 K. About an hour on one core.

    python benchmarks/density_limits.py DIR    folder of the study, with the data of its liquids
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import Table, finish, kept, options, parse

from fermisea.data.snapshot import Snapshot
from fermisea.descriptors import Bispectrum, Descriptor, PowerSpectrum
from fermisea.networks.mlp import Mlp
from fermisea.physics.error_measures import percent_error
from fermisea.utilities.arrays import FloatArray

HOT = 3300.0
"""Lowest tau_i of the training liquids, K."""

KINDS = ("liquid", "liquid5000")
"""Kinds of the training liquids."""

COUNTS, BESIDE = (1, 2, 4, 8, 16), 16
"""Numbers of training liquids, and the number for other descriptors."""

POINTS = 12_000
"""Number of points of a structure."""

BATCH, PASSES, FEWEST_STEPS, RATE, DECAY = 256, 30, 4000, 4e-3, 1e-3
"""Optimiser: AdamW with one cycle of the learning rate."""

OWN = (PowerSpectrum(8, 6.4, smoothness=2),)
HIDDEN = (256, 256)
"""Descriptor and layers of the shipped model."""

OTHERS: dict[str, tuple[Descriptor, ...]] = {
    "order 11": (PowerSpectrum(11, 6.4, smoothness=2),),
    "smoothness 3": (PowerSpectrum(8, 6.4, smoothness=3),),
    "cutoff 5.6 Å": (PowerSpectrum(8, 5.6, smoothness=2),),
    "cutoff 7.4 Å": (PowerSpectrum(8, 7.4, smoothness=2),),
    "cutoff 9 Å": (PowerSpectrum(8, 9.0, smoothness=2),),
    "also order 6, cutoff 4 Å": (*OWN, PowerSpectrum(6, 4.0, smoothness=2)),
    "also the bispectrum, cutoff 6 Å": (*OWN, Bispectrum(8, 6.0)),
}
"""Other descriptors."""


@dataclass(frozen=True)
class Sample:
    """Points of a structure: descriptors, (points, features), and density, (points,), 1/Angstrom^3."""

    descriptors: FloatArray
    density: FloatArray


def sample(snapshot: Snapshot, descriptors: Sequence[Descriptor]) -> Sample:
    """Returns some points of a snapshot, always the same."""
    chosen = np.sort(np.random.default_rng(0).choice(snapshot.grid.size, POINTS, replace=False))
    points = snapshot.grid.points().reshape(-1, 3)[chosen]
    values = [descriptor.compute_points(snapshot.atoms, points) for descriptor in descriptors]
    return Sample(np.concatenate(values, axis=1), np.asarray(snapshot.density).reshape(-1)[chosen])


def fitted(samples: Sequence[Sample], seed: int) -> Mlp:
    """Returns a network that has learned the density."""
    torch.manual_seed(seed)
    x = torch.from_numpy(np.concatenate([s.descriptors for s in samples])).float()
    y = torch.from_numpy(np.concatenate([s.density for s in samples])).float()[:, None]
    network = Mlp(x.shape[1], HIDDEN, 1, "silu", dtype="float32", seed=seed)
    network.set_normalisation(x.mean(0), x.std(0), y.mean(0), y.std(0))
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    steps = max(PASSES * len(x) // BATCH, FEWEST_STEPS)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.1)
    for _ in range(steps):
        rows = torch.randint(len(x), (BATCH,))
        loss = torch.nn.functional.mse_loss(network(x[rows]) / y.std(), y[rows] / y.std())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network.eval()


@torch.no_grad()
def error(network: Mlp, samples: Sequence[Sample]) -> float:
    """Returns the mean error of the density over structures, percent."""
    found = [
        percent_error(network(torch.from_numpy(s.descriptors).float())[:, 0].double().numpy(), s.density)
        for s in samples
    ]
    return float(np.mean(found))


def snapshots(folder: Path, tau_ref: int) -> tuple[list[Snapshot], Snapshot]:
    """Returns the hot training liquids, and the first test liquid at 5000 K."""
    with (folder / "data.csv").open(encoding="utf-8") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if row["kind"] in KINDS and float(row["electron_temperature_K"]) == tau_ref
        ]

    def load(part: str, name: str) -> Snapshot:
        paths = sorted((folder / "data" / part / f"{tau_ref}K").glob(f"*/{name}.nc"))
        return Snapshot.load(paths[0], verify=False)  # others have denser k-meshes

    hot = [row["name"] for row in rows if row["part"] == "training" and float(row["ion_temperature_K"]) >= HOT]
    test = min(row["name"] for row in rows if row["part"] == "test" and float(row["ion_temperature_K"]) == 5000)
    return [load("training", name) for name in hot], load("test", test)


def errors_of(
    training: Sequence[Snapshot], test: Snapshot, count: int, descriptors: Sequence[Descriptor], choices: int
) -> list[tuple[float, float]]:
    """Returns the errors in training and for the test liquid, percent, of several choices of the training liquids."""
    known, unknown = [sample(snapshot, descriptors) for snapshot in training], sample(test, descriptors)
    found = []
    for seed in range(choices):
        own = [known[index] for index in np.random.default_rng(seed).permutation(len(known))[:count]]
        network = fitted(own, seed)
        found.append((error(network, own), error(network, [unknown])))
    return found


def main() -> None:
    """Trains the networks, prints a table and writes JSON."""
    parser = options(__doc__, "density_limits", 1)
    parser.add_argument("folder", type=Path, help="folder of the study of aluminium")
    parser.add_argument("--choices", type=int, default=2, help="number of choices of the training liquids  [2]")
    parser.add_argument("--keep", type=Path, help="folder in which finished cases are kept, for another start")
    values = parse(parser)
    torch.set_num_threads(1)
    rows: list[list[str]] = []
    runs: list[dict[str, Any]] = []
    for tau_ref in (1000, 10_000):
        training, test = snapshots(values.folder, tau_ref)
        cases = [("as shipped", count, OWN) for count in COUNTS if count < len(training)]
        cases += [(name, BESIDE, other) for name, other in OTHERS.items()]
        for name, count, descriptors in cases:
            work = partial(errors_of, training, test, count, descriptors, values.choices)
            found = kept(values.keep, f"{tau_ref}-{count}-{name}-{values.choices}", work)
            own, other = np.mean(found, axis=0)
            low, high = np.array(found)[:, 1].min(), np.array(found)[:, 1].max()
            rows.append([f"{tau_ref:,}", name, str(count), f"{own:.2f}", f"{other:.2f} ({low:.2f} to {high:.2f})"])
            runs.append({"tau_ref": tau_ref, "descriptor": name, "liquids": count, "errors": found})
            print(*rows[-1], sep="; ", flush=True)
    columns = ["tau_ref (K)", "descriptor", "training liquids", "error, training (%)", "error, test (%)"]
    title = (
        f"Density of a network with one output, trained on liquids above {HOT:.0f} K, for an unseen liquid at 5000 K"
    )
    note = f"Mean, smallest and largest error of {values.choices} choices of the training liquids."
    finish(values, [Table("density_limits", title, columns, rows, note)], {"runs": runs})


if __name__ == "__main__":
    main()
