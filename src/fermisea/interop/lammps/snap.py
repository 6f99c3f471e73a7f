"""SNAP potentials of LAMMPS: coefficients from a regular model in bispectra, and the text of their files.

The energy of an atom with the bispectrum B, (K,), is

    E = beta_0 + sum_k beta_k B_k + 1/2 sum_kl alpha_kl B_k B_l

with a symmetric matrix alpha (M. A. Wood, A. P. Thompson, J. Chem. Phys. 148, 241721 (2018)). The files hold beta_0 to
beta_K and the upper triangle of alpha, one row after the other, as in the LAMMPS documentation of ``pair_style snap``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fermisea.descriptors import Bispectrum, Products
from fermisea.errors import InputError
from fermisea.potential import RegularModel
from fermisea.utilities.arrays import FloatArray, IntArray

_NAMES, _FLAGS = ("switchflag", "bzeroflag", "bnormflag", "wselfallflag"), (1.0, 0.0, 0.0, 0.0)
"""Flags of the definition of the bispectrum, and their values."""

_RADIUS = 0.5
"""Radius of the element, Angstrom; a pair interacts up to rcutfac times the sum of both radii."""


@dataclass(frozen=True)
class Snap:
    """A SNAP potential of one element, linear or quadratic in the bispectrum.

    Attributes:
        element: chemical symbol.
        bispectrum: the bispectrum, in which every atom has the same weight.
        coefficients: beta_0 to beta_K, eV; for a quadratic potential then the upper triangle of alpha.
    """

    element: str
    bispectrum: Bispectrum
    coefficients: FloatArray

    @classmethod
    def of(cls, model: RegularModel) -> Snap:
        """Returns the potential that is equal to a regular model.

        Raises:
            InputError: for several elements, or a descriptor other than a bispectrum, alone or with all products.
        """
        descriptor = model.descriptor
        spectrum = descriptor.spectrum if isinstance(descriptor, Products) else descriptor
        if len(model.elements) != 1 or not isinstance(spectrum, Bispectrum) or spectrum.rmin0 != 0:
            raise InputError(
                f"SNAP: got a regular model of {', '.join(model.elements)} in {spectrum.to_dict()}, expected one "
                "element and a bispectrum with rmin0 = 0"
            )
        if model.corrections:
            raise InputError("SNAP: got a regular model with networks, expected one that is linear in its descriptor")
        values, constant = model.coefficients[0], float(model.constants[0])
        if not isinstance(descriptor, Products):
            return cls(model.elements[0], spectrum, np.concatenate([[constant], values]))
        if len(descriptor.factors) != spectrum.features:
            raise InputError(f"SNAP: got products up to degree {descriptor.order}, expected all of {spectrum.twojmax}")
        return cls(model.elements[0], spectrum, _expanded(descriptor, values, constant))

    @classmethod
    def read(cls, coefficients: Path, parameters: Path) -> Snap:
        """Returns the potential from its files, as this package writes them.

        Raises:
            InputError: for files with several elements, other flags, or a wrong number of coefficients.
        """
        entries = [line.split("#")[0].split() for line in parameters.read_text(encoding="utf-8").splitlines()]
        settings = {entry[0]: float(entry[1]) for entry in entries if len(entry) == 2}
        words = [line.split("#")[0].split() for line in coefficients.read_text(encoding="utf-8").splitlines()]
        words = [word for word in words if word]
        (elements, count), (element, radius, weight) = words[0], words[1]
        cutoff, twojmax = 2 * float(radius) * settings["rcutfac"], int(settings["twojmax"])
        bispectrum = Bispectrum(twojmax, cutoff, {element: float(weight)}, settings["rfac0"], settings["rmin0"])
        snap = cls(element, bispectrum, np.array([float(word[0]) for word in words[2:]]))
        expected = 1 + bispectrum.features + settings["quadraticflag"] * len(_triangle(bispectrum.features)[0])
        flags = {name: settings[name] for name in _NAMES}
        if elements != "1" or not int(count) == len(snap.coefficients) == expected or tuple(flags.values()) != _FLAGS:
            raise InputError(
                f"{coefficients}: got {elements} elements, {len(snap.coefficients)} coefficients and {flags}, expected "
                f"1 element, {expected:.0f} coefficients and files written by fermisea export lammps"
            )
        return snap

    def regular(self, electron_temperature: float) -> RegularModel:
        """Returns the regular model at a tau_e, K, that is equal to the potential."""
        spectrum, count = self.bispectrum, self.bispectrum.features
        constant, values = self.coefficients[:1], self.coefficients[1 : 1 + count]
        if not self.quadratic:
            return RegularModel(spectrum, values[None], constant, (self.element,), electron_temperature)
        first, second = _triangle(count)
        halves = self.coefficients[1 + count :] * np.where(first == second, 0.5, 1.0)
        products = Products(spectrum, spectrum.twojmax, (0.0,) * count, (1.0,) * count)
        coefficients = np.concatenate([values, halves])[None]
        return RegularModel(products, coefficients, constant, (self.element,), electron_temperature)

    @property
    def quadratic(self) -> bool:
        """Whether the energy is quadratic in the bispectrum."""
        return len(self.coefficients) > 1 + self.bispectrum.features

    def coefficient_text(self, comments: Sequence[str] = ()) -> str:
        """Returns the text of the coefficient file, with lines of comment at its top."""
        head = [f"# {line}" for line in comments]
        weight = 1.0 if self.bispectrum.weights is None else self.bispectrum.weights[self.element]
        head += [f"1 {len(self.coefficients)}", f"{self.element} {_RADIUS!r} {float(weight)!r}"]
        return "\n".join([*head, *(repr(float(value)) for value in self.coefficients)]) + "\n"

    def parameter_text(self, comments: Sequence[str] = ()) -> str:
        """Returns the text of the parameter file, with lines of comment at its top."""
        parameters = {
            "rcutfac": self.bispectrum.cutoff / (2 * _RADIUS),
            "twojmax": self.bispectrum.twojmax,
            "rfac0": self.bispectrum.rfac0,
            "rmin0": 0.0,
            **dict(zip(_NAMES, map(int, _FLAGS), strict=True)),
            "quadraticflag": int(self.quadratic),
        }
        return "\n".join([*(f"# {line}" for line in comments), *(f"{k} {v!r}" for k, v in parameters.items())]) + "\n"


def _triangle(count: int) -> tuple[IntArray, IntArray]:
    """Returns rows and columns of an upper triangle, row by row."""
    first, second = np.triu_indices(count)
    return first, second


def _expanded(products: Products, values: FloatArray, constant: float) -> FloatArray:
    """Returns beta_0 to beta_K and the upper triangle of alpha from coefficients of scaled products.

    Args:
        products: the descriptor, with all products.
        values: coefficients of components and products, (features,), eV.
        constant: energy without a descriptor, eV.
    """
    count = products.spectrum.features
    centre, scale = np.array(products.centre), np.array(products.scale)
    first, second = products.pairs
    quadratic = np.zeros((count, count))
    quadratic[first, second] = values[count:] / (scale[first] * scale[second])
    quadratic += quadratic.T  # 1/2 B alpha B
    shift = quadratic @ centre
    beta = [constant + float(centre @ shift) / 2, *(values[:count] - shift)]
    return np.concatenate([beta, quadratic[first, second]])
