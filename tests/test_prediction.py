import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from ase import Atoms

from fermisea.descriptors import PowerSpectrum
from fermisea.errors import InputError, WindowError
from fermisea.grid import RealSpaceGrid
from fermisea.model.model import Model
from fermisea.networks.mlp import Mlp
from fermisea.networks.precision import HiddenLayers
from fermisea.physics.broadening import Broadening
from fermisea.physics.density_of_states import DensityOfStates
from fermisea.physics.ions import CoreCharge, Ion
from fermisea.physics.observables import thermal_observables
from fermisea.physics.registry import FORMS
from fermisea.prediction import forward_pass, passes
from fermisea.prediction.curve import free_energy_curve
from fermisea.prediction.passes import StreamedLayer
from fermisea.prediction.request import Request
from synthetic import ENERGIES, VALENCE, structure

TEMPERATURES = [300.0, 1000.0, 8000.0]
SHAPE = (6, 6, 6)


def random_model(dtype: str = "float64", core: CoreCharge | None = None) -> Model:
    """Random weights, but a mean LDOS that makes sense: roughly that of free electrons."""
    descriptor = PowerSpectrum(order=3, cutoff=4.0, weights={"Al": 1.0})
    network = Mlp(descriptor.features, (32, 24), ENERGIES.size, dtype=dtype, seed=5)
    values = descriptor.compute(structure(0), SHAPE).reshape(-1, descriptor.features)
    mean = 0.011 * np.sqrt(np.clip(ENERGIES.energies + 4.5, 0, None))
    network.set_normalisation(
        torch.from_numpy(values.mean(0)),
        torch.from_numpy(values.std(0) + 1e-3),
        torch.from_numpy(mean),
        torch.from_numpy(0.05 * mean + 1e-5),
    )
    return Model(
        network=network.requires_grad_(requires_grad=False),
        descriptor=descriptor,
        energy_grid=ENERGIES,
        broadening=Broadening("gaussian", 0.5),
        ions={"Al": Ion("Al", VALENCE, core)},
        functional="pbe",
        reference_electron_temperature=1000.0,
        highest_electron_temperature=9000.0,
        grid_spacing=0.7,
        provenance={"made": "by a test"},
    )


@pytest.fixture(scope="module")
def model() -> Model:
    return random_model()


@pytest.fixture(scope="module")
def atoms() -> Atoms:
    return structure(7)


def same(one, two, rtol=1e-9):
    for name in ("free_energy", "band_energy", "entropy", "fermi_level", "heat_capacity", "internal_energy", "density"):
        np.testing.assert_allclose(getattr(one, name), getattr(two, name), rtol=rtol, err_msg=name)
    np.testing.assert_allclose(one.dos, two.dos, rtol=rtol, atol=rtol)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-6)])
def test_equals_the_integration_of_the_explicit_ldos(atoms, dtype, tolerance):
    model = random_model(dtype)
    grid = RealSpaceGrid(atoms.cell.array, SHAPE)
    values = model.descriptor.compute(atoms, grid, dtype=dtype).reshape(grid.size, -1)
    ldos = model.network(torch.as_tensor(values)).double().numpy()
    predicted = model.predict(atoms, TEMPERATURES, SHAPE, chunk=50)
    tail = predicted.density_of_states.tail
    assert tail is not None
    explicit = thermal_observables(
        DensityOfStates(ENERGIES.energies, grid.voxel * ldos.sum(0), 0.5, volume=grid.volume, tail=tail),
        lambda integrals: [(ldos @ one.weights + one.per_volume).reshape(SHAPE) for one in integrals],
        atoms=atoms,
        grid=grid,
        ions=model.ions,
        functional_name=model.functional,
        electron_temperatures=TEMPERATURES,
        reference_electron_temperature=model.reference_electron_temperature,
    )
    for k, expected in enumerate(explicit):
        assert predicted.fermi_level[k] == pytest.approx(expected.fermi_level, rel=tolerance)
        assert predicted.band_energy[k] == pytest.approx(expected.band_energy, rel=tolerance)
        assert predicted.entropy[k] == pytest.approx(expected.entropy, rel=10 * tolerance)
        assert predicted.heat_capacity[k] == pytest.approx(expected.heat_capacity, rel=10 * tolerance)
        assert predicted.transfer_error[k] == pytest.approx(expected.transfer_error, rel=1e-2, abs=tolerance)
        np.testing.assert_allclose(predicted.density[k], expected.density, rtol=10 * tolerance)
        for form in FORMS:
            assert predicted.free_energy_by(form)[k] == pytest.approx(expected.free_energies[form], rel=tolerance)


