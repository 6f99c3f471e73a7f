"""Descriptors of the surroundings of points in space."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fermisea.descriptors.base import Descriptor
from fermisea.descriptors.bispectrum import Bispectrum
from fermisea.descriptors.evaluator import Evaluator, Gradients
from fermisea.descriptors.power_spectrum import PowerSpectrum
from fermisea.descriptors.products import Products
from fermisea.descriptors.volume import WithVolume
from fermisea.errors import InputError

__all__ = ["Bispectrum", "Descriptor", "Evaluator", "Gradients", "PowerSpectrum", "Products", "WithVolume", "from_dict"]

_KINDS: dict[str, Callable[..., Descriptor]] = {
    Bispectrum.kind: Bispectrum,
    PowerSpectrum.kind: PowerSpectrum,
    Products.kind: Products.from_plain,
    WithVolume.kind: WithVolume.from_plain,
}


def from_dict(definition: Mapping[str, Any]) -> Descriptor:
    """Returns the descriptor from the result of ``Descriptor.to_dict``.

    Raises:
        InputError: for an unknown kind, or values that do not belong to this kind.
    """
    values = dict(definition)
    kind = values.pop("kind", None)
    if not isinstance(kind, str) or kind not in _KINDS:
        raise InputError(f"descriptor: got kind {kind!r}, expected one of {', '.join(sorted(_KINDS))}")
    try:
        return _KINDS[kind](**values)
    except TypeError as error:
        raise InputError(f"descriptor {kind}: {error}") from error
