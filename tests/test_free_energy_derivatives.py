"""Derivatives of the free energy by densities and cell, against differences of the free energy itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fermisea.physics.free_energy import FreeEnergyFunctional
from fermisea.physics.free_energy_derivatives import FreeEnergyDerivatives
from test_free_energy import CELL, SHAPE, VOXEL, change, field, grid_of, setting

STEP = 1e-4


def energy(values, density) -> float:
    return FreeEnergyFunctional(**values).forms(0.0, density)["second_order"]


def slope(function) -> float:
    """The derivative at zero, to fourth order in the step."""
    values = [function(k * STEP) for k in (-2, -1, 1, 2)]
    return (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * STEP)


def derivatives(values, density) -> FreeEnergyDerivatives:
    return FreeEnergyDerivatives.of(
        reference_density=values["reference_density"],
        density=density,
        core_density=torch.as_tensor(values["core_density"]),
        grid=values["grid"],
        functional=values["functional"],
    )


CASES = pytest.mark.parametrize(
    ("xc", "core", "cell"),
    [("lda", False, CELL), ("pz", True, CELL), ("pbe", True, CELL), ("pbesol", True, CELL[[1, 0, 2]])],
)


@CASES
def test_by_each_density(xc, core, cell):
    values, density = setting(xc, core=core, cell=cell), field(3)
    found, direction = derivatives(values, density), 0.1 * change(5)

    def by(name, x):
        moved = values if name == "density" else values | {name: values[name] + x * direction}
        return energy(moved, density + x * direction if name == "density" else density)

    for name in ("reference_density", "density", "core_density"):
        expected = slope(lambda x, name=name: by(name, x))
        got = float(np.sum(getattr(found, name).numpy() * direction)) * VOXEL
        assert got == pytest.approx(expected, rel=2e-7, abs=1e-8), name


@CASES
@pytest.mark.parametrize("shape", [SHAPE, (6, 5, 8)])
def test_by_the_strain_of_the_cell(xc, core, cell, shape):
    cut = tuple(slice(n) for n in shape)  # rough fields: what even grids leave out is left out of the derivative too
    values, density = setting(xc, core=core, cell=cell), field(3)[cut].copy()
    values |= {name: values[name][cut].copy() for name in ("reference_density", "core_density")}
    values["grid"] = grid_of(cell, shape)
    found = derivatives(values, density).strain.numpy()
    np.testing.assert_allclose(found, found.T, atol=1e-9 * np.abs(found).max())
    for i, j in ((0, 0), (2, 2), (0, 1), (1, 2)):
        direction = np.zeros((3, 3))
        direction[i, j] += 0.5
        direction[j, i] += 0.5
        expected = slope(
            lambda x, d=direction: energy(values | {"grid": grid_of(cell @ (np.eye(3) + x * d), shape)}, density)
        )
        assert found[i, j] == pytest.approx(expected, rel=1e-7, abs=1e-8 * np.abs(found).max())


def test_at_the_reference_density_the_density_does_not_matter():
    values = setting("pbe")
    found = derivatives(values, values["reference_density"])
    assert found.density.abs().max() < 1e-12 * found.core_density.abs().max()


@pytest.mark.parametrize("xc", ["lda", "pbe"])
def test_where_a_density_passes_through_zero(xc):
    values, density = setting(xc), field(3)
    values["functional"] = replace(values["functional"], fade=0.05)
    values["reference_density"] = values["reference_density"] - np.quantile(values["reference_density"], 0.1)
    assert (np.abs(values["reference_density"]) < 0.02).sum() > 20
    direction = 0.1 * change(5)
    expected = slope(
        lambda x: energy(values | {"reference_density": values["reference_density"] + x * direction}, density)
    )
    found = derivatives(values, density).reference_density.numpy()
    assert float(np.sum(found * direction)) * VOXEL == pytest.approx(expected, rel=2e-7)
