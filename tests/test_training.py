import dataclasses
import math
import warnings

import numpy as np
import pytest
import torch

from fermisea.data.dataset import Dataset
from fermisea.descriptors import Bispectrum, PowerSpectrum
from fermisea.errors import ConvergenceError, InputError
from fermisea.model.model import Model
from fermisea.networks.mlp import Mlp
from fermisea.training import DivergenceError, fit_readout, learning_rate, train
from fermisea.training.config import TrainingConfig
from fermisea.training.loss import Loss, local_integrals
from fermisea.training.normalisation import Normalisation
from fermisea.training.points import KeptPoints
from synthetic import REFERENCE_TEMPERATURE, made_up_snapshot

QUICK = TrainingConfig(
    order=3, cutoff=4.0, hidden=(32, 32), epochs=25, batch_size=64, learning_rate=5e-3, validation_fraction=0.25
)


def dataset(*seeds: int) -> Dataset:
    return Dataset(tuple(made_up_snapshot(seed) for seed in seeds), tuple(f"made-up {seed}" for seed in seeds))


@pytest.fixture(scope="module")
def data() -> Dataset:
    return dataset(1, 2, 3, 4)


@pytest.fixture(scope="module")
def trained(data) -> tuple[Model, list]:
    states = []
    return train(data, QUICK, progress=states.append), states


def ldos_error(model: Model, seed: int) -> float:
    snapshot = made_up_snapshot(seed)
    error = model.ldos(snapshot.atoms, snapshot.grid) - snapshot.ldos
    return float(np.std(error) / np.std(snapshot.ldos - snapshot.ldos.mean((0, 1, 2))))


def test_learns_a_made_up_material(trained):
    model, states = trained
    epochs = [state for state in states if state.stage == "training"]
    assert epochs[-1].training_loss < epochs[0].training_loss / 100
    assert epochs[-1].validation_loss < epochs[0].validation_loss / 30
    assert ldos_error(model, 11) < 0.1
    unseen = made_up_snapshot(11)
    predicted = model.predict(unseen.atoms, [300.0, 5000.0], unseen.grid)
    true = unseen.observables([300.0, 5000.0])
    for k in range(2):
        error = np.abs(predicted.density[k] - true[k].density).mean() / true[k].density.mean()
        assert error < 0.01
    change = np.diff(predicted.free_energy)[0] - (
        true[1].free_energies["second_order"] - true[0].free_energies["second_order"]
    )
    assert abs(change) / 4 < 1e-3


def test_progress_tells_every_step(trained):
    _, states = trained
    assert [(s.step, s.steps) for s in states if s.stage == "descriptors"] == [(k, 4) for k in range(1, 5)]
    epochs = [s for s in states if s.stage == "training"]
    assert [(s.step, s.steps) for s in epochs] == [(k, 25) for k in range(1, 26)]
    assert all(math.isfinite(s.training_loss) and s.validation_loss > 0 for s in epochs)


def test_model_says_where_it_comes_from(trained, data):
    model, _ = trained
    assert model.elements == ("Al",)
    assert model.reference_electron_temperature == REFERENCE_TEMPERATURE
    assert model.functional == "lda"
    assert model.energy_grid == data.energy_grid
    assert model.highest_electron_temperature == min(s.highest_electron_temperature for s in data)
    assert model.grid_spacing == pytest.approx(4.05 / 6)
    assert model.provenance["config"]["hidden"] == [32, 32]
    assert len(model.provenance["snapshots"]) == 4
    assert not any(p.requires_grad for p in model.network.parameters())


def test_same_seed_same_bits(data, trained):
    torch.rand(3)  # the global generator plays no part
    again = train(data, QUICK)
    for name, tensor in trained[0].network.state_dict().items():
        assert torch.equal(tensor, again.network.state_dict()[name]), name
    short = dataclasses.replace(QUICK, epochs=1)
    one, other = train(data, short), train(data, dataclasses.replace(short, seed=1))
    assert not torch.equal(one.network.layers[0].weight, other.network.layers[0].weight)


def test_trains_from_files_alike(tmp_path, data):
    for index, snapshot in enumerate(data):
        snapshot.save(tmp_path / f"{index}.nc")
    short = dataclasses.replace(QUICK, epochs=2)
    one, two = train(data, short), train([tmp_path], short)
    assert all(torch.equal(a, b) for a, b in zip(one.network.parameters(), two.network.parameters(), strict=True))


