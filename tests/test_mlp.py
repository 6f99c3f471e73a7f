import math

import pytest
import torch

from fermisea.errors import InputError
from fermisea.networks.mlp import ACTIVATIONS, Mlp


def normalised_network(dtype: str = "float64") -> Mlp:
    network = Mlp(5, (16, 12), 7, dtype=dtype, seed=3)
    generator = torch.Generator().manual_seed(1)
    random = [torch.rand(n, generator=generator, dtype=torch.float64) + 0.1 for n in (5, 5, 7, 7)]
    network.set_normalisation(random[0], random[1], random[2], random[3])
    return network


def inputs(dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(40, 5, generator=torch.Generator().manual_seed(2), dtype=dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_readout_is_the_map_from_the_hidden_layer(dtype):
    network = normalised_network(dtype)
    x = inputs(network.dtype)
    matrix, bias = network.readout()
    expected = network.hidden(x).double() @ matrix.T + bias
    tolerance = 1e-6 if dtype == "float32" else 1e-14
    assert network(x).dtype == network.dtype
    torch.testing.assert_close(network(x).double(), expected, rtol=tolerance, atol=tolerance)


def test_sum_over_points_needs_only_the_sum_of_the_hidden_layer():
    network, x = normalised_network(), inputs()
    matrix, bias = network.readout()
    torch.testing.assert_close(
        network(x).sum(0), matrix @ network.hidden(x).sum(0) + len(x) * bias, rtol=1e-13, atol=1e-13
    )


def test_set_readout_undoes_readout():
    network, x = normalised_network(), inputs()
    before = network(x)
    matrix, bias = network.readout()
    scale = network.output_scale
    network.set_readout(matrix / scale[:, None], (bias - network.output_mean) / scale)
    torch.testing.assert_close(network(x), before, rtol=1e-13, atol=1e-13)


def test_normalisation_is_inside():
    network, x = normalised_network(), inputs()
    plain = Mlp(5, (16, 12), 7, dtype="float64", seed=3)
    expected = plain((x - network.input_mean) / network.input_scale) * network.output_scale + network.output_mean
    torch.testing.assert_close(network(x), expected, rtol=1e-13, atol=1e-13)
    assert set(network.state_dict()) >= {"input_mean", "input_scale", "output_mean", "output_scale"}


def test_seed_decides_the_weights_and_leaves_the_global_generator_alone():
    state = torch.random.get_rng_state()
    one, two, other = Mlp(5, (16,), 7, seed=1), Mlp(5, (16,), 7, seed=1), Mlp(5, (16,), 7, seed=2)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(one.layers[0].weight, two.layers[0].weight)
    assert not torch.equal(one.layers[0].weight, other.layers[0].weight)


def test_initial_variance():
    network = Mlp(400, (300,), 200, dtype="float64")
    assert float(network.layers[0].weight.detach().var()) == pytest.approx(2 / 400, rel=0.02)
    assert float(network.layers[1].weight.detach().var()) == pytest.approx(1 / 300, rel=0.02)
    assert float(network.layers[0].weight.detach().abs().max()) <= math.sqrt(6 / 400)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_every_activation_is_nonlinear(activation):
    network, x = Mlp(5, (16,), 7, activation, dtype="float64"), inputs()
    y, of = x.flip(0), network.normalised
    mixed = of(x + y) - of(x) - of(y) + of(torch.zeros_like(x))
    assert float(mixed.detach().abs().max()) > 1e-2


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((5, (8,), 7, "swish"), "activation: got 'swish'"),
        ((5, (), 7), "network sizes"),
        ((5, (8, 0), 7), "network sizes"),
        ((0, (8,), 7), "network sizes"),
    ],
)
def test_wrong_sizes_are_named(arguments, named):
    with pytest.raises(InputError, match=named):
        Mlp(*arguments)


def test_wrong_dtype_is_named():
    with pytest.raises(InputError, match="dtype: got 'float16'"):
        Mlp(5, (8,), 7, dtype="float16")
