"""What tables, data sets and the printed form read of a prediction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ase import Atoms

from fermisea.grid import RealSpaceGrid
from fermisea.physics.density_of_states import DensityOfStates
from fermisea.physics.observables import ThermalObservables
from fermisea.prediction.forces import Mechanics
from fermisea.prediction.uncertainty import Uncertainty
from fermisea.utilities.arrays import FloatArray
from fermisea.utilities.torchrun import Processes


class PredictionValues(Protocol):
    """The values of a prediction; see :class:`fermisea.Prediction`."""

    @property
    def atoms(self) -> Atoms: ...  # noqa: D102
    @property
    def grid(self) -> RealSpaceGrid: ...  # noqa: D102
    @property
    def density_of_states(self) -> DensityOfStates: ...  # noqa: D102
    @property
    def results(self) -> tuple[ThermalObservables, ...]: ...  # noqa: D102
    @property
    def reference_electron_temperature(self) -> float: ...  # noqa: D102
    @property
    def further_references(self) -> tuple[float, ...]: ...  # noqa: D102
    @property
    def errors(self) -> Mapping[str, tuple[float, ...]]: ...  # noqa: D102
    @property
    def total_energy_obstacle(self) -> str | None: ...  # noqa: D102
    @property
    def uncertainty(self) -> Uncertainty | None: ...  # noqa: D102
    @property
    def anchor(self) -> float | None: ...  # noqa: D102
    @property
    def anchor_std(self) -> float | FloatArray: ...  # noqa: D102
    @property
    def origin(self) -> str: ...  # noqa: D102
    @property
    def anchored(self) -> bool: ...  # noqa: D102
    @property
    def mechanics(self) -> tuple[Mechanics, ...] | None: ...  # noqa: D102
    @property
    def warnings(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def functional(self) -> str: ...  # noqa: D102
    @property
    def thermal_xc(self) -> str | None: ...  # noqa: D102
    @property
    def processes(self) -> Processes: ...  # noqa: D102
    @property
    def energies(self) -> FloatArray: ...  # noqa: D102
    @property
    def dos(self) -> FloatArray: ...  # noqa: D102
    @property
    def has_density(self) -> bool: ...  # noqa: D102
    @property
    def has_free_energy(self) -> bool: ...  # noqa: D102
    @property
    def anchor_shift(self) -> float | FloatArray: ...  # noqa: D102

    def rows(self, *, per_atom: bool = False) -> list[dict[str, float]]:
        """Returns a row of numbers for each tau_e."""