def test_bispectrum_and_float64(data):
    config = dataclasses.replace(QUICK, descriptor="bispectrum", twojmax=4, dtype="float64", epochs=5)
    model = train(data, config)
    assert isinstance(model.descriptor, Bispectrum)
    assert model.network.dtype == torch.float64
    assert ldos_error(model, 11) < 0.5


def test_readout_is_the_least_squares_solution():
    generator = torch.Generator().manual_seed(0)
    descriptors = torch.randn(300, 4, generator=generator, dtype=torch.float64)
    ldos = torch.randn(300, 9, generator=generator, dtype=torch.float64)
    network = Mlp(4, (12, 10), 9, dtype="float64", seed=2)
    scale = torch.rand(9, generator=generator, dtype=torch.float64) + 0.5
    network.set_normalisation(torch.zeros(4), torch.ones(4), torch.ones(9), scale)
    points = KeptPoints(torch.cat([descriptors, ldos], 1), 4, (100, 200))
    hidden = network.hidden(descriptors).detach()
    design = torch.cat([hidden, torch.ones(300, 1, dtype=torch.float64)], 1) / math.sqrt(300)
    target = (ldos - 1) / scale / math.sqrt(300)
    means = [math.sqrt(300) * d.sum(0) / len(d) * math.sqrt(7.0 / 2) for d in (design[:100], design[100:])]
    goals = [math.sqrt(300) * t.sum(0) / len(t) * math.sqrt(7.0 / 2) for t in (target[:100], target[100:])]
    rows, values = torch.cat([design, torch.stack(means)]), torch.cat([target, torch.stack(goals)])
    expected = torch.linalg.lstsq(rows, values).solution.T
    fit_readout(network, points, dos_weight=7.0, ridge=0.0)
    matrix, bias = network.readout()
    torch.testing.assert_close(matrix, scale[:, None] * expected[:, :-1], rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(bias, 1 + scale * expected[:, -1], rtol=1e-8, atol=1e-8)
    before = network.readout()
    fit_readout(network, points, dos_weight=7.0, ridge=1e9)
    torch.testing.assert_close(network.readout(), before, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("warm_up", [0.0, 0.15, 0.5])
@pytest.mark.parametrize("schedule", ["cosine", "plateau", "constant"])
def test_learning_rate(schedule, warm_up):
    config = TrainingConfig(schedule=schedule, learning_rate=3e-3, warm_up=warm_up)
    rates = [learning_rate(config, x) for x in np.linspace(0, 1, 201)]
    assert max(rates) == pytest.approx(3e-3)
    assert rates[0] == pytest.approx(3e-4 if warm_up else 3e-3)
    assert rates[-1] == pytest.approx(3e-6 if schedule == "cosine" else 3e-3)
    assert np.abs(np.diff(rates)).max() < 3e-4  # no jump


def test_learning_rate_falls_where_the_loss_does_not():
    config = TrainingConfig(schedule="plateau", learning_rate=1.0, warm_up=0.0, plateau_factor=0.1, plateau_patience=2)
    losses = [5.0, 4.0, 4.5, 4.2, 3.9, 3.9, 3.95, 3.95, 4.1, 1.0]
    rates = [learning_rate(config, 0.5, losses[:n]) for n in range(len(losses) + 1)]
    assert rates == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_patience_stops_early_and_keeps_the_best(data):
    states = []
    config = dataclasses.replace(QUICK, epochs=200, patience=3, learning_rate=5e-2, schedule="constant", readout="none")
    model = train(data, config, progress=states.append)
    losses = [state.validation_loss for state in states if state.stage == "training"]
    assert len(losses) < 200
    assert len(losses) - 1 - int(np.argmin(losses)) == 3
    assert model.provenance["epochs"] == len(losses)


@pytest.mark.parametrize(("epoch", "finished"), [(1, False), (3, True)])
def test_a_loss_that_is_not_a_number_ends_with_the_last_good_state(data, monkeypatch, epoch, finished):
    calls, honest = [0], Loss.__call__

    def spoiled(self, network, x, y):
        calls[0] += torch.is_grad_enabled()
        return honest(self, network, x, y) * (math.nan if calls[0] > 11 * (epoch - 1) + 5 else 1.0)

    monkeypatch.setattr(Loss, "__call__", spoiled)
    with pytest.raises(DivergenceError, match=f"nan in epoch {epoch} of 25") as caught:
        train(data, QUICK)
    assert isinstance(caught.value, ConvergenceError)
    assert len(caught.value.history) == epoch - 1
    if finished:
        snapshot = made_up_snapshot(11)
        assert np.isfinite(caught.value.model.predict(snapshot.atoms, 1000.0, snapshot.grid).free_energy)
    else:
        assert caught.value.model is None


def test_two_elements_get_two_weights():
    descriptor = TrainingConfig(order=2).make_descriptor(["Al", "Ni"])
    assert isinstance(descriptor, PowerSpectrum)
    assert descriptor.weights == {"Al": 13 / 28, "Ni": 1.0}
    with pytest.raises(InputError, match="element_weights: got no weight for Ni"):
        TrainingConfig(element_weights={"Al": 1.0}).make_descriptor(["Al", "Ni"])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("descriptor", "soap"),
        ("activation", "swish"),
        ("schedule", 3),
        ("readout", "lasso"),
        ("dtype", "float16"),
        ("hidden", ()),
        ("hidden", (32, 0)),
        ("hidden", 32),
        ("hidden", "32"),
        ("epochs", 0),
        ("epochs", 2.5),
        ("epochs", True),
        ("batch_size", -1),
        ("cutoff", 0.0),
        ("cutoff", math.nan),
        ("cutoff", "4.7"),
        ("learning_rate", math.inf),
        ("weight_decay", -1.0),
        ("density_weight", -0.1),
        ("grand_potential_weight", -0.1),
        ("descriptor_floor", math.nan),
        ("validation_fraction", 1.0),
        ("patience", 0),
        ("seed", -1),
        ("element_weights", {}),
        ("element_weights", {"Xx": 1.0}),
        ("element_weights", {"Al": math.nan}),
    ],
)
def test_config_names_the_key_that_cannot_be_used(key, value):
    with pytest.raises(InputError, match=f"^{key}.*expected"):
        TrainingConfig(**{key: value})


