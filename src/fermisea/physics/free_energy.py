"""The total free energy from densities and a band free energy, in four forms.

With the density n0 that defines the Hamiltonian of the states, the density n_t at the electronic temperature tau_e and
A = E_b - TS:

    naive             A - E_H[n_t] + E_xc[n_t] - int v_xc[n_t] n_t + E_ii
    harris_foulkes    A - E_H[n0]  + E_xc[n0]  - int v_xc[n0]  n0  + E_ii   (Harris, PRB 31, 1770; Foulkes and Haydock)
    kohn_sham         A - int v_Hxc[n0] n_t + E_H[n_t] + E_xc[n_t] + E_ii
    second_order      mean of the last two

The error of the naive form is first order in n_t - n0; the errors of the next two are second order, with opposite
signs.

A functional of exchange and correlation at tau_e may differ from the one in the Hamiltonian of the states: it depends
on tau_e itself, or it is another one. With dv = v_xc[n0] at tau_e minus v_xc[n0] in the Hamiltonian, E_xc and v_xc at
tau_e,

    harris_foulkes    A + int dv n_t - E_H[n0] + E_xc[n0] - int v_xc[n0] n0 + E_ii
    kohn_sham         A - int (v_Hxc[n0] - dv) n_t + E_H[n_t] + E_xc[n_t] + E_ii,    v_Hxc with v_xc at tau_e

so the Kohn-Sham form subtracts the potential that is in the eigenvalues. Both forms then miss the response of the
states to dv, 1/2 int dv chi dv, which is negative: both are too high, and their difference does not show it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fermisea.errors import InputError
from fermisea.physics.fields import FourierGrid
from fermisea.physics.hartree import hartree_energy, hartree_potential
from fermisea.physics.registry import FORMS
from fermisea.physics.screened_response import second_order_energy
from fermisea.physics.xc import Functional, xc_energy_and_potential, xc_energy_and_slope

_BLOCK = 2**16
"""Number of points of a block of an integral."""


def check_form(form: str) -> str:
    """Returns ``form`` after checking it.

    Raises:
        InputError: for an unknown form, with a list of the known forms.
    """
    if form not in FORMS:
        raise InputError(f"free-energy form: got {form!r}, expected one of {', '.join(FORMS)}")
    return form


class FreeEnergyFunctional:
    """The four forms of F for one reference density, whose potentials are computed once."""

    def __init__(
        self, *, reference_density: Any, core_density: Any, grid: FourierGrid, functional: Functional, ion_energy: float
    ) -> None:
        """Stores all quantities that do not depend on the electronic temperature.

        Args:
            reference_density: n0, valence, (nx, ny, nz), 1/Angstrom^3.
            core_density: partial core density (nonlinear core correction), (nx, ny, nz), 1/Angstrom^3; it enters E_xc
                and v_xc only.
            grid: grid of the densities.
            functional: exchange-correlation functional in the Hamiltonian of the states.
            ion_energy: E_ii (Ewald), eV.

        Raises:
            InputError: for densities on different grids.
        """
        self._grid = grid
        self._core = _tensor(core_density)
        self._functional = functional
        self._ion_energy = ion_energy
        self._last: tuple[Functional, Tensor, float] | None = None
        self._reference = _tensor(reference_density)
        if self._core.shape != self._reference.shape:
            raise InputError(
                f"core density: got shape {tuple(self._core.shape)}, expected the shape of the reference density, "
                f"{tuple(self._reference.shape)}"
            )
        self._v_hxc, self._harris = potential_and_double_counting(
            self._reference, self._whole(self._reference), self._grid, functional
        )

    def _whole(self, density: Tensor) -> Tensor:
        return density + self._core.to(density.dtype) if bool(self._core.any()) else density

    def _changed(self, functional: Functional) -> tuple[Tensor, float]:
        """Returns dv, (nx, ny, nz), eV, and the double-counting energy of n0 with another functional, eV."""
        if self._last is None or self._last[0] != functional:
            potential, harris = potential_and_double_counting(
                self._reference, self._whole(self._reference), self._grid, functional
            )
            self._last = functional, potential.sub_(self._v_hxc), harris
        return self._last[1:]

    def response_error(self, functional: Functional, electron_temperature: float) -> float:
        """Returns an estimate of -1/2 int dv chi dv, eV: how much too high both second-order forms are.

        It uses the screened response of free electrons, scaled with the local density of the valence.

        Args:
            functional: exchange-correlation functional at tau_e.
            electron_temperature: tau_e, K.
        """
        if functional == self._functional:
            return 0.0
        change, _ = self._changed(functional)
        return second_order_energy(change, self._reference, self._grid, functional, electron_temperature)

    def forms(self, band_free_energy: float, density: Any, functional: Functional | None = None) -> dict[str, float]:
        """Returns the free energy in every form, eV.

        Args:
            band_free_energy: E_b - TS at tau_e, eV.
            density: n_t, valence, (nx, ny, nz), 1/Angstrom^3.
            functional: exchange-correlation functional at tau_e; by default the one in the Hamiltonian.

        Raises:
            InputError: for a density on another grid than the reference density, or with values that are not finite.
        """
        density = _tensor(density)
        bad = density.shape != self._reference.shape or not bool(torch.isfinite(density).all())
        if self._grid.processes.any(bad):
            raise InputError(
                f"density: got shape {tuple(density.shape)}, expected finite values on the grid "
                f"{tuple(self._reference.shape)} of the reference density"
            )
        functional = self._functional if functional is None else functional
        exchange, slope = map(float, xc_energy_and_slope(self._whole(density), self._grid, functional, density))
        hartree = float(hartree_energy(density, self._grid))
        fixed = band_free_energy + self._ion_energy
        naive = fixed - hartree + exchange - slope
        harris = fixed + self._harris
        if functional != self._functional:
            change, double_counting = self._changed(functional)
            harris = fixed + double_counting + _integral(change, density, self._grid)
        kohn_sham = fixed - _integral(self._v_hxc, density, self._grid) + hartree + exchange
        return {
            "second_order": (harris + kohn_sham) / 2,
            "harris_foulkes": harris,
            "kohn_sham": kohn_sham,
            "naive": naive,
        }


def potential_and_double_counting(
    density: Tensor, whole: Tensor, grid: FourierGrid, functional: Functional
) -> tuple[Tensor, float]:
    """Returns v_H + v_xc, (nx, ny, nz), eV, and the double-counting energy -E_H + E_xc - int v_xc n, eV.

    Args:
        density: n, valence, (nx, ny, nz), 1/Angstrom^3.
        whole: valence plus core density, of which E_xc and v_xc are taken, (nx, ny, nz), 1/Angstrom^3.
        grid: grid of the densities.
        functional: exchange and correlation.
    """
    exchange, v_xc = xc_energy_and_potential(whole, grid, functional)
    hartree = float(hartree_energy(density, grid))
    double_counting = -hartree + float(exchange) - _integral(v_xc, density, grid)
    return v_xc.add_(hartree_potential(density, grid)), double_counting


def transfer_error(forms: Mapping[str, float], response_error: float = 0.0) -> float:
    """Returns |F_KS - F_HF| / 2, eV: an estimate of the error from the change of temperature.

    Args:
        forms: the free energy in every form, eV.
        response_error: the error that both forms share, see ``FreeEnergyFunctional.response_error``, eV; it is added.
    """
    return abs(forms["kohn_sham"] - forms["harris_foulkes"]) / 2 + response_error


def _integral(potential: Tensor, density: Tensor, grid: FourierGrid) -> float:
    """Returns the cell integral of a potential (eV) times a density (1/Angstrom^3), eV."""
    parts = zip(potential.reshape(-1).split(_BLOCK), density.reshape(-1).split(_BLOCK), strict=True)
    own = math.fsum(float(torch.dot(one.double(), other.double())) for one, other in parts)
    return float(grid.total(torch.tensor(own, dtype=torch.float64)) * grid.voxel)


def _tensor(values: Any) -> Tensor:
    """Returns a tensor on the CPU, in single precision if the values are, in double precision otherwise."""
    if isinstance(values, Tensor):
        return values.detach().to("cpu", values.dtype if values.dtype == torch.float32 else torch.float64)
    kind = np.float32 if np.asarray(values).dtype == np.float32 else np.float64
    return torch.from_numpy(np.require(values, kind, ["C", "W"]))
