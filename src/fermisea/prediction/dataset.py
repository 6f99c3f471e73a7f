"""A prediction as an xarray data set; names, units and descriptions come from the registry of observables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fermisea.physics.registry import FORMS, OBSERVABLES, SCALARS, SHORT_CUT_UNIT, SHORT_CUTS
from fermisea.prediction.spread import spreads_of, uncertainty_of
from fermisea.prediction.values import PredictionValues

if TYPE_CHECKING:
    import xarray as xr


def dataset_of(prediction: PredictionValues) -> xr.Dataset:
    """Returns all observables of a prediction, with the dimension electron_temperature.

    The free energy has the dimension form: the forms of F of the LDOS, after F of the potential if F comes from it. The
    standard deviation of an observable is NAME_std.
    """
    import xarray as xr  # noqa: PLC0415  # importing it takes a quarter of a second

    results = prediction.results
    rows = prediction.rows()
    scalars = [o for o in SCALARS if o.name in rows[0] and not _is_form(o.name) and o.name != "free_energy"]
    variables: dict[str, Any] = {o.name: _variable(o.name, [row[o.name] for row in rows]) for o in scalars}
    coordinates: dict[str, Any] = {
        "electron_temperature": variables.pop("electron_temperature"),
        "energy": ("energy", prediction.energies, {"units": "eV", "long_name": "Energy of the density of states"}),
    }
    variables["dos"] = ("energy", prediction.dos, _attributes("dos"))
    for name, errors in prediction.errors.items():
        described = {"units": SHORT_CUT_UNIT, "long_name": SHORT_CUTS[name]}
        variables[name] = ("electron_temperature", list(errors), described)
    if prediction.has_density:
        variables["density"] = _variable("density", np.stack([result.density for result in results]))
    if prediction.has_free_energy:
        names = {form: f"free_energy_{form}" for form in FORMS}
        if prediction.origin == "potential":
            names = {"potential": "potential_free_energy"} | names
        coordinates["form"] = list(names)
        energies = [[row[name] for row in rows] for name in names.values()]
        variables["free_energy"] = (("form", "electron_temperature"), energies, _attributes("free_energy"))
        if prediction.anchor is not None:
            described = {"units": "eV", "long_name": "Anchored minus LDOS free energy"}
            places = ("electron_temperature",) if prediction.further_references else ()
            shift = np.reshape(prediction.anchor_shift, (len(results),) * len(places))
            variables["anchor_shift"] = (places, shift, described)
    if prediction.mechanics is not None:
        for name in ("forces", "stress"):
            values = np.stack([OBSERVABLES[name].getter(mechanics) for mechanics in prediction.mechanics])
            variables[name] = _variable(name, values)
    data = xr.Dataset(variables | _spreads(prediction), coordinates)
    data.attrs["reference_electron_temperature"] = prediction.reference_electron_temperature
    if prediction.further_references:
        data.attrs["further_references"] = list(prediction.further_references)
    data.attrs["broadening"] = prediction.density_of_states.broadening
    if prediction.has_free_energy:
        data.attrs["free_energy_origin"] = prediction.origin
        if prediction.thermal_xc is not None:
            data.attrs |= {"thermal_xc": prediction.thermal_xc, "functional": prediction.functional}
    if prediction.total_energy_obstacle:
        data.attrs["total_energy_obstacle"] = prediction.total_energy_obstacle
    if prediction.processes.count > 1:
        own = prediction.processes.part(prediction.grid.shape[0])
        data.attrs["planes"] = [own.start, own.stop]  # of the density, along x
    if prediction.warnings:
        data.attrs["warnings"] = list(prediction.warnings)
    return data


def _spreads(prediction: PredictionValues) -> dict[str, Any]:
    """Returns the standard deviations of the potential or over an ensemble as variables NAME_std."""
    found: dict[str, Any] = {f"{name}_std": _variable(name, values) for name, values in spreads_of(prediction).items()}
    if (spread := prediction.uncertainty) is not None:
        found["dos_std"] = ("energy", spread.dos, _attributes("dos"))
        if prediction.has_density:
            values = spread.density.reshape(len(prediction.results), *prediction.results[0].density.shape)
            found["density_std"] = _variable("density", values)
    for name, (_, _, attributes) in found.items():
        own = prediction.origin == "potential" and OBSERVABLES[name.removesuffix("_std")].from_potential
        whose = "of the potential" if own else "over the networks"
        attributes["long_name"] = f"Standard deviation {whose}: {attributes['long_name']}"
    if not np.isnan(uncertainty := uncertainty_of(prediction)).any():
        described = {"units": "eV", "long_name": "Estimated standard error of F"}
        found["free_energy_uncertainty"] = ("electron_temperature", uncertainty, described)
    return found


def _variable(name: str, values: Any) -> tuple[tuple[str, ...], Any, dict[str, str]]:
    return ("electron_temperature", *OBSERVABLES[name].shape), values, _attributes(name)


def _attributes(name: str) -> dict[str, str]:
    observable = OBSERVABLES[name]
    return {"units": observable.unit, "long_name": observable.description}


def _is_form(name: str) -> bool:
    return name.removeprefix("free_energy_") in FORMS
