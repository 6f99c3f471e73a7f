"""The precision of matrix products, where a processor has arithmetic for it."""

from __future__ import annotations

import warnings

import torch


def chosen_precision(precision: str, device: torch.device) -> str:
    """Returns ``precision``, or with a warning ``"float32"`` for bfloat16 that the processor could only imitate.

    Without instructions of its own (AVX-512 BF16, AMX, those of ARM) bfloat16 is ten times slower than float32.

    Args:
        precision: ``"float32"`` or ``"bfloat16"``.
        device: that multiplies.
    """
    if precision == "float32" or device.type != "cpu" or _multiplies_bfloat16():
        return precision
    warnings.warn(
        "precision: this processor has no arithmetic for bfloat16 and would be ten times slower with it; float32 is "
        "used instead",
        stacklevel=3,
    )
    return "float32"


def _multiplies_bfloat16() -> bool:
    capabilities = getattr(torch.cpu, "get_capabilities", None)  # older versions of torch do not tell
    if capabilities is None:
        return True
    return any("bf16" in name and present is True for name, present in capabilities().items())