def test_config_from_toml(tmp_path):
    path = tmp_path / "train.toml"
    path.write_text('descriptor = "bispectrum"\ntwojmax = 6\nhidden = [64, 32]\n[element_weights]\nAl = 1.0\n')
    config = TrainingConfig.from_toml(path)
    assert (config.descriptor, config.twojmax, config.hidden) == ("bispectrum", 6, (64, 32))
    assert config.make_descriptor(["Al"]) == Bispectrum(twojmax=6, cutoff=config.cutoff, weights={"Al": 1.0})
    assert TrainingConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("epoch = 3", r"unknown key epoch; the known keys are descriptor, order, .*epochs"),
        ("epochs = -3", "epochs: got -3"),
        ("epochs = ", "not a TOML file"),
    ],
)
def test_config_file_errors_name_the_file(tmp_path, text, named):
    path = tmp_path / "train.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"train\.toml: {named}"):
        TrainingConfig.from_toml(path)
    with pytest.raises(InputError, match="cannot be read"):
        TrainingConfig.from_toml(tmp_path / "none.toml")


def test_the_loss_by_hand():
    generator = np.random.default_rng(3)
    x, y = generator.random((50, 4)), generator.random((50, 9))
    integrals = generator.normal(size=(2, 9))
    points = KeptPoints(torch.from_numpy(np.hstack([x, y])), 4, (50,))
    normalisation = Normalisation.of(points, 1.0)
    network = Mlp(4, (6,), 9, dtype="float64")
    normalisation.apply(network)
    loss = Loss(torch.from_numpy(integrals), points, normalisation, weights=(0.5, 3.0))
    predicted = network(torch.from_numpy(x)).detach().numpy()
    scale = np.maximum(y.std(0), 0.05 * y.std(0).max())
    expected = np.mean(((predicted - y) / scale) ** 2)
    for weight, integral in zip((0.5, 3.0), integrals, strict=True):
        expected += weight * np.mean(((predicted - y) @ integral / (y @ integral).std()) ** 2)
    value = loss(network, torch.from_numpy(x), torch.from_numpy(y)).item()
    assert value == pytest.approx(expected, rel=1e-12)
    weight = network.layers[-1].weight
    loss(network, torch.from_numpy(x), torch.from_numpy(y)).mul(0.7).backward()
    step = torch.zeros_like(weight)
    step[3, 2] = 1e-4
    values = []
    for sign in (-1, 1):
        with torch.no_grad():
            weight += sign * step
            values.append(loss(network, torch.from_numpy(x), torch.from_numpy(y)).item())
            weight -= sign * step
    assert weight.grad[3, 2].item() == pytest.approx(0.7 * (values[1] - values[0]) / 2e-4, rel=1e-8)


