"""Models from several models: ensembles, and models with several tau_ref."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fermisea.errors import InputError
from fermisea.model.model import Model
from fermisea.networks.ensemble import Ensemble
from fermisea.networks.mlp import Mlp


def combine_models(models: Sequence[Model]) -> Model:
    """Returns an ensemble of the networks of several models; anchor and potential come from the first model.

    Raises:
        InputError: without models, or for models that differ in more than their networks.
    """
    _check(models)
    if any(model.hotter for model in models):
        if len({model.reference_electron_temperatures for model in models}) > 1:
            raise InputError("ensemble: got models with different tau_ref, expected the same tau_ref in all of them")
        return blend_models([combine_models(parts) for parts in zip(*(model.parts for model in models), strict=True)])
    first, *others = models
    names = (
        "descriptor",
        "energy_grid",
        "broadening",
        "functional",
        "reference_electron_temperature",
        "elements",
        "axis",
    )
    for number, other in enumerate(others, start=2):
        for name in names:
            one, two = getattr(first, name), getattr(other, name)
            if one != two:
                what = name.replace("_", " ")
                raise InputError(f"ensemble: {what} of the first model is {one}, but {what} of model {number} is {two}")
    members: list[Mlp] = []
    for model in models:
        members += model.network.members
    return replace(
        first,
        network=Ensemble(members).eval(),
        highest_electron_temperature=min(model.highest_electron_temperature for model in models),
        grid_spacing=min(model.grid_spacing for model in models),
        provenance=first.provenance | {"members": [model.provenance for model in others]},
    )


def blend_models(models: Sequence[Model]) -> Model:
    """Returns a model with several tau_ref, from a model of the same material at each of them, in any order.

    The default grid of all parts is the finest of their default grids.

    Raises:
        InputError: for fewer than two models, two models with the same tau_ref, or models that differ in elements,
            functional or number of networks, or of which only some give a total free energy.
    """
    _check(models)
    parts = sorted(
        (part for model in models for part in model.parts), key=lambda part: part.reference_electron_temperature
    )
    if len(parts) < 2:
        raise InputError("models: got a single tau_ref, expected models with at least two")
    spacing = min(part.grid_spacing for part in parts)
    first, *others = (replace(part, grid_spacing=spacing) for part in parts)
    return replace(first, hotter=tuple(others))


def _check(models: Sequence[Model]) -> None:
    """Raises InputError for anything but a list of models."""
    if isinstance(models, Model) or not models or not all(isinstance(model, Model) for model in models):
        got = "an empty list" if isinstance(models, list) and not models else f"{type(models).__name__}"
        raise InputError(f"models: got {got}, expected a list of models; load each one with load_model(FILE)")
