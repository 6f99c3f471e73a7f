"""Errors of a model against snapshots, for each structure and electronic temperature."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fermisea.data.energy_shift import shifted
from fermisea.data.snapshot import Snapshot
from fermisea.errors import InputError
from fermisea.grid import EnergyGrid
from fermisea.model.model import Model
from fermisea.physics.error_measures import QUANTITIES, SUMMARISED, energy_errors, percent_error, percent_of_spread
from fermisea.physics.observables import ThermalObservables
from fermisea.physics.registry import OBSERVABLES
from fermisea.physics.tau_dependence import thermal_functional
from fermisea.prediction.ldos import ldos_chunks
from fermisea.prediction.plausibility import domain_warnings_ignored
from fermisea.prediction.request import CHUNK, MEMORY
from fermisea.prediction.result import Prediction
from fermisea.prediction.route import Route, route_of
from fermisea.utilities.arrays import FloatArray
from fermisea.utilities.devices import DeviceName
from fermisea.utilities.torchrun import alone

DEFAULT_TEMPERATURES = (300.0, 1000.0, 3000.0, 10_000.0)
"""Default tau_e of an evaluation in addition to tau_ref, K, up to the limit of the window."""


_COMMON = 0.9
"""Smallest fraction of the energies of a model that a snapshot must cover."""


@dataclass(frozen=True)
class Options:
    """Options of the predictions of an evaluation; see :func:`evaluate`."""

    tail: bool
    thermal_xc: str | None
    chunk: int
    memory: int
    route: Route | None


def evaluate(
    model: Model,
    snapshots: Iterable[Snapshot],
    electron_temperatures: Sequence[float] | None = None,
    *,
    tail: bool = True,
    thermal_xc: str | None = None,
    chunk: int = CHUNK,
    memory: int = MEMORY,
    device: DeviceName | None = None,
    route: Route | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Returns one row of errors for each snapshot and electronic temperature, as plain data for JSON.

    An error is the prediction minus the value from the LDOS of the snapshot at the same tau_e. Energies are in eV per
    atom. Columns:
        snapshot, formula, atoms, ion_temperature, electron_temperature: snapshot and temperatures, K.
        ldos_error_percent: root mean square error over the standard deviation of the LDOS.
        density_error_percent, dos_error_percent: mean absolute error over the mean.
        fermi_level_error: error of mu, eV.
        electrons_error: error of the number of electrons in the predicted DOS at the Fermi level of the snapshot, per
            atom.
        band_energy_error, entropy_term_error, free_energy_error: errors of E_b, -TS and F.
        free_energy_change_error: error of F(tau_e) - F(tau_ref).
        free_energy, free_energy_change: values of the snapshot.
        transfer_error: |F_KS - F_HF| / 2 of the prediction.
        reference_error: error of F(tau_ref) against the free energy of the DFT code.
        potential_free_energy_error: the same error of F of the potential at tau_e, if the model has one.
        anchored_free_energy_error: error of anchored F against the free energy of the DFT code plus the change of F of
            the snapshot.
        closure_error: F(tau_ref) of the LDOS of the snapshot minus the free energy of the DFT code.
        closure_density_error_percent: the same for the density.
    Columns of total free energies are absent if model or snapshots have none, and so are columns of anchored F if the
    model has no anchor. For an ensemble, NAME_error is the error of the mean, NAME_spread the standard deviation over
    its networks, and NAME_member_errors the errors of each network, for the quantities of
    :data:`fermisea.physics.error_measures.QUANTITIES`; dos_percent_member_errors belong to dos_error_percent.

    A snapshot is compared with the part of a model at its tau_ref, without a blend of other tau_ref.

    Args:
        model: model to evaluate.
        snapshots: snapshots with the energies, functional and tau_ref of the model.
        electron_temperatures: tau_e, K; by default tau_ref and the ``DEFAULT_TEMPERATURES`` within the window.
        tail: whether free electrons continue the LDOS of model and snapshots above its energies.
        thermal_xc: exchange-correlation functional of F, S and C_e at tau_e for model and snapshots, as in
            :meth:`fermisea.Model.predict`; F(tau_ref) is of the functional of the model.
        chunk: number of grid points in a block.
        memory: as for :meth:`fermisea.Model.predict`, bytes; with enough memory an ensemble needs one pass over the
            grid.
        device: device of networks and descriptors, as for :meth:`fermisea.Model.predict`.
        route: route of the descriptors, as for :meth:`fermisea.Model.predict`.
        progress: callback with the number of snapshots done and the total number.

    Raises:
        InputError: if a snapshot does not match the model; for an unknown ``thermal_xc``, or one without total free
            energies; for a device or route that is unknown or not available.
        WindowError: if the energy window of model or snapshot does not serve an electronic temperature.
    """
    chosen, hot = list(snapshots), thermal_functional(thermal_xc, model.functional, model.total_energy_obstacle)
    options = Options(tail, hot, chunk, memory, route)
    model = model if device is None else model.to(device)
    route_of(model.network.device, route)
    rows = []
    for index, snapshot in enumerate(chosen):
        part = _part(model, snapshot)
        _check_same_kind(part, snapshot, index)
        with alone():  # errors of whole densities
            rows += _rows(part, snapshot, index, electron_temperatures, options)
        if progress is not None:
            progress(index + 1, len(chosen))
    return rows


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns errors over the structures of each ion and electronic temperature.

    NAME_error is the root mean square of the column of :func:`evaluate`, NAME_error_mean its mean absolute value, and
    NAME_error_worst its largest absolute value.
    """
    groups: dict[tuple[float, float], list[dict[str, Any]]] = {}
    for row in rows:
        ion = math.nan if row["ion_temperature"] is None else row["ion_temperature"]
        groups.setdefault((ion, row["electron_temperature"]), []).append(row)
    table = []
    for (ion, electron), members in sorted(groups.items(), key=lambda item: item[0]):
        entry: dict[str, Any] = {
            "ion_temperature": None if math.isnan(ion) else ion,
            "electron_temperature": electron,
            "snapshots": len(members),
            "atoms": "/".join(sorted({str(row["atoms"]) for row in members})),
        }
        for name in members[0]:
            if name in SUMMARISED:
                values = [abs(row[name]) for row in members]
                entry[name] = math.sqrt(math.fsum(value**2 for value in values) / len(values))
                entry[f"{name}_mean"], entry[f"{name}_worst"] = statistics.fmean(values), max(values)
        table.append(entry)
    return table


def _part(model: Model, snapshot: Snapshot) -> Model:
    """Returns the part of a model at tau_ref of a snapshot, or at the nearest tau_ref."""
    tau_ref = snapshot.electron_temperature
    return min(model.parts, key=lambda part: abs(math.log(part.reference_electron_temperature / tau_ref)))


def _rows(
    model: Model,
    snapshot: Snapshot,
    index: int,
    electron_temperatures: Sequence[float] | None,
    options: Options,
) -> list[dict[str, Any]]:
    reference = model.reference_electron_temperature
    if electron_temperatures is None:
        highest = min(model.highest_electron_temperature, snapshot.highest_electron_temperature)
        asked = sorted({reference, *(t for t in DEFAULT_TEMPERATURES if t <= highest)})
    else:
        asked = [float(t) for t in electron_temperatures]
    temperatures = [*asked, reference]
    with domain_warnings_ignored():
        predicted = model.predict(
            snapshot.atoms,
            temperatures,
            snapshot.grid,
            anchor=False,
            allow_outside=True,
            tail=options.tail,
            thermal_xc=options.thermal_xc,
            chunk=options.chunk,
            memory=options.memory,
            route=options.route,
        )
    true = snapshot.observables(temperatures, tail=options.tail, thermal_xc=options.thermal_xc)
    compared = _on_axis(model, snapshot)
    common = slice(compared.energy_grid.size)
    atoms, energy = len(snapshot.atoms), snapshot.reference.free_energy
    shared = {
        "snapshot": index,
        "formula": snapshot.atoms.get_chemical_formula(),
        "atoms": atoms,
        "ion_temperature": snapshot.ion_temperature,
    }
    once = {
        "ldos_error_percent": _ldos_error(model, compared, options),
        "dos_error_percent": percent_error(predicted.dos[common], compared.dos),
        **_dos_members(predicted, compared.dos),
        "closure_density_error_percent": percent_error(true[-1].density, snapshot.density),
    }
    totals: list[dict[str, float]] = [{} for _ in asked]
    if model.total_energy_obstacle is None and snapshot.total_energy_obstacle is None:
        cold = true[-1].reference_free_energy  # F(tau_ref) is of the functional of the LDOS, with thermal_xc too
        true_energies = np.array([t.free_energy for t in true])
        changes = true_energies - cold
        reference_error = predicted.results[-1].reference_free_energy - cold
        error = predicted.free_energy - true_energies
        once["reference_error"] = float(reference_error + cold - energy) / atoms
        once["closure_error"] = float(cold - energy) / atoms
        totals = [
            {
                "free_energy_error": float(error[k]) / atoms,
                "free_energy_change_error": float(error[k] - reference_error) / atoms,
                "free_energy": float(true_energies[k]) / atoms,
                "free_energy_change": float(changes[k]) / atoms,
                "transfer_error": float(predicted.transfer_error[k]) / atoms,
            }
            for k in range(len(asked))
        ]
        if predicted.anchor is not None:
            anchored = np.asarray(predicted.anchored_free_energy) - changes - energy
            for k, total in enumerate(totals):
                total["anchored_free_energy_error"] = float(anchored[k]) / atoms
                if predicted.results[k].potential is not None:
                    difference = predicted.results[k].potential_free_energy - predicted.anchored_free_energy[k]
                    total["potential_free_energy_error"] = float(anchored[k] + difference) / atoms
    rows = []
    spreads = _spreads(predicted, true, atoms)
    for k, t in enumerate(asked):
        dos = predicted.density_of_states
        electrons = dos.integral(dos.weights(true[k].fermi_level, t).electrons)
        rows.append(
            shared
            | {
                "electron_temperature": t,
                "density_error_percent": percent_error(predicted.density[k], true[k].density),
                "electrons_error": float(electrons - snapshot.electrons) / atoms,
            }
            | energy_errors(predicted.results[k], true[k], atoms)
            | totals[k]
            | spreads[k]
            | once
        )
    return rows


def _spreads(predicted: Prediction, true: Sequence[ThermalObservables], atoms: int) -> list[dict[str, Any]]:
    """Returns the spread of an ensemble and the errors of its networks at each tau_e, eV and eV per atom.

    The last tau_e is tau_ref.
    """
    spread = predicted.uncertainty
    if spread is None:
        return [{} for _ in true]
    names = [name for name in QUANTITIES if name != "free_energy_change"]
    if not (predicted.has_free_energy and true[0].free_energies):
        names.remove("free_energy")
    found: list[dict[str, Any]] = [{} for _ in true]

    def add(name: str, values: FloatArray, own: FloatArray) -> None:
        for k, row in enumerate(found):
            row[f"{name}_spread"] = float(values[:, k].std(ddof=1))
            row[f"{name}_member_errors"] = (values[:, k] - own[k]).tolist()

    for name in names:
        observable = OBSERVABLES[name]
        number = atoms if observable.extensive else 1
        values = spread.values(observable.getter) / number
        own = np.array([observable.getter(result) for result in true]) / number
        add(name, values, own)
        if name == "free_energy":
            reference = spread.values(lambda result: result.reference_free_energy) / number
            add("free_energy_change", values - reference, own - true[-1].reference_free_energy / number)
    return found


def _dos_members(predicted: Prediction, true: FloatArray) -> dict[str, list[float]]:
    """Returns the errors of the DOS of the networks of an ensemble, percent."""
    if predicted.uncertainty is None:
        return {}
    member_dos = predicted.uncertainty.member_dos[:, : len(true)]
    return {"dos_percent_member_errors": [percent_error(dos, true) for dos in member_dos]}


def _on_axis(model: Model, snapshot: Snapshot) -> Snapshot:
    """Returns a snapshot with the energies of a model, as far as the energies of the snapshot reach."""
    if model.axis is None:
        return snapshot
    zero, own = model.axis.reference(snapshot.electrons, snapshot.grid.volume), model.energy_grid
    size = int((snapshot.energy_grid.stop - zero - own.start) / own.spacing + 1e-9) + 1
    if size < _COMMON * own.size:
        raise InputError(
            f"snapshot of {snapshot.atoms.get_chemical_formula()}: its energies end at {snapshot.energy_grid.stop:.2f} "
            f"eV, expected about {own.stop + zero:.2f} eV, as the energies of the model; use data with the same energy "
            "window as in training"
        )
    return shifted(snapshot, zero, replace(own, size=min(size, own.size)))


def _ldos_error(model: Model, snapshot: Snapshot, options: Options) -> float:
    """Root mean square error over the standard deviation about each energy's mean, percent."""
    mean = snapshot.dos / snapshot.grid.volume
    error = spread = 0.0
    for part, ldos in ldos_chunks(model, snapshot.atoms, snapshot.grid, options.chunk, route=options.route):
        true = snapshot.read_ldos(part).astype(np.float64)
        error += float(np.sum((ldos[:, : len(mean)] - true) ** 2))
        spread += float(np.sum((true - mean) ** 2))
    return percent_of_spread(error, spread)


def _check_same_kind(model: Model, snapshot: Snapshot, index: int) -> None:
    own, expected = snapshot.energy_grid, model.energy_grid
    pairs: list[tuple[str, Any, Any, Callable[[Any], str]]] = [
        ("broadening", snapshot.broadening, model.broadening, lambda b: f"{b.standard_deviation:.9g} eV ({b.kernel})"),
        ("functional", snapshot.functional, model.functional, str),
        (
            "electron temperature",
            snapshot.electron_temperature,
            model.reference_electron_temperature,
            lambda t: f"{t:.9g} K",
        ),
    ]
    if model.axis is None:
        pairs.insert(0, ("energy grid", own, expected, _energies))
    else:
        pairs.insert(0, ("energy spacing", own.spacing, expected.spacing, lambda step: f"{step:.9g} eV"))
    for name, got, wanted, text in pairs:
        if got != wanted:
            raise InputError(
                f"snapshot {index}: its {name} is {text(got)}, the model has {text(wanted)}; use data of the same kind"
            )


def _energies(grid: EnergyGrid) -> str:
    """Returns an energy grid as text."""
    return f"{grid.start:.9g} to {grid.stop:.9g} eV in steps of {grid.spacing:.9g} eV"