def test_ldos_on_request_is_that_of_the_network(model, atoms):
    values = model.descriptor.compute(atoms, SHAPE)
    expected = model.network(torch.as_tensor(values)).numpy()
    np.testing.assert_allclose(model.ldos(atoms, SHAPE, chunk=77), expected, rtol=1e-6, atol=1e-9)


def test_density_holds_the_electrons_at_every_temperature(model, atoms):
    predicted = model.predict(atoms, TEMPERATURES, SHAPE)
    for density in predicted.density:
        assert predicted.grid.integrate(density) == pytest.approx(4 * VALENCE, rel=1e-11)
    np.testing.assert_allclose(predicted.electrons, 4 * VALENCE, rtol=1e-11)


@pytest.mark.parametrize("options", [{"chunk": 1}, {"chunk": 55}, {"chunk": 10**6}, {"memory": 0}])
def test_chunks_and_memory_do_not_matter(model, atoms, options):
    same(model.predict(atoms, TEMPERATURES, SHAPE, **options), model.predict(atoms, TEMPERATURES, SHAPE, chunk=100))


def test_many_temperatures_equal_one_at_a_time(model, atoms):
    together = model.predict(atoms, TEMPERATURES, SHAPE)
    for k, t in enumerate(TEMPERATURES):
        alone = model.predict(atoms, t, SHAPE)
        assert isinstance(alone.free_energy, float)
        assert isinstance(alone.fermi_level, float)
        assert alone.electron_temperature == t
        assert alone.density.shape == SHAPE
        assert alone.free_energy == pytest.approx(together.free_energy[k], rel=1e-13)
        assert alone.free_energy_by("naive") == pytest.approx(together.free_energy_by("naive")[k], rel=1e-13)
        np.testing.assert_allclose(alone.density, together.density[k], rtol=1e-12)


def test_a_temperature_asked_for_twice_is_computed_once(model, atoms, monkeypatch):
    counted = []
    weights = DensityOfStates.weights
    monkeypatch.setattr(DensityOfStates, "weights", lambda self, level, t: counted.append(t) or weights(self, level, t))
    found = model.predict(atoms, [1000.0, 3000.0, 1000.0], SHAPE)
    assert sorted(counted) == [1000.0, 3000.0]  # tau_ref is 1000 K
    assert found.free_energy[0] == found.free_energy[2] != found.free_energy[1]
    assert np.array_equal(found.density[0], found.density[2])


def test_wrapping_and_lattice_translations_change_nothing(model, atoms):
    moved = atoms.copy()
    moved.positions[0] += 2 * moved.cell[0] - moved.cell[2]
    moved.positions[2] -= moved.cell[1]
    same(model.predict(atoms, TEMPERATURES, SHAPE), model.predict(moved, TEMPERATURES, SHAPE), 1e-9)


def test_moving_all_atoms_by_a_grid_step_moves_the_density(model, atoms):
    moved = atoms.copy()
    moved.positions += moved.cell[0] / 6 + 2 * moved.cell[2] / 6
    still, shifted = model.predict(atoms, 1000.0, SHAPE), model.predict(moved, 1000.0, SHAPE)
    np.testing.assert_allclose(np.roll(still.density, (1, 2), (0, 2)), shifted.density, rtol=1e-9)
    assert shifted.free_energy == pytest.approx(still.free_energy, rel=1e-10)


def test_supercell_has_the_same_energy_per_atom(model):
    atoms = structure(3, atoms=1)
    one = model.predict(atoms, TEMPERATURES, (6, 5, 4))
    many = model.predict(atoms.repeat((2, 1, 2)), TEMPERATURES, (12, 5, 8))
    np.testing.assert_allclose(many.free_energy, 4 * one.free_energy, rtol=1e-9)
    np.testing.assert_allclose(many.fermi_level, one.fermi_level, rtol=1e-9)


def test_forms_agree_at_the_reference_temperature(model, atoms):
    predicted = model.predict(atoms, [1000.0, 8000.0], SHAPE)
    energies = np.array([predicted.free_energy_by(form) for form in FORMS])
    assert np.ptp(energies[:, 0]) < 1e-8
    assert np.ptp(energies[:, 1]) > 1e-6
    assert predicted.transfer_error[1] == pytest.approx(abs(energies[1, 1] - energies[2, 1]) / 2)


