"""Devices and routes: predictions by tensor operations equal those by compiled loops, and wrong names are refused."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

import fermisea
from fermisea.analysis.evaluation import evaluate
from fermisea.analysis.thermodynamics import thermo
from fermisea.calculator import Calculator
from fermisea.cli import main
from fermisea.data.structures import write_structure
from fermisea.descriptors import Bispectrum, PowerSpectrum, WithVolume
from fermisea.errors import DomainWarning, InputError
from fermisea.grid import RealSpaceGrid
from fermisea.model.combining import blend_models, combine_models
from fermisea.model.estimate import estimate
from fermisea.model.model import Model
from fermisea.networks import precision
from fermisea.networks.mlp import Mlp
from fermisea.networks.precision import HiddenLayers
from fermisea.prediction.forward_pass import Thinning, values_of
from fermisea.prediction.route import route_of
from fermisea.studies.training import train_or_load
from fermisea.training import TrainingConfig
from fermisea.utilities.devices import device_of
from synthetic import ENERGIES, made_up_snapshot, structure
from test_prediction import SHAPE, TEMPERATURES, random_model

TOLERANCES = {
    "fermi_level": (1e-11, 0.0),
    "free_energy": (1e-11, 0.0),
    "band_energy": (1e-11, 0.0),
    "entropy": (1e-10, 1e-14),  # differences of large terms at low tau_e
    "heat_capacity": (1e-10, 1e-14),
    "transfer_error": (1e-6, 1e-11),
}
"""Relative and absolute tolerance (eV, eV/K) of each observable."""

WRONG = [
    ("quantum", r"^device: got 'quantum', which torch does not know; expected cpu"),
    ("cuda:x", r"^device: got 'cuda:x', which torch does not know; expected cpu"),
    ("meta", r"^device: got 'meta', which does not exist or has no double precision; expected cpu"),
    ("cpu:3", r"^device: got 'cpu:3', which does not exist or has no double precision; expected cpu"),
    ("cuda:99", r"^device: got 'cuda:99', which is CUDA device number 99 for this process, but torch finds \d+ CUDA"),
]
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def seeded(model: Model, seed: int) -> Model:
    """The same model with another network."""
    widths, own = (32, 24), model.network
    network = Mlp(own.inputs, widths, own.outputs, dtype=str(own.dtype).removeprefix("torch."), seed=seed)
    network.set_normalisation(own.input_mean, own.input_scale, own.output_mean, own.output_scale)
    return dataclasses.replace(model, network=network.requires_grad_(requires_grad=False))


def with_bispectrum() -> Model:
    descriptor = Bispectrum(twojmax=4, cutoff=4.0, weights={"Al": 1.0})
    values = torch.from_numpy(descriptor.compute(structure(0), SHAPE).reshape(-1, descriptor.features))
    plain = random_model()
    network = Mlp(descriptor.features, (32, 24), ENERGIES.size, dtype="float64", seed=2)
    own = plain.network
    network.set_normalisation(values.mean(0), values.std(0) + 1e-3, own.output_mean, own.output_scale)
    return dataclasses.replace(plain, descriptor=descriptor, network=network.requires_grad_(requires_grad=False))


def ensemble(dtype: str = "float64") -> Model:
    return combine_models([seeded(random_model(dtype), seed) for seed in (1, 2, 3)])


def hotter() -> Model:
    """A model at two tau_ref."""
    return blend_models([ensemble(), dataclasses.replace(ensemble(), reference_electron_temperature=5000.0)])


MODELS = {"power spectrum": random_model, "bispectrum": with_bispectrum, "ensemble": ensemble, "two tau_ref": hotter}


@pytest.fixture(scope="module", params=list(MODELS))
def model(request) -> Model:
    return MODELS[request.param]()


def agree(one, two):
    """Compares two predictions; a displacement of one atom by 0.001 Angstrom would change F and mu by 1e-6."""
    np.testing.assert_allclose(one.dos, two.dos, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(one.density, two.density, rtol=1e-11)
    for name, (relative, absolute) in TOLERANCES.items():
        np.testing.assert_allclose(getattr(one, name), getattr(two, name), relative, absolute, err_msg=name)
    assert (one.mechanics is None) == (two.mechanics is None)
    if one.mechanics is not None:
        assert one.forces.dtype == one.stress.dtype == np.float64
        np.testing.assert_allclose(one.forces, two.forces, rtol=0, atol=1e-10)
        np.testing.assert_allclose(one.stress, two.stress, rtol=0, atol=1e-11)
    assert (one.uncertainty is None) == (two.uncertainty is None)
    if one.uncertainty is not None:
        for name, value in one.uncertainty.scalars().items():
            np.testing.assert_allclose(value, two.uncertainty.scalars()[name], rtol=1e-6, atol=1e-11, err_msg=name)
        np.testing.assert_allclose(one.uncertainty.density, two.uncertainty.density, rtol=1e-6, atol=1e-11)


@pytest.mark.parametrize(
    "options", [{"forces": True}, {"forces": True, "memory": 0, "chunk": 77}, {"dos_grid": (5, 7, 6)}], ids=str
)
def test_tensor_operations_give_the_prediction_of_the_compiled_loops(model, options):
    atoms = structure(7)
    compiled, torch_route = (
        model.predict(atoms, TEMPERATURES, SHAPE, route=route, **options) for route in ("compiled", "torch")
    )
    agree(torch_route, compiled)
    if "dos_grid" in options:
        np.testing.assert_allclose(torch_route.dos_grid_error, compiled.dos_grid_error, rtol=1e-7, atol=1e-12)


def test_the_torch_route_does_without_the_compiled_loops(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the compiled loops were called")

    model = ensemble()
    monkeypatch.setattr(PowerSpectrum, "evaluator", refuse)
    agree(
        model.predict(structure(7), TEMPERATURES, SHAPE, forces=True, route="torch"),
        model.predict(structure(7), TEMPERATURES, SHAPE, forces=True, route="torch", device="cpu", chunk=50),
    )
    assert model.ldos(structure(7), SHAPE, route="torch").shape == (*SHAPE, ENERGIES.size)
    for route in (None, "compiled"):
        with pytest.raises(AssertionError, match="compiled loops"):
            model.predict(structure(7), TEMPERATURES, SHAPE, route=route)
        with pytest.raises(AssertionError, match="compiled loops"):
            model.ldos(structure(7), SHAPE, route=route)


def test_ldos_of_both_routes(model):
    atoms = structure(7)
    one, two = (model.ldos(atoms, (5, 6, 4), chunk=50, route=route) for route in ("torch", "compiled"))
    assert one.dtype == np.float32
    np.testing.assert_allclose(one, two, rtol=1e-6)


def test_bfloat16_on_both_routes(monkeypatch):
    monkeypatch.setattr(precision, "_multiplies_bfloat16", lambda: True)  # slow, but the same numbers
    model, atoms = ensemble("float32"), structure(7)
    compiled, torch_route, exact = (
        model.predict(atoms, TEMPERATURES, SHAPE, density=False, precision=kind, route=route)
        for kind, route in (("bfloat16", "compiled"), ("bfloat16", "torch"), ("float32", "torch"))
    )
    lost = np.abs(compiled.dos - exact.dos).max()
    assert 1e-5 < lost < 1e-2 * exact.dos.max()
    assert np.abs(torch_route.dos - compiled.dos).max() < 0.1 * lost
    assert (np.asarray(torch_route.precision_error) != 0).all()
    np.testing.assert_allclose(
        torch_route.precision_error, compiled.precision_error, atol=0.2 * np.abs(compiled.precision_error).max()
    )


@pytest.mark.filterwarnings("ignore:surroundings:fermisea.DomainWarning")
def test_the_shipped_model_in_single_precision():
    whole = fermisea.load_model("aluminium").parts[0]
    model = dataclasses.replace(whole, network=whole.network.members[0])
    options = {"free_energy": "anchored", "forces": True}
    with pytest.warns(DomainWarning, match="grid spacing"):
        one, two = (
            model.predict(structure(7), [1000.0, 8000.0], (8, 8, 8), route=route, **options)
            for route in ("torch", "compiled")
        )
    assert np.abs(one.dos - two.dos).max() < 2e-5 * two.dos.max()
    assert np.abs(one.density - two.density).max() < 1e-5 * two.density.max()
    for name, tolerance in {"fermi_level": 3e-5, "free_energy": 1e-5, "forces": 1e-5, "stress": 1e-5}.items():
        assert np.abs(getattr(one, name) - getattr(two, name)).max() < tolerance, name


def test_descriptors_without_tensor_operations_are_refused():
    model = random_model()
    descriptor = WithVolume(model.descriptor, volume_per_atom=16.6, degree=1)
    network = Mlp(descriptor.features, (8,), ENERGIES.size, dtype="float64").requires_grad_(requires_grad=False)
    other = dataclasses.replace(model, descriptor=descriptor, network=network)
    with pytest.raises(InputError, match="descriptor: got WithVolume, expected a Bispectrum or a PowerSpectrum"):
        other.predict(structure(7), 1000.0, SHAPE, route="torch")


def test_the_estimate_measures_the_route():
    model, atoms = with_bispectrum(), structure(7)
    compiled, torch_route = (
        estimate(model, atoms, TEMPERATURES, (24, 24, 24), density=False, device="cpu", route=route)
        for route in ("compiled", "torch")
    )
    assert torch_route.points == compiled.points
    assert torch_route.seconds > 3 * compiled.seconds


@pytest.mark.parametrize(("device", "message"), WRONG)
def test_devices_that_cannot_be(device, message):
    model, atoms = random_model(), structure(7)
    calls = [
        lambda: model.predict(atoms, 1000.0, SHAPE, device=device),
        lambda: model.ldos(atoms, SHAPE, device=device),
        lambda: model.to(device),
        lambda: Calculator(model, 1000.0, device=device),
        lambda: Calculator(model, 1000.0).set(device=device),
        lambda: evaluate(model, [made_up_snapshot(5)], device=device),
        lambda: thermo(model, atoms, 3000.0, grid=SHAPE, device=device),
        lambda: hotter().predict(atoms, 1000.0, SHAPE, device=device),
    ]
    for call in calls:
        with pytest.raises(InputError, match=message):
            call()


def test_a_device_may_be_a_device_and_not_a_number():
    assert device_of(torch.device("cpu")) == device_of("cpu:0") == torch.device("cpu")
    with pytest.raises(InputError, match=r"device: got '1\.5', which torch does not know"):
        device_of(1.5)


def test_processes_of_one_machine_have_their_own_devices(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "98")
    with pytest.raises(InputError, match="'cuda', which is CUDA device number 98 for this process"):
        device_of("cuda")
    with pytest.raises(InputError, match="'cuda:99', which is CUDA device number 99 for this process"):
        device_of("cuda:99")


def test_a_network_on_an_unusable_device_is_refused():
    model = random_model()
    lost = dataclasses.replace(model, network=model.network.to("meta"))
    for call in (lost.predict, lambda *words: lost.ldos(words[0])):
        with pytest.raises(InputError, match="device: got 'meta', which does not exist"):
            call(structure(7), 1000.0)


@pytest.mark.parametrize("route", ["fast", "Torch", ""])
def test_unknown_routes(route):
    model = random_model()
    for call in (
        lambda: model.predict(structure(7), 1000.0, SHAPE, route=route),
        lambda: Calculator(model, 1000.0, route=route),
        lambda: evaluate(model, [made_up_snapshot(5)], route=route),
        lambda: thermo(model, structure(7), 3000.0, grid=SHAPE, route=route),
    ):
        with pytest.raises(InputError, match=f"route: got '{route}', expected one of compiled, torch"):
            call()


def test_compiled_loops_need_the_cpu():
    with pytest.raises(InputError, match=r"'compiled' on the device cuda:0, .* omit the route, or choose the device"):
        route_of(torch.device("cuda", 0), "compiled")
    assert [route_of(torch.device("cuda"), name) for name in (None, "torch")] == ["torch", "torch"]
    assert [route_of(torch.device("cpu"), name) for name in (None, "torch")] == ["compiled", "torch"]


@pytest.mark.parametrize("rows", [None, torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_all_tensors_of_a_pass_are_on_the_device_of_the_network(rows, kind):
    """The device ``meta`` has shapes but no numbers, and refuses tensors of other devices."""
    network = ensemble("float32").network.to("meta")
    tile = next(RealSpaceGrid(structure(7).cell.array, SHAPE).tiles(100))
    points = len(np.zeros(SHAPE)[tile].ravel())
    descriptors = torch.empty(points, network.inputs, device="meta")
    vectors = None if rows is None else torch.empty(5, network.widths[-1], dtype=rows, device="meta")
    layers = HiddenLayers(network, kind)
    found = values_of(tile, descriptors, layers, vectors, Thinning((1, 1, 1), 3), batch=32)
    assert {value.device.type for value in (found.values, found.total, found.thinned)} == {"meta"}
    assert found.values.shape == ((-(-points // 3), network.widths[-1]) if rows is None else (5, points))
    with pytest.raises(RuntimeError, match="device"):
        values_of(tile, torch.zeros(descriptors.shape), layers, vectors, Thinning((1, 1, 1), 3), batch=32)


def test_calculator_on_a_route():
    model, found = ensemble(), {}
    for route in ("compiled", "torch"):
        atoms = structure(7)
        atoms.calc = Calculator(model, 5000.0, grid=SHAPE, device="cpu", route=route)
        found[route] = (atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress())
    for one, two in zip(found["torch"], found["compiled"], strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-9)
    before = atoms.calc.results
    assert not atoms.calc.set(route="torch", device="cpu")
    assert atoms.calc.results is before
    atoms.calc.set(route=None, device=None)
    assert not atoms.calc.results  # another route, another result
    np.testing.assert_array_equal(atoms.get_forces(), found["compiled"][1])


def test_evaluation_and_thermodynamics_on_a_route():
    model, snapshot = dataclasses.replace(ensemble(), functional="lda"), made_up_snapshot(5)
    one, two = (evaluate(model, [snapshot], TEMPERATURES, device="cpu", route=route) for route in ("torch", None))
    for row, expected in zip(one, two, strict=True):
        assert list(row) == list(expected)
        for name, value in row.items():
            if isinstance(value, str):
                assert value == expected[name]
            else:
                np.testing.assert_allclose(value, expected[name], rtol=1e-6, atol=1e-9, err_msg=name)
    one, two = (
        thermo(model, structure(7), 4000.0, grid=SHAPE, tolerance=0.1, device="cpu", route=route)
        for route in ("torch", "compiled")
    )
    for name in ("electron_temperature", "free_energy", "heat_capacity", "pressure", "fermi_level"):
        np.testing.assert_allclose(getattr(one, name), getattr(two, name), rtol=1e-9, atol=1e-12, err_msg=name)


def test_the_study_of_aluminium_refuses_other_devices_before_it_starts(tmp_path, capsys):
    assert main(["study", "aluminium", "--out", str(tmp_path / "out"), "--device", "meta"]) == 2
    assert capsys.readouterr().err.startswith("fermisea: device: got 'meta'")
    assert not (tmp_path / "out").exists()


def test_models_of_a_study_are_trained_and_used_on_its_device(tmp_path):
    made_up_snapshot(1).save(tmp_path / "al-1.nc")
    made_up_snapshot(2).save(tmp_path / "al-2.nc")
    files, config = sorted(tmp_path.glob("*.nc")), TrainingConfig(order=2, hidden=(8,), epochs=1, anchor=False)
    options = {"files": files, "folder": tmp_path / "models", "device": "cpu"}
    trained, stored = (train_or_load("al", config, **options) for _ in range(2))
    assert trained.network.device == stored.network.device == torch.device("cpu")
    with pytest.raises(InputError, match="device: got 'meta'"):
        train_or_load("al", config, **options | {"device": "meta"})


def test_a_model_moves_with_all_its_parts(tmp_path):
    model = hotter()
    moved = model.to("cpu")
    assert [one.network for one in moved.parts] == [other.network for other in model.parts]
    model.save(tmp_path / "one.safetensors")
    moved.save(tmp_path / "two.safetensors")
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A model, a structure and a snapshot."""
    folder = tmp_path_factory.mktemp("devices")
    dataclasses.replace(random_model("float32"), functional="lda").save(folder / "al.safetensors")
    write_structure(folder / "al.extxyz", structure(7))
    made_up_snapshot(5).save(folder / "al.nc")
    return folder