def test_integrals_of_the_loss_are_density_and_grand_potential():
    snapshot = made_up_snapshot(0)
    dos, temperature = snapshot.density_of_states, snapshot.electron_temperature
    level = dos.fermi_level(snapshot.electrons, temperature)
    electrons, grand_potential = local_integrals([snapshot, snapshot]).numpy() @ dos.dos
    assert electrons == pytest.approx(snapshot.electrons, rel=1e-9)
    expected = dos.band_energy(level, temperature) - temperature * dos.entropy(level, temperature) - level * electrons
    assert grand_potential == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("floor", [0.0, 0.3, 2.0])
def test_scales_of_descriptors_have_a_floor(floor):
    x = np.random.default_rng(4).normal(size=(200, 5)) * [1.0, 2.0, 0.1, 1e-3, 0.0] + [0, 1, 5, 9, 7]
    points = KeptPoints(torch.from_numpy(np.hstack([x, np.ones((200, 3))])), 5, (200,))
    scale = Normalisation.of(points, floor).input_scale.numpy()
    deviation = x.std(0)
    expected = np.sqrt(deviation**2 + floor**2 * np.mean(deviation**2))
    if floor == 0.0:
        expected[4] = 1.0  # a component without variance is left as it is
    np.testing.assert_allclose(scale, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("quantum", "got 'quantum', which torch does not know; expected cpu"),
        ("meta", "got 'meta', which does not exist or has no double precision; expected cpu"),
        ("cuda:99", "got 'cuda:99', which is CUDA device number 99 for this process, but torch finds"),
    ],
)
def test_devices_that_cannot_be(data, name, message):
    with pytest.raises(InputError, match=message):
        train(data, QUICK, device=name)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("memory", [2**30, 1_500_000])
def test_gpu_trains_as_the_cpu(tmp_path, data, memory):
    config = dataclasses.replace(QUICK, epochs=2, dtype="float64", gradient_clip=0.5, averaging=0.5, ensemble=2)
    file = tmp_path / "al.checkpoint"
    expected = train(data, config, memory=memory)
    got = train(data, config, memory=memory, device="cuda", checkpoint=file)
    assert got.network.device.type == "cpu"
    for one, other in zip(got.network.parameters(), expected.network.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8)
    for name, value in expected.provenance["final"].items():
        assert got.provenance["final"][name] == pytest.approx(value, rel=1e-6, abs=1e-9), name
    longer = dataclasses.replace(config, epochs=3)
    content = file.read_bytes()
    resumed = train(data, longer, memory=memory, device="cuda", checkpoint=file, resume=True)
    file.write_bytes(content)
    again = train(data, longer, memory=memory, checkpoint=file, resume=True)  # the state of a GPU goes on without one
    for one, other in zip(resumed.network.parameters(), again.network.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8)


def test_bfloat16_only_where_the_processor_has_it(data, monkeypatch):
    short = dataclasses.replace(QUICK, epochs=1)
    lower = dataclasses.replace(short, precision="bfloat16")
    found = {}
    for name, present in (("with", True), ("without", False)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda present=present: {"avx512_bf16": present})
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found[name] = train(data, lower).network.state_dict()
        assert any("no bfloat16 arithmetic" in str(warning.message) for warning in caught) is not present
    full = train(data, short).network.state_dict()
    assert all(torch.equal(full[name], tensor) for name, tensor in found["without"].items())
    assert not all(torch.equal(full[name], tensor) for name, tensor in found["with"].items())