def test_internal_energy_is_free_energy_plus_entropy(model, atoms):
    predicted = model.predict(atoms, TEMPERATURES, SHAPE)
    np.testing.assert_allclose(
        predicted.internal_energy, predicted.free_energy + np.array(TEMPERATURES) * predicted.entropy, rtol=1e-13
    )


def test_core_density_enters(atoms):
    q = 0.05 * np.arange(400)
    core = CoreCharge(0.05, 2.0 * np.exp(-(q**2) / 8))
    with_core = random_model(core=core).predict(atoms, 1000.0, SHAPE)
    without = random_model().predict(atoms, 1000.0, SHAPE)
    assert with_core.band_energy == without.band_energy
    assert abs(with_core.free_energy - without.free_energy) > 1.0


def test_default_grid_has_the_spacing_of_training(model, atoms):
    assert max(model.predict(atoms, 1000.0).grid.spacing) <= model.grid_spacing
    grid = RealSpaceGrid(atoms.cell.array, (5, 6, 7))
    assert model.predict(atoms, 1000.0, grid).density.shape == (5, 6, 7)


def test_forces_of_the_ldos_alone_take_a_finer_default_grid(model, atoms):
    own = model.predict(atoms, 1000.0, forces=True).grid
    assert max(own.spacing) <= 7 / 8 * model.grid_spacing
    assert own.shape == RealSpaceGrid.from_spacing(atoms.cell.array, 7 / 8 * model.grid_spacing).shape
    of_change = Request.of(model, atoms, 1000.0, forces=True, forces_of_change=True).grid
    assert of_change.shape == model.predict(atoms, 1000.0).grid.shape != own.shape


def test_data_carries_units(model, atoms):
    data = model.predict(atoms, TEMPERATURES, SHAPE).data
    assert isinstance(data, xr.Dataset)
    assert data["density"].dims == ("electron_temperature", "x", "y", "z")
    assert {name: data[name].attrs["units"] for name in ("free_energy", "entropy", "dos", "density")} == {
        "free_energy": "eV",
        "entropy": "eV/K",
        "dos": "1/eV",
        "density": "1/Angstrom^3",
    }


def test_energies_belong_to_the_dos(model, atoms):
    predicted = model.predict(atoms, 1000.0, SHAPE)
    np.testing.assert_allclose(predicted.energies, ENERGIES.energies)
    assert predicted.dos.shape == predicted.energies.shape


@pytest.mark.parametrize(("memory", "points"), [(2**30, 216), (0, 2 * 216)])
def test_progress_counts_points(model, atoms, memory, points):
    # without memory a coarser grid guesses the Fermi level first
    seen = []
    model.predict(atoms, 1000.0, SHAPE, chunk=100, memory=memory, progress=lambda *state: seen.append(state))
    assert seen[-1] == (points, points)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def must_not_compute(*_args, **_kwargs):
    raise AssertionError("the expensive pass began")


@pytest.mark.parametrize("temperature", [0.0, -300.0, np.nan, np.inf, [300.0, -1.0], []])
def test_refuses_temperatures_before_the_pass(model, atoms, monkeypatch, temperature):
    monkeypatch.setattr(PowerSpectrum, "evaluator", must_not_compute)
    with pytest.raises(InputError, match="electron temperature"):
        model.predict(atoms, temperature, SHAPE)


def test_refuses_a_temperature_beyond_the_window_before_the_pass(model, atoms, monkeypatch):
    monkeypatch.setattr(PowerSpectrum, "evaluator", must_not_compute)
    with pytest.raises(WindowError, match=r"9500 K.*9000 K"):
        model.predict(atoms, [300.0, 9500.0], SHAPE, tail=False)


def test_the_predicted_dos_decides_again(model, atoms):
    generous = dataclasses.replace(model, highest_electron_temperature=1e6)
    with pytest.raises(WindowError, match="60000 K"):
        generous.predict(atoms, 60_000.0, SHAPE, tail=False)


def test_beyond_the_window_on_request_is_a_warning(model, atoms):
    with pytest.warns(UserWarning, match="9500 K"):
        predicted = model.predict(atoms, 9500.0, SHAPE, tail=False, allow_beyond_window=True)
    assert np.isfinite(predicted.free_energy)


def broken(atoms: Atoms, what: str) -> Atoms:
    atoms = atoms.copy()
    if what == "element":
        atoms.symbols[1] = "Fe"
    elif what == "nan":
        atoms.positions[2, 1] = np.nan
    elif what == "flat":
        atoms.cell[2] = atoms.cell[0]
    elif what == "molecule":
        atoms.pbc = False
    elif what == "empty":
        del atoms[:]
    return atoms


