"""Models with several tau_ref: consistency, and predictions from the parts of the model at each tau_ref."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from ase import Atoms

from fermisea.errors import InputError
from fermisea.model.blended_potential import BlendedPotential
from fermisea.model.potential import ModelPotential
from fermisea.networks.ensemble import Network
from fermisea.physics.blend import shares_of
from fermisea.potential import ThermalTerms
from fermisea.prediction.blend import blended_prediction
from fermisea.prediction.plausibility import domain_warnings_ignored
from fermisea.prediction.result import Prediction


class Part(Protocol):
    """A model at one tau_ref; see :class:`fermisea.Model`."""

    @property
    def network(self) -> Network: ...  # noqa: D102
    @property
    def elements(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def functional(self) -> str: ...  # noqa: D102
    @property
    def reference_electron_temperature(self) -> float: ...  # noqa: D102
    @property
    def total_energy_obstacle(self) -> str | None: ...  # noqa: D102
    @property
    def thermal(self) -> ThermalTerms | None: ...  # noqa: D102
    @property
    def predict(self) -> Callable[..., Prediction]: ...  # noqa: D102
    @property
    def potential(self) -> Callable[[], Any]: ...  # noqa: D102


class Parted(Part, Protocol):
    """A model with parts at higher tau_ref."""

    @property
    def hotter(self) -> Sequence[Parted]: ...  # noqa: D102


def check_parts(model: Parted) -> None:
    """Checks that the parts of a model belong together.

    Raises:
        InputError: for parts that differ in elements, functional or number of networks, of which only some give a total
            free energy, or whose tau_ref do not ascend.
    """
    if any(part.hotter for part in model.hotter):
        raise InputError("models: got hotter models with further tau_ref, expected one tau_ref each; use blend_models")
    for colder, hotter in itertools.pairwise((model, *model.hotter)):
        low, high = colder.reference_electron_temperature, hotter.reference_electron_temperature
        if not low < high:
            raise InputError(f"models: got tau_ref = {high:g} K after {low:g} K, expected ascending tau_ref")
        compared: dict[str, tuple[Any, Any]] = {
            "elements": (", ".join(colder.elements), ", ".join(hotter.elements)),
            "functional": (colder.functional, hotter.functional),
            "number of networks": (len(colder.network.members), len(hotter.network.members)),
            "obstacle to total energies": (colder.total_energy_obstacle, hotter.total_energy_obstacle),
        }
        for name, (one, two) in compared.items():
            if one != two:
                raise InputError(
                    f"models: got the {name} {one} at tau_ref = {low:g} K and {two} at {high:g} K, expected the same; "
                    "train both with the same settings"
                )


def predict_parts(
    parts: Sequence[Part],
    atoms: Atoms,
    electron_temperatures: Sequence[float],
    options: Mapping[str, Any],
    *,
    scalar: bool,
) -> Prediction:
    """Returns the blended prediction of the parts of a model.

    Args:
        parts: the model at each tau_ref, ascending.
        atoms: structure.
        electron_temperatures: tau_e, K.
        options: keyword arguments of :meth:`fermisea.Model.predict` for every part. The callback ``progress`` receives
            an estimate of the total number of points.
        scalar: whether the tau_e was a single number.
    """
    progress: Callable[[int, int], None] | None = options["progress"]
    references = [part.reference_electron_temperature for part in parts]
    shares = {t: shares_of(references, t) for t in electron_temperatures}
    used = sorted({index for own in shares.values() for index in own})
    found: dict[int, Prediction] = {}
    before = 0
    for index in used:
        last = [0]

        def tell(done: int, total: int, last: list[int] = last, before: int = before, count: int = len(found)) -> None:
            last[0] = total
            if progress is not None:
                progress(before + done, before + (len(used) - count) * total)

        own = [t for t, share in shares.items() if index in share]
        with domain_warnings_ignored():  # the blended prediction collects them
            found[index] = parts[index].predict(atoms, own, **{**options, "progress": tell})
        before += last[0]
    return blended_prediction(found, shares, electron_temperatures, scalar=scalar)


def potential_of(parts: Sequence[Part]) -> BlendedPotential:
    """Returns the potential of a model with several tau_ref: of all parts up to the first one without a potential."""
    known = list(itertools.takewhile(lambda part: part.thermal is not None, parts))
    potentials: list[ModelPotential] = [part.potential() for part in known]
    return BlendedPotential(tuple(potentials), whole=len(known) == len(parts))
