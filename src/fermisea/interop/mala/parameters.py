"""MALA's ``.params.json``: descriptor, network and energy grid of a model."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fermisea.descriptors import Bispectrum
from fermisea.errors import FileFormatError, InputError
from fermisea.interop.mala.calculation import parse_json
from fermisea.interop.mala.split import JoinedGrid, Part, join

LayerActivations = Literal["auto", "legacy", "current"]

READINGS = ("auto", "legacy", "current")
"""Meanings of ``layer_activations``."""

ACTIVATIONS: Mapping[str, str] = {
    "ReLU": "relu",
    "LeakyReLU": "leaky_relu",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "SiLU": "silu",
    "GELU": "gelu",
    "Identity": "identity",
}
"""Names of activations in torch and in this package."""

RESTRICTIONS: Mapping[str | None, str | None] = {
    "zero_out_negative": "relu",
    "absolute_values": "abs",
    None: None,
}
"""MALA's treatments of negative values, as functions."""

_RFAC0, _RMIN0 = 0.99363, 0.0
"""Values in MALA's LAMMPS input, which are not stored in a model."""


@dataclass(frozen=True, eq=False)
class Parameters:
    """Parameters of a model.

    Attributes:
        name: name of the file.
        descriptors: section of the descriptor.
        layer_sizes: layer sizes of the network, including inputs and outputs.
        energies: energies of the LDOS.
        restriction: function applied to the output of the network, None if there is none.
        layer_activations: entry of this name in the file.
        includes_output: whether a single activation for all layers also follows the last layer; None in files of older
            versions of MALA without this choice.
    """

    name: str
    descriptors: Mapping[str, Any]
    layer_sizes: tuple[int, ...]
    energies: JoinedGrid
    restriction: str | None
    layer_activations: str | Sequence[str | None]
    includes_output: bool | None

    def descriptor(self, symbols: Sequence[str]) -> Bispectrum:
        """Returns the descriptor for a model of these elements.

        Raises:
            InputError: for an unsupported descriptor.
        """
        section = self.descriptors
        switch = section.get("bispectrum_switchflag", 1)
        if switch not in (1, True):
            raise InputError(
                f"{self.name}: got bispectrum_switchflag {switch}, expected 1; a bispectrum without switching function "
                "jumps when atoms cross the cutoff and is not supported"
            )
        if section.get("custom_lammps_compute_file"):
            warnings.warn(
                f"{self.name}: got a custom LAMMPS input, {section['custom_lammps_compute_file']!r}; assuming "
                f"the input of MALA (rfac0 {_RFAC0}, rmin0 {_RMIN0:g}, bzeroflag 0, quadraticflag 0)",
                stacklevel=4,
            )
        elements = sorted(set(symbols))
        try:
            weights = _weights(section.get("bispectrum_element_weights"), elements)
            return Bispectrum(
                twojmax=section["bispectrum_twojmax"],
                cutoff=section["bispectrum_cutoff"],
                weights=weights,
                rfac0=_RFAC0,
                rmin0=_RMIN0,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise FileFormatError(
                f"{self.name}: the descriptor cannot be created ({error}); expected a bispectrum"
            ) from error

    def activations(self, reading: Literal["legacy", "current"]) -> tuple[str | None, ...]:
        """Returns the function after each linear layer, including the last one; None for no function.

        Args:
            reading: meaning of the entry. "legacy" (before MALA 1.3.1): a list of one entry applies to all layers,
                including the last one. "current": a list applies layer by layer, and a single name applies to all
                layers, including the last one if ``layer_activations_include_output_layer`` is true.

        Raises:
            InputError: for an unsupported activation.
        """
        layers = len(self.layer_sizes) - 1
        given = self.layer_activations
        if reading == "legacy" and not isinstance(given, str) and len(given) == 1 and given[0] is not None:
            given = given[0]
        if isinstance(given, str):
            names: list[str | None] = [given] * layers
        else:
            names = [*given[:layers], *[None] * (layers - len(given))]
        if reading == "current" and self.includes_output is False:
            names[-1] = None
        unknown = [name for name in names if name is not None and name not in ACTIVATIONS]
        if unknown:
            raise InputError(
                f"{self.name}: got the activation {unknown[0]!r}, expected one of {', '.join(ACTIVATIONS)}"
            )
        return tuple(None if name is None else ACTIVATIONS[name] for name in names)


def parse_parameters(content: bytes, name: str) -> Parameters:
    """Returns the parameters from the bytes of a ``.params.json``.

    Raises:
        FileFormatError: for a file that is truncated or of another kind.
        InputError: for an unsupported target, network or descriptor.
    """
    data = parse_json(content, name)
    try:
        descriptors, network, targets = data["descriptors"], data["network"], data["targets"]
        _check_kind("descriptor_type", descriptors["descriptor_type"], "Bispectrum", name)
        _check_kind("target_type", targets["target_type"], "LDOS", name)
        _check_kind("nn_type", network["nn_type"], "feed-forward", name)
        restriction = targets.get("restrict_targets")
        includes = network.get("layer_activations_include_output_layer")
        given = network["layer_activations"]
        return Parameters(
            name=name,
            descriptors=dict(descriptors),
            layer_sizes=tuple(int(size) for size in network["layer_sizes"]),
            energies=_energies(targets),
            restriction=RESTRICTIONS.get(restriction),
            layer_activations=given if isinstance(given, str) else list(given),
            includes_output=includes if isinstance(includes, bool) else None,
        )
    except InputError:
        raise
    except KeyError as error:
        raise FileFormatError(f"{name}: the entry {error} is missing, expected a .params.json of MALA") from error
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        detail = " ".join(str(error).split())[:100]
        raise FileFormatError(
            f"{name}: an entry has the wrong form ({detail}), expected a .params.json of MALA"
        ) from error


def _check_kind(what: str, got: object, expected: str, name: str) -> None:
    if got != expected:
        raise InputError(f"{name}: {what} is {got!r}, expected {expected!r}; other models are not supported")


def _energies(targets: Mapping[str, Any]) -> JoinedGrid:
    entries = [targets[f"ldos_grid{what}"] for what in ("offset_ev", "spacing_ev", "size")]
    lists = [entry if isinstance(entry, list) else [entry] for entry in entries]
    parts = [Part(float(start), float(step), int(size)) for start, step, size in zip(*lists, strict=True)]
    return join(parts)


def _weights(given: Sequence[float] | None, elements: Sequence[str]) -> dict[str, float]:
    """Returns the weight of each element; MALA lists weights in alphabetical order, and the largest is 1."""
    if given is None or len(elements) == 1:
        return dict.fromkeys(elements, 1.0)
    if len(given) != len(elements):
        raise ValueError(f"{len(given)} weights for the elements {', '.join(elements)}")
    return {element: float(weight) / max(given) for element, weight in zip(elements, given, strict=True)}
