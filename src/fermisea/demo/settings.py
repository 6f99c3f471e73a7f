"""Settings of the demonstration."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from fermisea.campaign import Campaign
from fermisea.training.config import TrainingConfig


@dataclass(frozen=True)
class DemoSettings:
    """Settings of the demonstration.

    Attributes:
        lattice_constant: lattice constant of the cubic cell of four aluminium atoms, Angstrom.
        ion_temperatures: tau_i of the training structures, K.
        snapshots: number of training structures at each ionic temperature; warm structures differ more from each other.
        test_ion_temperature: tau_i of the test structure, K.
        reference_electron_temperature: tau_ref of the training data, K.
        electron_temperatures: tau_e at which prediction and self-consistent DFT are compared, K.
        dft: DFT settings of training data and comparison.
        training: training settings of the model.
        curve: number of tau_e between the DFT points in the figure.
        seed: random seed of the molecular dynamics.
    """

    lattice_constant: float = 4.05
    ion_temperatures: tuple[float, ...] = (100.0, 298.0, 500.0, 933.0)
    snapshots: tuple[int, ...] = (1, 2, 2, 3)
    test_ion_temperature: float = 700.0
    reference_electron_temperature: float = 1000.0
    electron_temperatures: tuple[float, ...] = (300.0, 1000.0, 3000.0, 10_000.0)
    dft: Campaign = field(default_factory=lambda: Campaign(xc="pbe", cutoff=272.1, kpts=(8, 8, 8)))
    training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(hidden=(192, 192), epochs=20, weight_decay=0.1, validation_fraction=0.0)
    )
    curve: int = 60
    seed: int = 1

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return dict(json.loads(json.dumps(asdict(self))))
