"""What the study computes: one frozen value, three of them shipped as TOML files."""

from __future__ import annotations

import importlib.resources
import json
import os
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from fermisea.campaign import Campaign
from fermisea.errors import InputError
from fermisea.training.config import TrainingConfig
from fermisea.utilities.toml import read_toml

PRESETS = ("full", "quick", "cluster")


@dataclass(frozen=True)
class TransferSettings:
    """What the study computes.

    Attributes:
        lattice_constant: of the cubic cell of four aluminium atoms, Angstrom.
        repeat: of it, along each axis.
        ion_temperatures: tau_i that structures are sampled at, K, ascending.
        training_snapshots: structures of each tau_i that models may learn from.
        test_snapshots: structures of each tau_i that none sees.
        combinations: sets of tau_i that models are trained on together, besides each one alone; the last is shown most.
        reference_electron_temperature: tau_ref of all snapshots, K.
        references: (tau_e, tau_i) of self-consistent runs, each of the first test structure of tau_i.
        thermalise: time before the first structure of a trajectory, ps.
        spacing: time between structures of one trajectory, ps.
        scales: lattice constants over the above of further structures for the model of everything, from training
            structures of ``scaled_ion_temperature``.
        scaled_ion_temperature: tau_i of these, K.
        large_repeat: cubes of a cell that tests the transfer to another size; none leaves it out.
        large_kpts: its k-mesh.
        large_shift: of it.
        large_energy_window: of its LDOS, eV, if not that of the others: it may end below.
        large_ion_temperature: its tau_i, K.
        dft: settings of all runs.
        training: of every model.
        seed: of the molecular dynamics.
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
            raise InputError(f"ion_temperatures: got {list(self.ion_temperatures)}, expected ascending ones")
        wanted = {t for members in self.combinations for t in members} | {ion for _, ion in self.references}
        if self.scales:
            wanted.add(self.scaled_ion_temperature)
        if wanted - known:
            missing = ", ".join(f"{t:g}" for t in sorted(wanted - known))
            raise InputError(
                f"ion_temperatures: {missing} K is asked for elsewhere, but there are only {sorted(known)}"
            )
        for name, lowest in (("training_snapshots", 2), ("test_snapshots", 2)):
            if getattr(self, name) < lowest:
                raise InputError(f"{name}: got {getattr(self, name)}, expected at least {lowest}")
        if not self.combinations or min(map(len, self.combinations)) < 2:
            raise InputError(f"combinations: got {self.combinations}, expected sets of two ion temperatures or more")
        self._check_parts()
        if len(self.scales) > self.training_snapshots:
            raise InputError(
                f"scales: got {len(self.scales)}, but there are {self.training_snapshots} structures to scale"
            )

    def _check_parts(self) -> None:
        if not self.training.anchor:
            raise InputError("training: got anchor = false, but the study is about both free energies")
        if not (self.references or self.large_repeat):
            return
        if self.dft.engine != "planewave":
            raise InputError(
                f"dft: got engine {self.dft.engine}, but references and the large cell need planewave; leave them out"
            )
        if self.dft.energy_window is None:
            raise InputError("dft: got no energy_window, which references and the large cell need")

    @classmethod
    def load(cls, name: str | os.PathLike[str]) -> Self:
        """Returns shipped settings by name, or those of a TOML file.

        Raises:
            InputError: for an unknown key or a value that cannot be used.
        """
        if str(name) in PRESETS:
            with importlib.resources.as_file(importlib.resources.files(__package__) / f"{name}.toml") as path:
                return cls._read(path)
        return cls._read(Path(name))

    @classmethod
    def _read(cls, path: Path) -> Self:
        values = read_toml(path, [item.name for item in fields(cls)])
        required = {item.name for item in fields(cls) if item.default is MISSING and item.default_factory is MISSING}
        if lacking := sorted(required - set(values)):
            raise InputError(f"{path}: lacks {', '.join(lacking)}")
        try:
            return cls.from_dict(values)
        except (InputError, TypeError, ValueError) as error:
            raise InputError(f"{path}: {error}") from error

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Returns the settings that ``to_dict`` or a TOML file holds.

        Raises:
            InputError: for a value that cannot be used.
        """
        tables = {
            "dft": Campaign.from_dict(values.get("dft", {})),
            "training": TrainingConfig.from_dict(values.get("training", {})),
        }
        return cls(**{key: _frozen(value) for key, value in values.items()} | tables)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values that JSON can hold."""
        return dict(json.loads(json.dumps(asdict(self) | {"training": self.training.to_dict()})))


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
