"""Settings of the study; three sets are shipped as TOML files."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from fermisea.campaign import Campaign
from fermisea.errors import InputError
from fermisea.studies.settings import load_settings
from fermisea.training.config import TrainingConfig

PRESETS = ("full", "quick", "cluster")


@dataclass(frozen=True)
class TransferSettings:
    """Settings of the study.

    Attributes:
        lattice_constant: lattice constant of the cubic cell of four aluminium atoms, Angstrom.
        repeat: number of cubic cells along each axis.
        ion_temperatures: ionic temperatures tau_i of the structures, K, ascending.
        training_snapshots: number of training structures at each tau_i.
        test_snapshots: number of test structures at each tau_i.
        combinations: sets of tau_i with a common model; most figures show the last set.
        reference_electron_temperature: tau_ref of all snapshots, K.
        references: (tau_e, tau_i) of self-consistent runs, each for the first test structure at tau_i.
        thermalise: time before the first structure of a trajectory, ps.
        spacing: time between structures of one trajectory, ps.
        scales: relative lattice constants of additional structures for the model of everything, scaled from training
            structures at ``scaled_ion_temperature``.
        scaled_ion_temperature: tau_i of the scaled structures, K.
        large_repeat: number of cubic cells along each axis of a larger test cell; empty for no larger cell.
        large_kpts: k-mesh of the larger cell.
        large_shift: shift of this k-mesh.
        large_energy_window: energy window of the LDOS of the larger cell, eV, if it differs from the others; it may
            have a lower end.
        large_ion_temperature: tau_i of the larger cell, K.
        dft: DFT settings of all runs; the larger cell has a grid of the LDOS with at most the same spacing.
        training: training configuration of all models.
        seed: random seed of the molecular dynamics.
    """

    lattice_constant: float
    repeat: tuple[int, int, int]
    ion_temperatures: tuple[float, ...]
    training_snapshots: int
    test_snapshots: int
    combinations: tuple[tuple[float, ...], ...]
    reference_electron_temperature: float
    references: tuple[tuple[float, float], ...]
    thermalise: float = 2.0
    spacing: float = 0.5
    scales: tuple[float, ...] = ()
    scaled_ion_temperature: float = 298.0
    large_repeat: tuple[int, int, int] | None = None
    large_kpts: tuple[int, int, int] = (1, 1, 1)
    large_shift: tuple[int, int, int] = (0, 0, 0)
    large_energy_window: tuple[float, float] | None = None
    large_ion_temperature: float = 500.0
    dft: Campaign = field(default_factory=Campaign)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    seed: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "ion_temperatures", tuple(map(float, self.ion_temperatures)))
        for name in ("combinations", "references"):
            object.__setattr__(self, name, tuple(tuple(map(float, row)) for row in getattr(self, name)))
        known = set(self.ion_temperatures)
        if list(self.ion_temperatures) != sorted(known):
            raise InputError(f"ion_temperatures: got {list(self.ion_temperatures)}, expected ascending values")
        wanted = {t for members in self.combinations for t in members} | {ion for _, ion in self.references}
        if self.scales:
            wanted.add(self.scaled_ion_temperature)
        if wanted - known:
            missing = ", ".join(f"{t:g}" for t in sorted(wanted - known))
            raise InputError(f"ion_temperatures: other settings use {missing} K, but there are only {sorted(known)} K")
        for name, lowest in (("training_snapshots", 2), ("test_snapshots", 2)):
            if getattr(self, name) < lowest:
                raise InputError(f"{name}: got {getattr(self, name)}, expected at least {lowest}")
        if not self.combinations or min(map(len, self.combinations)) < 2:
            raise InputError(f"combinations: got {self.combinations}, expected sets of at least two ion temperatures")
        self._check_parts()
        if len(self.scales) > self.training_snapshots:
            raise InputError(
                f"scales: got {len(self.scales)}, expected at most {self.training_snapshots}, the number of "
                "structures to scale"
            )

    def _check_parts(self) -> None:
        if not self.training.anchor:
            raise InputError(
                "training: got anchor = false, expected true, because the study compares anchored and other free "
                "energies"
            )
        if self.training.energy_axis != "absolute":
            raise InputError(
                f"training: got energy_axis = {self.training.energy_axis}, expected absolute, because the study "
                "compares models on the energies of the DFT calculations"
            )
        if not (self.references or self.large_repeat):
            return
        if self.dft.engine != "planewave":
            raise InputError(
                f"dft: got engine {self.dft.engine}, but references and the large cell need planewave; remove them"
            )
        if self.dft.energy_window is None:
            raise InputError("dft: got no energy_window, expected one for the references and the large cell")

    def campaign(self, part: str) -> Campaign:
        """Returns the DFT settings of a part of the structures: "training", "scaled", "test" or "large"."""
        if part != "large" or self.large_repeat is None:
            return self.dft
        grid = self.dft.grid
        if grid is not None:
            x, y, z = (math.ceil(n * a / b) for n, a, b in zip(grid, self.large_repeat, self.repeat, strict=True))
            grid = (x, y, z)
        return replace(
            self.dft,
            kpts=self.large_kpts,
            shift=self.large_shift,
            energy_window=self.large_energy_window or self.dft.energy_window,
            grid=grid,
        )

    @classmethod
    def load(cls, name: str | os.PathLike[str]) -> Self:
        """Returns shipped settings by name, or the settings of a TOML file.

        Raises:
            InputError: for an unknown key or an invalid value.
        """
        return load_settings(cls, name, PRESETS, str(__package__))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Returns the settings from the result of ``to_dict`` or the content of a TOML file.

        Raises:
            InputError: for an invalid value.
        """
        tables = {
            "dft": Campaign.from_dict(values.get("dft", {})),
            "training": TrainingConfig.from_dict(values.get("training", {})),
        }
        return cls(**{key: _frozen(value) for key, value in values.items()} | tables)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return dict(json.loads(json.dumps(asdict(self) | {"training": self.training.to_dict()})))


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
