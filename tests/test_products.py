"""Products of descriptor components: derivatives, definition, and potentials that are quadratic in the descriptor."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from fermisea import descriptors
from fermisea.data.dataset import Dataset
from fermisea.descriptors import Bispectrum, PowerSpectrum, Products
from fermisea.descriptors.sites import Sites
from fermisea.errors import InputError
from fermisea.grid import RealSpaceGrid
from fermisea.model.loading import load_model
from fermisea.potential import fit_regular, with_products
from fermisea.potential.design import design_of
from fermisea.training import TrainingConfig, train
from synthetic import made_up_snapshot

pytestmark = pytest.mark.filterwarnings("ignore::fermisea.DomainWarning")
SPECTRUM = PowerSpectrum(3, 4.5, {"Al": 1.0, "Mg": 0.9})


def alloy(seed: int, scale: float = 1.0) -> Atoms:
    atoms = bulk("Al", "fcc", a=4.05 * scale, cubic=True)
    atoms.symbols[1] = "Mg"
    atoms.rattle(0.2, seed=seed)
    return atoms


@pytest.fixture(scope="module")
def products() -> Products:
    return with_products(SPECTRUM, 2, [alloy(seed) for seed in range(4)])


def test_values_are_components_and_all_products(products):
    values = Sites(products, alloy(9)).values()
    spectrum = Sites(SPECTRUM, alloy(9)).values()
    count = SPECTRUM.features
    assert np.array_equal(values[:, :count], spectrum)
    low = SPECTRUM.degrees() <= 2
    z = (spectrum[:, low] - products.centre) / products.scale
    whole = z[:, :, None] * z[:, None, :]
    first, second = np.triu_indices(low.sum())
    assert values.shape[1] == products.features == count + len(first)
    assert values[:, count:] == pytest.approx(whole[:, first, second], rel=1e-12)


def test_scaled_factors_have_mean_zero_and_unit_variance(products):
    spectrum = np.concatenate([Sites(SPECTRUM, alloy(seed)).values() for seed in range(4)])
    z = (spectrum[:, products.factors] - products.centre) / products.scale
    assert np.abs(z.mean(axis=0)).max() < 1e-9
    assert (z.std(axis=0) < 1 + 1e-9).all()
    assert z.std(axis=0).max() == pytest.approx(1)


def test_derivatives_agree_with_differences(products):
    atoms, random = alloy(9), np.random.default_rng(0)
    cotangents = random.normal(size=(4, products.features))
    positions, strain = Sites(products, atoms).vjp(cotangents)
    step = 1e-5

    def total(moved: Atoms) -> float:
        return float(np.sum(Sites(products, moved).values() * cotangents))

    for atom, axis in ((0, 0), (1, 2), (3, 1)):
        ends = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * step
            ends.append(total(moved))
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(positions[atom, axis], rel=1e-6, abs=1e-6)
    ends = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.set_cell(atoms.cell.array @ (np.eye(3) + sign * step * np.diag([1.0, 0, 0])), scale_atoms=True)
        ends.append(total(moved))
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(strain[0, 0], rel=1e-6)


def test_design_is_the_sum_over_atoms_of_each_derivative(products):
    atoms = alloy(9)
    design = design_of(products, ("Al", "Mg"), atoms)
    sites = Sites(products, atoms)
    values, features = sites.values(), products.features
    assert design.energy[:features] == pytest.approx(values[[0, 2, 3]].sum(0), rel=1e-12)
    assert design.energy[features:] == pytest.approx(values[1], rel=1e-12)
    for column in (0, 7, SPECTRUM.features, SPECTRUM.features + 5, features - 1):
        for element, members in enumerate(([0, 2, 3], [1])):
            cotangents = np.zeros_like(values)
            cotangents[members, column] = 1.0
            positions, strain = sites.vjp(cotangents)
            own = element * features + column
            assert design.forces[:, :, own] == pytest.approx(-positions, rel=1e-9, abs=1e-9)
            assert design.strain[:, :, own] == pytest.approx(strain, rel=1e-9, abs=1e-9)


def test_grids_agree_with_points(products):
    atoms, shape = alloy(9), (3, 4, 2)
    grid = RealSpaceGrid(atoms.cell.array, shape)
    whole = products.compute(atoms, shape)
    fractions = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).reshape(-1, 3) / shape
    points = fractions @ atoms.cell.array
    assert whole.reshape(-1, products.features) == pytest.approx(products.compute_points(atoms, points), rel=1e-9)
    cotangents = np.random.default_rng(1).normal(size=(24, products.features))
    evaluator = products.evaluator(atoms)
    positions, _ = evaluator.box_vjp(grid, (0, 0, 0), shape, cotangents)
    moved = atoms.copy()
    moved.positions[2, 0] += 1e-5
    change = np.sum((products.compute(moved, shape) - whole).reshape(-1, products.features) * cotangents) / 1e-5
    assert change == pytest.approx(positions[2, 0], rel=1e-3)


def test_definition_survives_json(products):
    again = descriptors.from_dict(json.loads(json.dumps(products.to_dict())))
    assert again == products
    assert np.array_equal(Sites(again, alloy(3)).values(), Sites(products, alloy(3)).values())


def test_degrees_of_products_are_sums(products):
    degrees = products.degrees()
    assert np.array_equal(degrees[: SPECTRUM.features], SPECTRUM.degrees())
    assert degrees[SPECTRUM.features :].min() == 0
    assert degrees[SPECTRUM.features :].max() == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"order": 4}, "order: got 4"),
        ({"centre": [0.0]}, "centre: got 1 values"),
        ({"scale": [0.0] * 10}, "scale"),
        ({"scale": [float("nan")] * 10}, "scale"),
        ({"spectrum": {"kind": "volume"}}, "expected a power spectrum or bispectrum"),
    ],
)
def test_bad_definitions_are_refused(products, changes, message):
    with pytest.raises(InputError, match=message):
        descriptors.from_dict(products.to_dict() | changes)


def test_a_model_with_products_is_quadratic_and_lives_in_its_file(tmp_path):
    config = TrainingConfig(
        order=1,
        cutoff=4.0,
        hidden=(4,),
        epochs=1,
        anchor_order=3,
        anchor_cutoff=4.5,
        anchor_smoothness=2,
        anchor_products=2,
        potential_order=2,
        validation_fraction=0.0,
    )
    data = Dataset([made_up_snapshot(seed) for seed in range(10)])
    model = train(data, config)
    assert model.anchor is not None
    assert isinstance(model.anchor.descriptor, Products)
    linear = fit_regular(data, config.make_anchor_descriptor(["Al"]))
    assert model.anchor.coefficients.shape[1] > linear.coefficients.shape[1]
    assert model.training_domain is not None
    assert model.training_domain.surroundings is not None
    assert model.training_domain.surroundings.descriptor == config.make_anchor_descriptor(["Al"])
    assert model.thermal is not None
    assert model.thermal.descriptor == PowerSpectrum(2, 4.5, {"Al": 1.0}, smoothness=2)
    model.save(tmp_path / "al.safetensors")
    atoms = made_up_snapshot(20).atoms
    one, two = (
        m.potential().predict(atoms, [1000.0, 5000.0], allow_outside=True)
        for m in (model, load_model(tmp_path / "al.safetensors"))
    )
    assert np.array_equal(one.free_energy, two.free_energy)
    ends = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions[1, 2] += sign * 1e-4
        ends.append(model.potential().predict(moved, [1000.0, 5000.0], allow_outside=True).free_energy)
    assert -(ends[0] - ends[1]) / 2e-4 == pytest.approx(one.forces[:, 1, 2], rel=1e-5, abs=1e-5)


def test_more_products_than_components_are_refused():
    with pytest.raises(InputError, match="anchor_products: got 4, expected at most 3"):
        TrainingConfig(anchor_order=3, anchor_products=4)


@pytest.mark.parametrize(("smoothness", "expected"), [(1, 6.0), (2, 4.8), (3, 4.0)])
def test_smoother_spectra_reach_less_far(smoothness, expected):
    spectrum = PowerSpectrum(2, 6.0, smoothness=smoothness)
    products = with_products(spectrum, 1, [alloy(1)])
    assert spectrum.effective_cutoff == products.effective_cutoff == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("potential_order", 0),
        ("potential_cutoff", 0),
        ("anchor_force_scale", 0),
        ("anchor_smoothness", 0),
        ("anchor_smoothness", 4),
    ],
)
def test_descriptors_of_the_potential_are_checked(name, value):
    with pytest.raises(InputError, match=f"{name}: got {value}"):
        TrainingConfig(**{name: value})


def test_products_of_a_bispectrum():
    spectrum, atoms = Bispectrum(3, 4.5, {"Al": 1.0, "Mg": 0.9}), alloy(9)
    assert spectrum.degrees().tolist() == [0, 1, 2, 2, 3, 2, 3, 3]
    products = with_products(spectrum, 3, [alloy(seed) for seed in range(4)])
    count = spectrum.features
    values, plain = Sites(products, atoms).values(), Sites(spectrum, atoms).values()
    z = (plain - products.centre) / products.scale
    first, second = np.triu_indices(count)
    assert values == pytest.approx(np.hstack([plain, z[:, first] * z[:, second]]), rel=1e-12)
    assert descriptors.from_dict(json.loads(json.dumps(products.to_dict()))) == products
    design = design_of(products, ("Al", "Mg"), atoms)
    moved = atoms.copy()
    moved.positions[1, 2] += 1e-6
    change = (design_of(products, ("Al", "Mg"), moved, derivatives=False).energy - design.energy) / 1e-6
    assert -change == pytest.approx(design.forces[1, 2], rel=1e-3, abs=1e-3 * np.abs(change).max())
    with pytest.raises(InputError, match="order: got 4, expected 0 to 3, the highest degree of the spectrum"):
        with_products(spectrum, 4, [atoms])
