"""Results that must not change when the code changes, from public names of fermisea only; see unchanged.py.

The functions use only names such as ``fermisea.train``, so they run on every arrangement of the modules. Each item is a
function without arguments that returns named arrays. Models and snapshots are made once.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import torch
import xarray as xr
from ase import Atoms
from ase.build import bulk

import fermisea

Numbers = dict[str, Any]

STRUCTURES = Path(__file__).parents[1] / "tests" / "data" / "al32"
TEMPERATURES = [300.0, 1000.0, 10_000.0]
"""tau_e of the predictions, K."""
FORMS = ("naive", "harris_foulkes", "kohn_sham", "second_order")
"""Forms of the free energy."""
SHAPE, DOS_SHAPE, FORCES_SHAPE = (24, 24, 24), (14, 14, 14), (16, 16, 16)
"""Grids of the predictions: density, DOS where it has a grid of its own, and forces."""
STREAMED = 2**16
"""Memory for a stored hidden layer, bytes; too small for any of these grids."""

PROPERTIES = (
    "anchor",
    "anchored_free_energy",
    "band_energy",
    "density",
    "dos",
    "dos_grid_error",
    "electrons",
    "entropy",
    "fermi_level",
    "forces",
    "free_energy",
    "free_energy_std",
    "heat_capacity",
    "internal_energy",
    "ldos_free_energy",
    "precision_error",
    "stress",
    "transfer_error",
)
"""Properties of a prediction; missing properties are skipped."""
SPREADS = (
    "band_energy",
    "density",
    "dos",
    "entropy",
    "fermi_level",
    "free_energy",
    "free_energy_change",
    "heat_capacity",
    "internal_energy",
)
"""Properties of an uncertainty; missing properties are skipped."""


@cache
def liquid() -> Atoms:
    """Returns 32 aluminium atoms at 933 K."""
    return ase.io.read(STRUCTURES / "al32-933K-00.extxyz")


@cache
def ensemble() -> Any:
    """Returns five networks and an anchor: the model of aluminium that comes with the package, at one tau_ref."""
    return dataclasses.replace(fermisea.load_model("aluminium").parts[0], thermal=None)


@cache
def single() -> Any:
    """Returns the first network of this model, with its anchor."""
    return dataclasses.replace(ensemble(), network=ensemble().network.members[0])


@cache
def snapshots() -> tuple[Any, ...]:
    """Returns four snapshots with four atoms and a made-up LDOS, 6x6x6 points and 36 energies."""
    return tuple(_snapshot(seed) for seed in range(4))


@cache
def small() -> Any:
    """Returns a model with one network, trained on the made-up snapshots."""
    return _trained(epochs=8)


@cache
def double() -> Any:
    """Returns a model in float64 with the bispectrum, trained on the made-up snapshots."""
    return _trained(epochs=3, descriptor="bispectrum", twojmax=4, dtype="float64")


@cache
def small_ensemble() -> Any:
    """Returns a model with three networks, trained on the made-up snapshots."""
    return _trained(epochs=4, ensemble=3)


def _trained(**settings: Any) -> Any:
    values = {"order": 3, "cutoff": 4.0, "hidden": (32, 32), "batch_size": 64, "validation_fraction": 0.25, "seed": 3}
    if "allow_closure_error" in {field.name for field in dataclasses.fields(fermisea.TrainingConfig)}:
        values["allow_closure_error"] = True  # the made-up free energies do not belong to the LDOS
    return fermisea.train(fermisea.Dataset(snapshots()), fermisea.TrainingConfig(**values | settings))


def _snapshot(seed: int) -> Any:
    """Returns a snapshot whose LDOS follows a sum of Gaussians on the atoms."""
    atoms = bulk("Al", "fcc", a=4.05, cubic=True)
    atoms.positions += np.random.default_rng(seed).normal(scale=0.15, size=atoms.positions.shape)
    grid = fermisea.RealSpaceGrid(atoms.cell.array, (6, 6, 6))
    around = np.zeros((*grid.shape, 1))
    for shift in np.ndindex(3, 3, 3):
        for position in atoms.positions + (np.array(shift) - 1) @ grid.lattice:
            around[..., 0] += np.exp(-np.sum((grid.points() - position) ** 2, axis=-1) / 1.6)
    energies = -6.0 + 0.5 * np.arange(36)
    above = energies + 3.0 + 1.5 * around
    ldos = 0.0075 * (1 + 0.5 * around) * np.sqrt(np.logaddexp(0, 2 * above) / 2) / (1 + np.exp(-4 * above))
    volume, axes = atoms.get_volume(), ("x", "y", "z")
    reference = {"free_energy": -220.0 + 0.1 * seed, "parts": {}, "fermi_level": 2.0, "electrons": 12.0}
    return fermisea.Snapshot.from_xarray(
        xr.Dataset(
            {
                "ldos": ((*axes, "energy"), ldos.astype(np.float32)),
                "density": (axes, 12.0 / volume * (0.5 + 0.5 * around[..., 0] / around.mean())),
                "dos": ("energy", volume * ldos.mean((0, 1, 2))),
                "positions": (("atom", "cartesian"), atoms.positions),
                "atomic_numbers": ("atom", atoms.numbers),
                "cell": (("lattice_vector", "cartesian"), grid.lattice),
            },
            attrs={
                "format": "fermisea-snapshot",
                "format_version": 1,
                "electron_temperature_K": 1000.0,
                "ion_temperature_K": 300.0,
                "broadening_kernel": "gaussian",
                "broadening_standard_deviation_eV": 0.5,
                "energy_start_eV": -6.0,
                "energy_spacing_eV": 0.5,
                "functional": "lda",
                "reference": json.dumps(reference | {"entropy_term": -0.1}),
                "ions": json.dumps({"Al": ensemble().ions["Al"].to_dict()}),
                "provenance": "{}",
            },
        )
    )


def predict(model: Any, atoms: Atoms, shape: tuple[int, int, int] | None, **options: Any) -> Numbers:
    """Returns what a prediction gives, by name."""
    return prediction_numbers(model.predict(atoms, TEMPERATURES, shape, **_inside(model.predict) | options))


def _inside(function: Callable[..., Any]) -> dict[str, bool]:
    """Returns the option that lets these grids pass, which are wider than those of training, where there is one."""
    return {"allow_outside": True} if "allow_outside" in inspect.signature(function).parameters else {}


def prediction_numbers(prediction: Any) -> Numbers:
    """Returns the properties of a prediction, its free energies, its xarray data set and its uncertainty."""
    found = _properties(prediction, PROPERTIES)
    if prediction.has_free_energy:
        found |= {f"free_energy_by/{form}": prediction.free_energy_by(form) for form in FORMS}
        results = "anchored_results" if prediction.anchored else "results"
        for k, result in enumerate(prediction.results):
            found |= {f"{results}/{k}/{form}": result.free_energies[form] for form in FORMS}
    found |= {f"data/{name}": variable.values for name, variable in prediction.data.data_vars.items()}
    if prediction.uncertainty is not None:
        spread = _properties(prediction.uncertainty, SPREADS)
        found |= {f"uncertainty/{name}": values for name, values in spread.items()}
    return found


def _properties(thing: Any, names: tuple[str, ...]) -> Numbers:
    found = {}
    for name in names:
        try:
            found[name] = getattr(thing, name)
        except (fermisea.InputError, KeyError):  # it has none
            continue
    return {name: value for name, value in found.items() if value is not None}


@contextmanager
def _bfloat16() -> Iterator[None]:
    """Makes torch say that the processor multiplies in bfloat16; where it cannot, torch imitates it."""
    before = torch.cpu.get_capabilities
    torch.cpu.get_capabilities = lambda: {"avx512_bf16": True}
    try:
        yield
    finally:
        torch.cpu.get_capabilities = before


def bfloat16() -> Numbers:
    """Returns a prediction whose hidden layers are multiplied in bfloat16."""
    with _bfloat16():
        found = predict(single(), liquid(), SHAPE, precision="bfloat16")
    if "precision_error" not in found:
        raise RuntimeError("bfloat16 was not used")
    return found


def weights(**settings: Any) -> Numbers:
    """Returns weights, history and anchor of a model trained from one seed."""
    model = _trained(**settings)
    found: Numbers = {f"weights/{name}": tensor.numpy() for name, tensor in model.network.state_dict().items()}
    final = {name: value for name, value in model.provenance["final"].items() if name != "seconds"}
    found |= {f"final/{name}": value for name, value in final.items() if isinstance(value, float)}
    return found | {"anchor": model.anchor.predict(snapshots()[0].atoms).free_energy}


def free_energies() -> Numbers:
    """Returns every form of the free energy that the LDOS of a snapshot gives."""
    return {form: snapshots()[0].free_energy(TEMPERATURES, form=form) for form in FORMS}


def evaluation(model: Any) -> Numbers:
    """Returns the columns of an evaluation that hold numbers."""
    rows = fermisea.evaluate(model, snapshots()[:2], TEMPERATURES)
    return {
        name: np.array([row[name] for row in rows], dtype=float)
        for name, value in rows[0].items()
        if not isinstance(value, str)
    }


def thermodynamics() -> Numbers:
    """Returns the columns of the thermodynamics of four atoms."""
    rows = fermisea.thermo(small(), snapshots()[0].atoms, 6000.0, lowest=500.0).rows()
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def calculator() -> Numbers:
    """Returns the results of the ASE calculator, with anchor and without."""
    found: Numbers = {}
    for name, anchor in (("anchored", True), ("plain", False)):
        atoms = snapshots()[0].atoms.copy()
        atoms.calc = fermisea.Calculator(small_ensemble(), 5000.0, anchor=anchor)
        atoms.get_forces()
        found |= {f"{name}/{key}": value for key, value in atoms.calc.results.items()}
    return found


def plane_waves() -> Numbers:
    """Returns free energy, its parts, forces, stress, density and LDOS of a small DFT calculation."""
    atoms = bulk("Al", "fcc", a=4.05) * (2, 1, 1)
    atoms.positions[0] += [0.1, 0.05, 0.0]
    engine = fermisea.engines.PlaneWave(xc="pbe", cutoff=110.0, kpts=(2, 2, 2), pseudopotentials="gth")
    snapshot = engine.run(atoms, electron_temperature=5000.0)
    reference = snapshot.reference
    found = {f"parts/{name}": value for name, value in reference.parts.items()}
    names = ("free_energy", "fermi_level", "entropy_term", "forces", "stress")
    found |= {name: getattr(reference, name) for name in names}
    return found | {"density": snapshot.density, "dos": snapshot.dos, "ldos": snapshot.ldos}


ITEMS: Mapping[str, Callable[[], Numbers]] = {
    "default": lambda: predict(small(), snapshots()[1].atoms, None),
    "anchored": lambda: predict(single(), liquid(), SHAPE),
    "plain": lambda: predict(single(), liquid(), SHAPE, anchor=False),
    "forces, anchored": lambda: predict(single(), liquid(), FORCES_SHAPE, forces=True),
    "forces, plain": lambda: predict(single(), liquid(), FORCES_SHAPE, forces=True, anchor=False),
    "forces, small": lambda: predict(small(), snapshots()[1].atoms, (12, 12, 12), forces=True, anchor=False),
    "DOS grid": lambda: predict(single(), liquid(), SHAPE, dos_grid=DOS_SHAPE),
    "bfloat16": bfloat16,
    "streamed": lambda: predict(single(), liquid(), SHAPE, memory=STREAMED),
    "streamed, forces": lambda: predict(single(), liquid(), FORCES_SHAPE, memory=STREAMED, forces=True),
    "no density": lambda: predict(single(), liquid(), SHAPE, density=False),
    "no density, DOS grid": lambda: predict(single(), liquid(), SHAPE, density=False, dos_grid=DOS_SHAPE),
    "float64": lambda: predict(double(), snapshots()[1].atoms, SHAPE),
    "mala": lambda: predict(single(), liquid(), DOS_SHAPE, integration="mala"),
    "ensemble, kept": lambda: predict(ensemble(), liquid(), FORCES_SHAPE),
    "ensemble, streamed": lambda: predict(ensemble(), liquid(), FORCES_SHAPE, memory=STREAMED),
    "ensemble, DOS grid": lambda: predict(ensemble(), liquid(), FORCES_SHAPE, dos_grid=DOS_SHAPE),
    "ensemble, no density": lambda: predict(ensemble(), liquid(), FORCES_SHAPE, density=False),
    "ensemble, forces": lambda: predict(small_ensemble(), snapshots()[1].atoms, (12, 12, 12), forces=True),
    "training": lambda: weights(epochs=8),
    "training, ensemble": lambda: weights(epochs=3, ensemble=2),
    "training, bispectrum": lambda: weights(epochs=3, descriptor="bispectrum", twojmax=4, dtype="float64"),
    "snapshot": free_energies,
    "evaluation": lambda: evaluation(small()),
    "evaluation, ensemble": lambda: evaluation(small_ensemble()),
    "thermo": thermodynamics,
    "calculator": calculator,
    "plane waves": plane_waves,
}
"""What is compared and timed, by name."""


def numbers(name: str) -> dict[str, np.ndarray]:
    """Returns the results of an item, with one thread; warnings are left to tests."""
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {key: np.asarray(value) for key, value in ITEMS[name]().items()}


def about() -> dict[str, Any]:
    """Returns where the code stands, and the settings of the items."""
    network = ensemble().network.members[0]
    widths = [network.inputs, *network.widths, network.outputs]
    return {
        "fermisea": str(Path(fermisea.__file__).parent),
        "torch": torch.__version__,
        "dtype": str(network.dtype),
        "threads": 1,
        "network": f"{len(ensemble().network.members)} x {'-'.join(map(str, widths))}",
        "grid": f"{SHAPE}, DOS {DOS_SHAPE}, forces and ensembles {FORCES_SHAPE}",
    }
