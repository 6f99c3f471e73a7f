"""Settings of the study; the complete ones are shipped as a TOML file."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from fermisea.campaign import Campaign
from fermisea.errors import InputError
from fermisea.studies.aluminium.kinds import Kind
from fermisea.studies.aluminium.meshes import Mesh
from fermisea.studies.aluminium.probes import GROUPS
from fermisea.studies.settings import check_numbers, load_settings, tables
from fermisea.training.config import TrainingConfig

PRESETS = ("aluminium",)

_ELSEWHERE = {
    "energy_window": "[[reference_temperatures]]",
    "energy_spacing": "[[reference_temperatures]]",
    "kpts": "[[kinds]]",
}
"""Tables of DFT settings that differ among the runs."""


@dataclass(frozen=True)
class ReferenceTemperature:
    """One tau_ref of the snapshots.

    Attributes:
        electron_temperature: tau_ref, K.
        energy_window: first and last energy of the LDOS, eV.
        energy_spacing: energy spacing and broadening of the LDOS, eV.
    """

    electron_temperature: float
    energy_window: tuple[float, float]
    energy_spacing: float

    def __post_init__(self) -> None:
        for name in ("electron_temperature", "energy_spacing"):
            check_numbers(name, (getattr(self, name),), 1, lowest=1e-3)
        check_numbers("energy_window", self.energy_window, 2, lowest=-math.inf)
        if self.energy_window[1] <= self.energy_window[0]:
            raise InputError(f"energy_window: got {list(self.energy_window)} eV, expected ascending energies")


@dataclass(frozen=True)
class HotRuns:
    """Self-consistent runs of test structures at other electronic temperatures, without an LDOS.

    Attributes:
        kind: name of the kind of structures.
        structures: number of test structures.
        kpts: k-mesh, shifted like the others.
        electron_temperatures: tau_e of the runs, K.
    """

    kind: str
    structures: int
    kpts: Mesh
    electron_temperatures: tuple[float, ...]

    def __post_init__(self) -> None:
        check_numbers("hot: kpts", self.kpts, 3, lowest=1, whole=True)
        check_numbers("hot: structures", (self.structures,), 1, lowest=1, whole=True)
        number = len(self.electron_temperatures) if isinstance(self.electron_temperatures, tuple) else 1
        check_numbers("hot: electron_temperatures", self.electron_temperatures, number, lowest=1e-3)


@dataclass(frozen=True)
class AluminiumSettings:
    """Settings of the study.

    Attributes:
        lattice_constant: lattice constant of fcc aluminium, Angstrom.
        kinds: kinds of structures, each with its own k-mesh.
        kpts: k-mesh of a cubic cell of four atoms in self-consistent runs of perfect crystals, shifted by half a step.
        reference_temperatures: all tau_ref of the snapshots, with their energy windows.
        references: self-consistent runs of perfect crystals and of the vacancy, any of "lattices", "vacancy", "line",
            "elastic" and "phonons".
        hot: self-consistent runs of test structures at other electronic temperatures.
        dft: other DFT settings of all runs.
        training: training configuration of the model.
        seed: random seed of the structures.
    """

    lattice_constant: float
    kinds: tuple[Kind, ...]
    reference_temperatures: tuple[ReferenceTemperature, ...]
    kpts: Mesh = (8, 8, 8)
    references: tuple[str, ...] = GROUPS
    hot: tuple[HotRuns, ...] = ()
    dft: Campaign = field(default_factory=Campaign)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    seed: int = 1

    def __post_init__(self) -> None:
        check_numbers("lattice_constant", (self.lattice_constant,), 1, lowest=0.1)
        check_numbers("kpts", self.kpts, 3, lowest=1, whole=True)
        check_numbers("seed", (self.seed,), 1, lowest=0, whole=True)
        if not isinstance(self.references, tuple) or not set(self.references) <= set(GROUPS):
            raise InputError(f"references: got {self.references!r}, expected any of {', '.join(GROUPS)}")
        names = [kind.name for kind in self.kinds]
        if not names or len(set(names)) < len(names):
            raise InputError(f"kinds: got the names {', '.join(names) or 'none'}, expected different names")
        temperatures = [item.electron_temperature for item in self.reference_temperatures]
        if not temperatures or temperatures != sorted(set(temperatures)):
            raise InputError(f"reference_temperatures: got {temperatures} K, expected ascending electron temperatures")
        for runs in self.hot:
            number = {kind.name: kind.test for kind in self.kinds}.get(runs.kind, 0)
            if runs.structures > number:
                raise InputError(
                    f"hot: got {runs.structures} structures of kind {runs.kind}, but the kinds have {number} test "
                    "structures of this name"
                )
        if self.dft.engine != "planewave":
            raise InputError(f"dft: got engine {self.dft.engine!r}, expected planewave")
        for name, place in _ELSEWHERE.items():
            if getattr(self.dft, name) is not None:
                raise InputError(f"dft: got {name}, which would have no effect; give it in {place}")

    def campaign(self, tau_ref: float, kpts: Mesh) -> Campaign:
        """Returns the DFT settings at one tau_ref (K) with a k-mesh."""
        found = {item.electron_temperature: item for item in self.reference_temperatures}[tau_ref]
        return replace(self.dft, kpts=kpts, energy_window=found.energy_window, energy_spacing=found.energy_spacing)

    @classmethod
    def load(cls, name: str | os.PathLike[str]) -> Self:
        """Returns shipped settings by name, or the settings of a TOML file.

        Raises:
            InputError: for an unknown or missing key, or an invalid value.
        """
        return load_settings(cls, name, PRESETS, str(__package__))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Returns the settings from the result of ``to_dict`` or the content of a TOML file.

        Raises:
            InputError: for an invalid value.
        """
        parts = {
            "kinds": tables(Kind, "kinds", values["kinds"]),
            "reference_temperatures": tables(
                ReferenceTemperature, "reference_temperatures", values["reference_temperatures"]
            ),
            "hot": tables(HotRuns, "hot", values.get("hot", [])),
            "dft": Campaign.from_dict(values.get("dft", {})),
            "training": TrainingConfig.from_dict(values.get("training", {})),
        }
        plain: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
        return cls(**(plain | parts))

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return dict(json.loads(json.dumps(asdict(self) | {"training": self.training.to_dict()})))
