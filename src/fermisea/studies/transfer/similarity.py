"""Similarity of the atomic surroundings at two ionic temperatures, and its correlation with errors."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from fermisea.data.dataset import Dataset
from fermisea.descriptors import Descriptor

Rows = list[dict[str, Any]]

POINTS = 600
"""Number of grid points compared for each ionic temperature."""


def similarity_rows(dataset: Dataset, descriptor: Descriptor, seed: int = 0) -> Rows:
    """Returns the similarity of descriptors at grid points, for each pair of ionic temperatures.

    Columns: ion_temperature, other (K); similarity: largest cosine between a point at one temperature and the points at
    the other (for equal temperatures: points of another structure), averaged over points. Descriptors are shifted by
    the mean and divided by the standard deviation of all points.

    Args:
        dataset: structures at several ionic temperatures, at least two at each.
        descriptor: descriptor of the grid points.
        seed: random seed of the choice of points.
    """
    rng = np.random.default_rng(seed)
    found: dict[float, list[np.ndarray[Any, Any]]] = {}
    for snapshot in dataset:
        temperature = float(snapshot.ion_temperature or 0.0)
        grid = snapshot.grid
        index = rng.choice(grid.size, POINTS, replace=False)
        places = np.stack(np.unravel_index(index, grid.shape), axis=-1) / grid.shape @ grid.lattice
        found.setdefault(temperature, []).append(descriptor.compute_points(snapshot.atoms, places))
    everything = np.concatenate([part for parts in found.values() for part in parts])
    mean, scale = everything.mean(axis=0), np.sqrt(np.mean(everything.std(axis=0) ** 2))
    unit = {t: [_unit((part - mean) / scale) for part in parts] for t, parts in found.items()}
    rows: Rows = []
    for one, left in unit.items():
        for other, right in unit.items():
            values = [
                float((a @ b.T).max(axis=1).mean())
                for i, a in enumerate(left)
                for j, b in enumerate(right)
                if one != other or i != j
            ]
            rows.append({"ion_temperature": one, "other": other, "similarity": float(np.mean(values))})
    return rows


def foretold(rows: Rows, errors: Rows, name: str) -> dict[str, Any]:
    """Returns the rank correlation of dissimilarity and error, over models of one temperature and test temperatures.

    Args:
        rows: rows of :func:`similarity_rows`.
        errors: rows of models trained at one temperature, with ``trained_at``, ``ion_temperature`` and the error.
        name: name of the error.
    """
    alike = {(row["ion_temperature"], row["other"]): row["similarity"] for row in rows}
    pairs = [(1 - alike[row["ion_temperature"], row["trained_at"]], row[name]) for row in errors]
    result = stats.spearmanr([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    return {"error": name, "pairs": len(pairs), "spearman": float(result.statistic)}


def _unit(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
