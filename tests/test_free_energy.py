"""The four free-energy forms: orders of their errors, exact derivatives, and a model whose exact answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fermisea.errors import InputError
from fermisea.physics.fields import FourierGrid
from fermisea.physics.free_energy import FreeEnergyFunctional, check_form, transfer_error
from fermisea.physics.hartree import hartree_energy, hartree_potential
from fermisea.physics.registry import FORMS
from fermisea.physics.xc import functional, xc_energy, xc_energy_and_potential

CELL = np.array([[4.0, 0.3, 0.0], [0.0, 4.4, -0.2], [0.5, 0.0, 3.7]])
SHAPE = (10, 12, 9)
VOXEL = abs(np.linalg.det(CELL)) / np.prod(SHAPE)


def all_forms(*, band_free_energy, density, **options):
    return FreeEnergyFunctional(**options).forms(band_free_energy, density)


def field(seed: int, mean: float = 0.15, size: float = 0.03) -> np.ndarray:
    """A smooth positive periodic density, 1/A^3."""
    rng = np.random.default_rng(seed)
    x, y, z = np.meshgrid(*[np.arange(n) / n for n in SHAPE], indexing="ij")
    waves = [np.cos(2 * np.pi * (h * x + k * y + m * z + rng.random())) for h, k, m in rng.integers(-1, 2, (4, 3))]
    return mean + size * sum(waves) / 2


def change(seed: int) -> np.ndarray:
    """A smooth density without charge, 1/A^3."""
    values = field(seed)
    return values - values.mean()


def grid_of(cell, shape=SHAPE) -> FourierGrid:
    return FourierGrid(torch.as_tensor(cell), shape)


def setting(xc: str = "pbe", *, core: bool = True, cell=CELL, **options):
    values = {
        "reference_density": field(1),
        "core_density": field(2, 0.05, 0.02) if core else np.zeros(SHAPE),
        "grid": grid_of(cell),
        "functional": functional(xc),
        "ion_energy": -31.7,
    }
    return values | options


@pytest.mark.parametrize("xc", ["lda", "pbe", "pbesol"])
def test_all_forms_agree_at_the_reference_density(xc: str) -> None:
    forms = all_forms(band_free_energy=12.3, density=field(1), **setting(xc))
    assert set(forms) == set(FORMS)
    assert list(forms.values()) == pytest.approx([forms["kohn_sham"]] * 4, abs=1e-11)
    assert transfer_error(forms) < 1e-11


def test_harris_foulkes_is_what_the_definition_says() -> None:
    """Term by term, with E_xc and v_xc of valence plus core and the double counting of the valence."""
    options = setting()
    n0, core = torch.tensor(options["reference_density"]), torch.tensor(options["core_density"])
    grid, xc = grid_of(CELL), functional("pbe")
    _, potential = xc_energy_and_potential(n0 + core, grid, xc)
    expected = 12.3 - float(hartree_energy(n0, grid)) + float(xc_energy(n0 + core, grid, xc))
    expected += -float((potential * n0).sum()) * VOXEL - 31.7
    forms = all_forms(band_free_energy=12.3, density=field(3), **options)
    assert forms["harris_foulkes"] == pytest.approx(expected, abs=1e-11)


def test_mean_and_transfer_error() -> None:
    forms = all_forms(band_free_energy=0.0, density=field(3), **setting())
    assert forms["second_order"] == pytest.approx((forms["harris_foulkes"] + forms["kohn_sham"]) / 2, rel=1e-15)
    assert transfer_error(forms) == pytest.approx(abs(forms["harris_foulkes"] - forms["second_order"]), rel=1e-9)


@pytest.mark.parametrize(("pair", "order"), [(("kohn_sham", "harris_foulkes"), 2), (("naive", "second_order"), 1)])
def test_order_of_the_differences_in_the_density(pair: tuple[str, str], order: int) -> None:
    around, step = FreeEnergyFunctional(**setting()), change(1) + change(4)

    def difference(size: float) -> float:
        forms = around.forms(0.0, field(1) + size * step)
        return abs(forms[pair[0]] - forms[pair[1]])

    assert np.log2(difference(4e-3) / difference(2e-3)) == pytest.approx(order, abs=0.03)


@pytest.mark.parametrize("core", [True, False])
def test_derivative_of_the_kohn_sham_form(core: bool) -> None:
    """dF_KS/dn_t = v_Hxc[n_t] - v_Hxc[n0] along any direction."""
    options = setting(core=core)
    around, direction, density = FreeEnergyFunctional(**options), change(5), field(3)
    cell, nlcc = torch.tensor(CELL), torch.tensor(options["core_density"])

    def potential(n: np.ndarray) -> np.ndarray:
        valence = torch.tensor(n)
        _, v_xc = xc_energy_and_potential(valence + nlcc, FourierGrid.of(cell, valence), functional("pbe"))
        return (hartree_potential(valence, FourierGrid.of(cell, valence)) + v_xc).numpy()

    exact = np.sum((potential(density) - potential(field(1))) * direction) * VOXEL
    up, down = (around.forms(0.0, density + s * 1e-3 * direction)["kohn_sham"] for s in (1, -1))
    assert (up - down) / 2e-3 == pytest.approx(exact, rel=1e-5)


def test_core_density_enters_exchange_and_correlation_alone() -> None:
    bare, dressed = (all_forms(band_free_energy=0.0, density=field(1), **setting(core=c)) for c in (False, True))
    n, cell, xc = torch.tensor(field(1)), torch.tensor(CELL), functional("pbe")
    terms = []
    for core in (torch.zeros(SHAPE, dtype=torch.float64), torch.tensor(setting()["core_density"])):
        energy, potential = xc_energy_and_potential(n + core, FourierGrid.of(cell, n), xc)
        terms.append(float(energy) - float((potential * n).sum()) * VOXEL)
    assert dressed["naive"] - bare["naive"] == pytest.approx(terms[1] - terms[0], abs=1e-11)


def test_second_order_form_against_an_exactly_solved_functional() -> None:
    """Points that respond linearly: n electrons cost n^2/(2 chi) - v n, where the field v stands for the temperature.

    In a potential w they hold n = chi (v - w). The forms built from w = v_Hxc[n0], converged at another field, must
    meet the self-consistent F to first order (naive) and to second order with opposite signs (Harris-Foulkes,
    Kohn-Sham). Their mean is best where screening halves the response, chi dv_Hxc/dn = 1, nearly so here.
    """
    chi, xc, grid = 0.012, functional("lda"), grid_of(CELL)

    def v_hxc(n: np.ndarray) -> np.ndarray:
        _, v_xc = xc_energy_and_potential(torch.tensor(n), grid, xc)
        return (hartree_potential(torch.tensor(n), grid) + v_xc).numpy()

    def respond(w: np.ndarray, v: np.ndarray) -> tuple[float, np.ndarray]:
        n = chi * (v - w)
        return float(np.sum(n**2 / (2 * chi) - v * n + w * n)) * VOXEL, n

    def self_consistent(v: np.ndarray) -> np.ndarray:
        n = np.full(SHAPE, 0.15)
        for _ in range(60):
            n = 0.5 * n + 0.5 * respond(v_hxc(n), v)[1]
        return n

    v0, direction = 2.5 + 100 * change(6), 100 * (change(6) + change(7))
    n0 = self_consistent(v0)
    around = FreeEnergyFunctional(reference_density=n0, core_density=0 * n0, grid=grid, functional=xc, ion_energy=0.0)

    def errors(size: float) -> dict[str, float]:
        v = v0 + size * direction
        n = self_consistent(v)
        exact = float(np.sum(n**2 / (2 * chi) - v * n)) * VOXEL
        exact += float(hartree_energy(torch.tensor(n), grid) + xc_energy(torch.tensor(n), grid, xc))
        band, density = respond(v_hxc(n0), v)
        return {form: value - exact for form, value in around.forms(band, density).items()}

    small, large = errors(0.025), errors(0.05)
    assert errors(0.0) == pytest.approx(dict.fromkeys(FORMS, 0.0), abs=1e-9)
    assert large["naive"] / small["naive"] == pytest.approx(2, abs=0.2)
    for form in ("harris_foulkes", "kohn_sham"):
        assert large[form] / small[form] == pytest.approx(4, abs=0.4)
    assert large["harris_foulkes"] * large["kohn_sham"] < 0
    assert abs(large["second_order"]) < min(abs(large["harris_foulkes"]), abs(large["kohn_sham"]))


def test_mirrored_cell_has_the_same_energy() -> None:
    mirrored = CELL * np.array([-1, 1, 1])
    one, other = (all_forms(band_free_energy=1.0, density=field(3), **setting(cell=c)) for c in (CELL, mirrored))
    assert one == pytest.approx(other, rel=1e-12)


def test_arrays_and_tensors_alike() -> None:
    plain = all_forms(band_free_energy=0.0, density=field(3), **setting())
    density = field(3)
    density.setflags(write=False)
    tensors = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in setting().items()}
    assert all_forms(band_free_energy=0.0, density=density, **tensors) == plain
    assert all(isinstance(value, float) for value in plain.values())


def test_densities_on_other_points_are_refused() -> None:
    with pytest.raises(InputError, match=r"density: got shape \(4, 4, 4\)"):
        all_forms(band_free_energy=0.0, density=np.ones((4, 4, 4)), **setting())
    with pytest.raises(InputError, match="core density"):
        FreeEnergyFunctional(**setting(core_density=np.zeros((4, 4, 4))))
    bad = field(3)
    bad[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="finite"):
        all_forms(band_free_energy=0.0, density=bad, **setting())


def test_form_names() -> None:
    assert [check_form(form) for form in FORMS] == list(FORMS)
    with pytest.raises(InputError, match="second_order, harris_foulkes, kohn_sham, naive"):
        check_form("best")