@pytest.mark.parametrize(
    ("what", "named"),
    [
        ("element", "element Fe, but the model knows Al"),
        ("nan", r"atom 2 \(Al\) is at"),
        ("flat", "cell without volume"),
        ("molecule", "expected periodicity along all three lattice"),
        ("empty", "no atoms"),
    ],
)
def test_refuses_structures_by_name(model, atoms, what, named):
    with pytest.raises(InputError, match=named):
        model.predict(broken(atoms, what), 1000.0)


def test_refuses_a_grid_of_another_cell_and_a_chunk_of_nothing(model, atoms):
    with pytest.raises(InputError, match=r"grid: got the cell .*expected the cell of the structure"):
        model.predict(atoms, 1000.0, RealSpaceGrid(1.1 * atoms.cell.array, SHAPE))
    with pytest.raises(InputError, match="chunk: got 0"):
        model.predict(atoms, 1000.0, SHAPE, chunk=0)


@pytest.mark.parametrize(
    ("arguments", "options", "text"),
    [
        ((None,), {}, "electron temperature: got None, expected a number or a list"),
        (("hot",), {}, "electron temperature: got 'hot', expected a number or a list"),
        (([300, None],), {}, "electron temperature: got nan K, expected a finite value"),
        ((1000, 4), {}, "grid shape: got 4, expected three positive integers"),
        ((1000, "444"), {}, "grid shape: got '444', expected three positive integers"),
        ((1000, SHAPE), {"chunk": 1.5}, "chunk: got 1.5, expected a positive whole number"),
        ((1000, SHAPE), {"memory": -1}, "memory: got -1, expected a number of bytes"),
        ((1000, (10**4, 10**4, 10**4)), {"density": False}, r"1.00e\+12 points, expected at most 1e\+11; choose fewer"),
        (
            ([300.0] * 100, (4000, 4000, 4000)),
            {},
            r"6.40e\+10 points, whose fields need 4768 GiB.*fewer points",
        ),
    ],
)
def test_wrong_arguments_are_named(model, atoms, arguments, options, text):
    with pytest.raises(InputError, match=text):
        model.predict(atoms, *arguments, **options)


@pytest.mark.parametrize("given", [[structure(7), structure(7)], "al4.extxyz", None])
def test_prediction_and_ldos_take_one_structure(model, given):
    for method in (lambda: model.predict(given, 1000.0), lambda: model.ldos(given)):
        with pytest.raises(InputError, match=r"expected one ase\.Atoms object"):
            method()


def test_an_ldos_beyond_the_memory_is_refused(model, atoms):
    with pytest.raises(InputError, match=r"6.40e\+10 points, whose fields need"):
        model.ldos(atoms, (4000, 4000, 4000))


@pytest.mark.parametrize("memory", [2**28, 0])
def test_too_few_electrons_in_a_predicted_dos_are_blamed_on_grid_or_structure(model, atoms, memory):
    poor = dataclasses.replace(model, ions={"Al": dataclasses.replace(model.ions["Al"], valence=300)})
    with pytest.raises(InputError, match=r"DOS predicted on a grid of \(6, 6, 6\).*choose more grid points") as caught:
        poor.predict(atoms, 1000.0, SHAPE, memory=memory)
    assert f"of {300 * len(atoms)} electrons" in str(caught.value)


def test_unknown_form_is_named(model, atoms):
    with pytest.raises(InputError, match="got 'best', expected one of second_order"):
        model.predict(atoms, 1000.0, SHAPE).free_energy_by("best")


def alike(one, two, tolerance):
    for name in ("free_energy", "band_energy", "entropy", "fermi_level", "density", "dos"):
        a, b = np.asarray(getattr(one, name)), np.asarray(getattr(two, name))
        assert np.max(np.abs(a - b)) <= tolerance * np.max(np.abs(b)), name


WIDE = [50.0, 300.0, 700.0, 1000.0, 4000.0, 8000.0]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-11), ("float32", 2e-6)])
@pytest.mark.parametrize("shape", [(24, 24, 24), (17, 19, 23)])
def test_one_pass_gives_what_kept_layers_give(dtype, tolerance, shape, monkeypatch):
    model, atoms = random_model(dtype), structure(7)
    streamed = []
    monkeypatch.setattr(passes, "StreamedLayer", lambda *a: streamed.append(StreamedLayer(*a)) or streamed[-1])
    kept = model.predict(atoms, WIDE, shape)
    assert not streamed
    once = model.predict(atoms, WIDE, shape, memory=0)
    assert streamed[0].passes == 1
    alike(once, kept, tolerance)


