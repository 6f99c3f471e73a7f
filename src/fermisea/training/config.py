"""Training configuration: a frozen dataclass that checks its values and can be read from a TOML file."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from ase import Atoms
from ase.data import atomic_numbers

from fermisea.descriptors import Bispectrum, Descriptor, PowerSpectrum, WithVolume
from fermisea.descriptors.power_spectrum import HIGHEST_SMOOTHNESS
from fermisea.descriptors.volume import HIGHEST_DEGREE
from fermisea.errors import InputError
from fermisea.networks.mlp import ACTIVATIONS, DTYPES, check_choice
from fermisea.utilities.toml import check_keys, read_toml

_CHOICES: dict[str, tuple[str, ...]] = {
    "energy_axis": ("absolute", "density"),
    "descriptor": ("power_spectrum", "bispectrum"),
    "activation": tuple(ACTIVATIONS),
    "schedule": ("cosine", "plateau", "constant"),
    "readout": ("ridge", "none"),
    "dtype": tuple(DTYPES),
    "precision": ("float32", "bfloat16"),
}

_COUNTS = ("order", "twojmax", "epochs", "batch_size", "plateau_patience", "ensemble", "anchor_order")
"""Settings that are integers of at least 1."""


@dataclass(frozen=True)
class TrainingConfig:
    """Configuration of descriptor, network and optimiser.

    Attributes:
        descriptor: kind of descriptor, ``"power_spectrum"`` or ``"bispectrum"``.
        order: highest order of the power spectrum.
        twojmax: twice the highest angular momentum of the bispectrum.
        cutoff: cutoff of the descriptors, Angstrom.
        smoothness: smoothness of the power spectrum at the cutoff, 1 to 3; see
            :class:`fermisea.descriptors.PowerSpectrum`.
        element_weights: weight of each element in the descriptors; by default atomic number divided by the highest one.
        descriptor_floor: lower bound of the scale of a descriptor component, relative to the root mean square of all,
            so that components with hardly any variation in the data are not amplified; 0 scales each component by its
            standard deviation.
        hidden: sizes of the hidden layers.
        activation: activation function of the hidden layers.
        epochs: number of passes over all training points.
        batch_size: number of grid points in one update.
        learning_rate: highest learning rate of AdamW.
        weight_decay: weight decay of AdamW.
        schedule: learning-rate schedule after the warm-up: ``"cosine"`` (to a thousandth of the highest rate),
            ``"plateau"`` or ``"constant"``.
        warm_up: fraction of the updates over which the learning rate rises from a tenth of the highest rate.
        plateau_factor: factor of the learning rate when the loss no longer falls.
        plateau_patience: number of epochs without a lower loss before this factor is applied.
        gradient_clip: largest norm of the gradient; None for no clipping.
        averaging: decay per update of the exponential average of the weights that is validated and kept, over at most
            the last ninth of the updates; 0 for no averaging.
        density_weight: weight of the density at tau_ref in the loss, relative to 1 for the LDOS.
        grand_potential_weight: weight of the grand potential density of the electrons at tau_ref, E_b - TS - mu N, in
            the loss, relative to 1 for the LDOS.
        readout: final fit of the last layer: ``"ridge"`` for the exact least-squares solution, or ``"none"``.
        dos_weight: weight of the DOS of each snapshot in this fit, relative to 1 for the LDOS.
        ridge: strength of the ridge term in this fit, which favours the trained last layer.
        validation_fraction: fraction of the structures held out to choose the best epoch; 0 trains on all structures.
        patience: number of epochs without a lower validation loss before training stops; None for no limit.
        ensemble: number of networks, trained together on the same batches from different initial weights.
        energy_axis: zero of energy of the network's LDOS: ``"absolute"``, the average potential of the cell; or
            ``"density"``, which follows the Fermi levels of the data with the mean density of electrons. Data at one
            volume, or with a broadening below 0.8 times the spacing of the energies, have absolute energies.
        anchor: whether a regular model (interatomic potential) is fitted to the free energies at tau_ref as an anchor.
        anchor_order: highest order of the power spectrum of the regular model.
        anchor_cutoff: cutoff of the descriptors of the regular model, Angstrom.
        anchor_smoothness: smoothness at the cutoff, 1 to 3, of the power spectra of the regular model and of the change
            of F with tau_e.
        anchor_products: highest degree of the components whose products are added to the descriptors of the regular
            model, so that its atomic energies are quadratic in them; 0 for atomic energies that are linear.
        anchor_force_scale: root mean square of the forces of a structure, eV/Angstrom, at which its squared errors have
            half of the weight in the linear fit of the regular model; for data of crystals and hot liquids together.
            None for equal weights.
        anchor_hidden: hidden layers of networks added to the atomic energies; empty for a linear regular model.
        potential: whether the anchor is extended to a potential at every tau_e, from the LDOS of at least eight
            structures.
        potential_order: highest order of the power spectrum of the change of F with tau_e; None for the descriptor of
            the regular model, or for its order if ``potential_cutoff`` is given.
        potential_cutoff: cutoff of this power spectrum, Angstrom; None for the cutoff of the regular model.
        potential_volume: highest power of the logarithm of the volume per atom on which the change of F with tau_e
            depends, beside the power spectrum, at most 4; 0 for the power spectrum alone.
        potential_forces: whether the change of F with tau_e is fitted to changes of the forces too, which the networks
            predict for the training structures; this takes a pass over each structure for each tau_e of the labels.
        allow_closure_error: whether snapshots whose LDOS misses the free energy of the DFT code by more than 5 meV/atom
            give a warning instead of an error.
        seed: random seed of the initial weights (seed + 1 and so on for further networks), of the shuffling and of the
            choice of validation structures.
        dtype: type of the weights, ``"float32"`` or ``"float64"``.
        precision: precision of matrix products in training, ``"float32"`` (the precision of the weights) or
            ``"bfloat16"``; a processor without bfloat16 arithmetic uses float32, with a warning.
    """

    descriptor: str = "power_spectrum"
    order: int = 6
    twojmax: int = 10
    cutoff: float = 5.4
    smoothness: int = 1
    element_weights: Mapping[str, float] | None = None
    descriptor_floor: float = 1.0
    hidden: tuple[int, ...] = (256, 256)
    activation: str = "silu"
    epochs: int = 16
    batch_size: int = 1024
    learning_rate: float = 2e-3
    weight_decay: float = 0.1
    schedule: str = "cosine"
    warm_up: float = 0.15
    plateau_factor: float = 0.5
    plateau_patience: int = 3
    gradient_clip: float | None = None
    averaging: float = 0.999
    density_weight: float = 1.0
    grand_potential_weight: float = 1.0
    readout: str = "ridge"
    dos_weight: float = 5.0
    ridge: float = 1e-6
    validation_fraction: float = 0.1
    patience: int | None = None
    ensemble: int = 1
    energy_axis: str = "density"
    anchor: bool = True
    anchor_order: int = 5
    anchor_cutoff: float = 5.4
    anchor_smoothness: int = 1
    anchor_products: int = 0
    anchor_force_scale: float | None = None
    anchor_hidden: tuple[int, ...] = ()
    potential: bool = True
    potential_order: int | None = None
    potential_cutoff: float | None = None
    potential_volume: int = 0
    potential_forces: bool = False
    allow_closure_error: bool = False
    seed: int = 0
    dtype: str = "float32"
    precision: str = "float32"

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            check_choice(name, getattr(self, name), known)
        object.__setattr__(self, "hidden", _sizes("hidden", self.hidden))
        anchor_hidden = _sizes("anchor_hidden", self.anchor_hidden) if self.anchor_hidden else ()
        object.__setattr__(self, "anchor_hidden", anchor_hidden)
        for name in _COUNTS:
            _check_integer(name, getattr(self, name), 1)
        _check_integer("seed", self.seed, 0)
        _check_integer("anchor_products", self.anchor_products, 0)
        _check_integer("potential_volume", self.potential_volume, 0)
        if self.potential_volume > HIGHEST_DEGREE:
            raise InputError(f"potential_volume: got {self.potential_volume}, expected at most {HIGHEST_DEGREE}")
        if self.anchor_products > self.anchor_order:
            raise InputError(
                f"anchor_products: got {self.anchor_products}, expected at most {self.anchor_order}, the anchor_order"
            )
        for name in ("smoothness", "anchor_smoothness"):
            _check_integer(name, getattr(self, name), 1)
            if getattr(self, name) > HIGHEST_SMOOTHNESS:
                raise InputError(f"{name}: got {getattr(self, name)}, expected at most {HIGHEST_SMOOTHNESS}")
        if self.patience is not None:
            _check_integer("patience", self.patience, 1)
        if self.potential_order is not None:
            _check_integer("potential_order", self.potential_order, 1)
        for name in ("potential_cutoff", "anchor_force_scale"):
            if getattr(self, name) is not None:
                _check_number(name, getattr(self, name), "a finite value above 0", lambda x: x > 0)
        for name in ("anchor", "potential", "potential_forces", "allow_closure_error"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"{name}: got {getattr(self, name)!r}, expected true or false")
        for name in ("cutoff", "learning_rate", "anchor_cutoff"):
            _check_number(name, getattr(self, name), "a finite value above 0", lambda x: x > 0)
        for name in (
            "descriptor_floor",
            "weight_decay",
            "density_weight",
            "grand_potential_weight",
            "dos_weight",
            "ridge",
        ):
            _check_number(name, getattr(self, name), "a finite value of at least 0", lambda x: x >= 0)
        for name in ("validation_fraction", "warm_up", "averaging"):
            _check_number(name, getattr(self, name), "at least 0 and below 1", lambda x: 0 <= x < 1)
        _check_number("plateau_factor", self.plateau_factor, "above 0 and below 1", lambda x: 0 < x < 1)
        if self.gradient_clip is not None:
            _check_number("gradient_clip", self.gradient_clip, "a finite value above 0", lambda x: x > 0)
        if self.precision == "bfloat16" and self.dtype != "float32":
            raise InputError(
                f"precision: got bfloat16 with weights in {self.dtype}, expected float32 for at least one of them"
            )
        if self.element_weights is not None:
            if not isinstance(self.element_weights, Mapping) or not self.element_weights:
                raise InputError(
                    f"element_weights: got {self.element_weights!r}, expected a table such as {{Al = 1.0}}"
                )
            for symbol, weight in self.element_weights.items():
                if symbol not in atomic_numbers:
                    raise InputError(f"element_weights: got {symbol!r}, expected chemical symbols such as Al")
                _check_number(f"element_weights.{symbol}", weight, "a finite number", math.isfinite)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Returns a configuration from plain values; missing keys have their default values.

        Raises:
            InputError: for an unknown key, with a list of the known keys, or an invalid value.
        """
        check_keys(values, [field.name for field in fields(cls)], "training configuration")
        return cls(**values)

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str]) -> Self:
        """Returns the configuration from a TOML file, whose keys are the attributes.

        Raises:
            InputError: if the file is missing or not TOML, or has an unknown key or an invalid value.
        """
        values = read_toml(path, [field.name for field in fields(cls)])
        try:
            return cls.from_dict(values)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return asdict(self) | {"hidden": list(self.hidden)}

    def make_descriptor(self, elements: Sequence[str]) -> Descriptor:
        """Returns the descriptor for these elements.

        Raises:
            InputError: if ``element_weights`` lacks one of them.
        """
        weights = self._weights(elements)
        if self.descriptor == "bispectrum":
            return Bispectrum(twojmax=self.twojmax, cutoff=self.cutoff, weights=weights)
        return PowerSpectrum(self.order, self.cutoff, weights, smoothness=self.smoothness)

    def make_anchor_descriptor(self, elements: Sequence[str]) -> PowerSpectrum:
        """Returns the descriptor of the regular model for these elements, without products.

        Raises:
            InputError: if ``element_weights`` lacks one of them.
        """
        weights = self._weights(elements)
        return PowerSpectrum(self.anchor_order, self.anchor_cutoff, weights, smoothness=self.anchor_smoothness)

    def make_potential_descriptor(self, structures: Sequence[Atoms]) -> PowerSpectrum | WithVolume | None:
        """Returns the descriptor of the change of F with tau_e; None for the descriptor of the regular model.

        Args:
            structures: training structures.

        Raises:
            InputError: if ``element_weights`` lacks one of the elements.
        """
        if self.potential_order is None and self.potential_cutoff is None and not self.potential_volume:
            return None
        order, cutoff = self.potential_order or self.anchor_order, self.potential_cutoff or self.anchor_cutoff
        elements = sorted({symbol for atoms in structures for symbol in atoms.symbols})
        spectrum = PowerSpectrum(order, cutoff, self._weights(elements), smoothness=self.anchor_smoothness)
        return WithVolume.of(spectrum, self.potential_volume, structures) if self.potential_volume else spectrum

    def _weights(self, elements: Sequence[str]) -> dict[str, float]:
        highest = max(atomic_numbers[symbol] for symbol in elements)
        weights = dict(self.element_weights or {s: atomic_numbers[s] / highest for s in elements})
        missing = sorted(set(elements) - set(weights))
        if missing:
            raise InputError(
                f"element_weights: got no weight for {', '.join(missing)}; give a weight for every element of the data"
            )
        return weights


def _sizes(name: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise InputError(f"{name}: got {value!r}, expected a list of layer sizes such as [256, 256]")
    for size in value:
        _check_integer(name, size, 1)
    return tuple(value)


def _check_integer(name: str, value: Any, lowest: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
        raise InputError(f"{name}: got {value!r}, expected an integer of at least {lowest}")


def _check_number(name: str, value: Any, expected: str, holds: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and holds(value)):
        raise InputError(f"{name}: got {value!r}, expected {expected}")