def command(name: str, folder, *words) -> list[str]:
    """The words of a command without --out, which predict, evaluate and thermo take."""
    own = {
        "socket": [folder / "al.safetensors", folder / "al.extxyz", "--electron-temperature", 2000],
        "study": ["transfer", "--quick"],
        "predict": [folder / "al.safetensors", folder / "al.extxyz", "--forces", "--grid", 6, 6, 6],
        "evaluate": [folder / "al.safetensors", folder / "al.nc"],
        "thermo": [folder / "al.safetensors", folder / "al.extxyz", "--to", 2000, "--grid", 6, 6, 6],
    }
    return [name, *map(str, own[name]), *map(str, words)]


@pytest.mark.parametrize("name", ["predict", "evaluate", "thermo"])
def test_commands_take_a_device(name, files, tmp_path, capsys):
    printed = []
    for words in ([], ["--device", "cpu"]):
        out = ["--out", tmp_path] if name == "thermo" else []
        assert main(command(name, files, "--json", *out, *words)) == 0
        printed.append(json.loads(capsys.readouterr().out))
    assert printed[0] == printed[1]
    assert printed[0]["rows"]


@pytest.mark.parametrize("name", ["predict", "evaluate", "thermo", "socket", "study"])
@pytest.mark.parametrize("device", ["quantum", "cuda:99"])
def test_commands_refuse_other_devices_in_one_line(name, device, files, tmp_path, capsys):
    out = [] if name == "socket" else ["--out", tmp_path / "out"]
    assert main(command(name, files, *out, "--device", device)) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"fermisea: device: got '{device}'")
    assert captured.err.count("\n") == 1
    assert not captured.out
    assert not (tmp_path / "out").exists()


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("memory", [2**28, 0])
def test_gpu_predicts_as_the_cpu(model, memory):
    atoms, options = structure(7), {"forces": True, "memory": memory}
    expected = model.predict(atoms, TEMPERATURES, SHAPE, **options)
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    agree(model.predict(atoms, TEMPERATURES, SHAPE, device="cuda", **options), expected)
    assert model.network.device.type == "cpu"
    assert all(torch.equal(value, before[name]) for name, value in model.network.state_dict().items())
    moved = model.to("cuda")
    agree(moved.predict(atoms, TEMPERATURES, SHAPE, **options), expected)
    agree(moved.predict(atoms, TEMPERATURES, SHAPE, device="cpu", **options), expected)
    np.testing.assert_allclose(moved.ldos(atoms, SHAPE), model.ldos(atoms, SHAPE), rtol=1e-6)
    with pytest.raises(InputError, match="compiled loops need the CPU"):
        moved.predict(atoms, TEMPERATURES, SHAPE, route="compiled")


@pytest.mark.gpu
@needs_gpu
def test_gpu_in_lower_precision():
    model, atoms = ensemble("float32"), structure(7)
    exact, lower = (
        model.predict(atoms, TEMPERATURES, SHAPE, device="cuda", precision=kind) for kind in ("float32", "bfloat16")
    )
    expected = model.predict(atoms, TEMPERATURES, SHAPE)
    assert np.abs(exact.dos - expected.dos).max() < 1e-5 * expected.dos.max()
    assert 0 < np.abs(lower.dos - exact.dos).max() < 1e-2 * expected.dos.max()
    assert (np.asarray(lower.precision_error) != 0).all()


@pytest.mark.gpu
@needs_gpu
def test_gpu_models_are_saved_as_on_the_cpu(model, tmp_path):
    model.save(tmp_path / "cpu.safetensors")
    model.to("cuda").save(tmp_path / "gpu.safetensors")
    assert (tmp_path / "cpu.safetensors").read_bytes() == (tmp_path / "gpu.safetensors").read_bytes()