@pytest.mark.parametrize(
    ("dtype", "fields", "tolerance"), [("float32", np.float32, 1e-8), ("float64", np.float64, 1e-12)]
)
def test_fields_of_large_grids_have_the_precision_of_the_network(dtype, fields, tolerance):
    """Sums over their points have double precision."""
    model, atoms = random_model(dtype), structure(7)
    kept, once = (model.predict(atoms, [300.0, 8000.0], (24, 24, 24), memory=memory) for memory in (2**30, 0))
    assert [result.density.dtype for result in once.results] == [fields, fields]
    assert [result.density.dtype for result in kept.results] == [np.float64, np.float64]
    for form in kept.results[0].free_energies:
        np.testing.assert_allclose(once.free_energy_by(form), kept.free_energy_by(form), rtol=tolerance, err_msg=form)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_second_pass_where_the_guess_is_bad(dtype, monkeypatch):
    model, atoms = random_model(dtype), structure(7)
    kept = model.predict(atoms, WIDE, (12, 12, 12))
    monkeypatch.setattr(passes, "levels_around", lambda level, _: level + 0.3 + 1e-4 * np.arange(4))
    streamed = []
    monkeypatch.setattr(passes, "StreamedLayer", lambda *a: streamed.append(StreamedLayer(*a)) or streamed[-1])
    again = model.predict(atoms, WIDE, (12, 12, 12), memory=0)
    assert streamed[0].passes == 2
    alike(again, kept, 1e-11 if dtype == "float64" else 2e-6)


def test_further_temperatures_cost_no_network(model, atoms, monkeypatch):
    points = []
    layers = HiddenLayers.__call__
    monkeypatch.setattr(HiddenLayers, "__call__", lambda self, x: points.append(len(x)) or layers(self, x))
    for temperatures in ([1000.0], WIDE):
        points.clear()
        model.predict(atoms, temperatures, (32, 32, 32), memory=0)
        assert sum(points) == 32**3 + 8**3


@pytest.mark.parametrize("memory", [0, 2**30])
@pytest.mark.parametrize("shape", [(7, 11, 13), (6, 6, 6)])
def test_any_number_of_threads_and_points_at_a_time(model, atoms, memory, shape, monkeypatch):
    expected = model.predict(atoms, TEMPERATURES, shape)
    for threads, chunk, rows in ((1, 5, 512), (2, 100, 7), (3, 10**6, 64)):
        torch.set_num_threads(threads)
        monkeypatch.setattr(forward_pass, "ROWS", rows)
        alike(model.predict(atoms, TEMPERATURES, shape, chunk=chunk, memory=memory), expected, 1e-11)


def test_an_error_in_a_thread_reaches_the_caller(model, atoms, monkeypatch):
    def fail(*_args):
        raise RuntimeError("broken layer")

    monkeypatch.setattr(HiddenLayers, "__call__", fail)
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="broken layer"):
        model.predict(atoms, 1000.0, SHAPE)
    assert torch.get_num_threads() == before


def test_bfloat16_only_where_the_processor_has_it(atoms, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False}, raising=False)
    single = random_model("float32")
    with pytest.warns(UserWarning, match="no bfloat16 arithmetic"):
        found = single.predict(atoms, 1000.0, SHAPE, precision="bfloat16")
    assert found.free_energy == single.predict(atoms, 1000.0, SHAPE).free_energy
    assert "precision_error_band_energy" not in found.data


@pytest.mark.usefixtures("_bfloat16")
def test_bfloat16_and_its_check(atoms):
    model = random_model("float32")
    full = model.predict(atoms, TEMPERATURES, (16, 16, 16))
    low = model.predict(atoms, TEMPERATURES, (16, 16, 16), precision="bfloat16")
    change = low.band_energy - full.band_energy
    assert np.abs(change).min() > 1e-6
    estimate = low.data["precision_error_band_energy"].values
    np.testing.assert_allclose(estimate, change, rtol=0.02)
    free = change - np.array(TEMPERATURES) * (low.entropy - full.entropy)
    np.testing.assert_allclose(low.precision_error, free, rtol=0.02)
    with pytest.raises(InputError, match="used no such short cut"):
        _ = full.precision_error
    with pytest.raises(InputError, match="got bfloat16, but the network is in"):
        random_model().predict(atoms, 1000.0, SHAPE, precision="bfloat16")
    with pytest.raises(InputError, match="precision: got 'float16', expected one of float32, bfloat16"):
        model.predict(atoms, 1000.0, SHAPE, precision="float16")


@pytest.mark.parametrize("memory", [0, 2**30])
def test_grid_of_its_own_for_the_dos(model, atoms, memory):
    fine = model.predict(atoms, TEMPERATURES, (12, 12, 12))
    coarse = model.predict(atoms, TEMPERATURES, (6, 6, 6))
    both = model.predict(atoms, TEMPERATURES, (12, 12, 12), dos_grid=(6, 6, 6), memory=memory)
    np.testing.assert_allclose(both.dos, coarse.dos, rtol=1e-12)
    np.testing.assert_allclose(both.band_energy, coarse.band_energy, rtol=1e-12)
    expected = [p.band_energy - np.array(TEMPERATURES) * p.entropy for p in (coarse, fine)]
    np.testing.assert_allclose(both.dos_grid_error, expected[0] - expected[1], rtol=1e-6, atol=1e-9)
    assert both.density.shape == (3, 12, 12, 12)
    same_grid = model.predict(atoms, TEMPERATURES, (12, 12, 12), dos_grid=(12, 12, 12), memory=memory)
    alike(same_grid, fine, 1e-11)
    assert np.abs(same_grid.dos_grid_error).max() < 1e-9


def test_without_the_density(model, atoms):
    whole = model.predict(atoms, TEMPERATURES, (12, 12, 12))
    states = model.predict(atoms, TEMPERATURES, (12, 12, 12), density=False)
    for name in ("dos", "band_energy", "entropy", "fermi_level", "heat_capacity", "electrons"):
        np.testing.assert_allclose(getattr(states, name), getattr(whole, name), rtol=1e-12)
    for name in ("density", "free_energy", "internal_energy", "transfer_error"):
        with pytest.raises(InputError, match=f"{name.replace('_', ' ')}: .*density=True"):
            getattr(states, name)
    # every second point of 12^3 is 6^3
    half = model.predict(atoms, TEMPERATURES, (6, 6, 6), density=False)
    coarse = model.predict(atoms, TEMPERATURES, dos_grid=(12, 12, 12), density=False)
    free = [p.band_energy - np.array(TEMPERATURES) * p.entropy for p in (half, coarse)]
    np.testing.assert_allclose(coarse.dos_grid_error, free[0] - free[1], rtol=1e-6, atol=1e-9)
    alone = model.predict(atoms, 1000.0, density=False)
    assert isinstance(alone.band_energy, float)


MEMORY_USE = """
import resource
from test_prediction import random_model, structure
model, atoms = random_model("float32"), structure(7)
model.predict(atoms, [300.0, 1000.0], (8, 8, 8), memory=0)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
model.predict(atoms, [300.0, 1000.0], (96, 96, 96), **{OPTIONS})
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / 96**3)
"""


@pytest.mark.parametrize(("options", "bytes_of_a_point"), [({"memory": 0}, 170), ({"density": False}, 40)])
def test_memory_is_a_few_fields(options, bytes_of_a_point):
    # 24 numbers of a hidden layer and 20 descriptors would be 176 bytes of a point; densities take 8 each
    environment = dict(
        os.environ, PYTHONPATH=os.pathsep.join([str(Path(__file__).parent), *sys.path]), OMP_NUM_THREADS="1"
    )
    output = subprocess.run(
        [sys.executable, "-c", MEMORY_USE.replace("{OPTIONS}", repr(options))],
        check=True,
        env=environment,
        capture_output=True,
        text=True,
    ).stdout
    assert float(output) < bytes_of_a_point


def test_the_curve_of_the_free_energy_follows_predictions_between_its_points(model):
    atoms = structure(4)
    points, dense = [300.0, 4000.0, 9000.0], np.linspace(300.0, 9000.0, 7)
    sparse, full = (model.predict(atoms, [*t], SHAPE) for t in (points, dense))
    temperatures, energies = free_energy_curve(sparse, 7)
    np.testing.assert_allclose(temperatures, dense)
    np.testing.assert_allclose(energies[[0, -1]], sparse.free_energy[[0, -1]], rtol=0, atol=1e-9)
    wrong = np.abs(energies - full.free_energy)
    assert wrong.max() < 0.2 * full.transfer_error.max() < 1e-2 * np.ptp(full.free_energy)
