"""Closure of snapshots: F from the LDOS at tau_ref against F of the DFT code."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

from fermisea.data.snapshot import Snapshot
from fermisea.errors import InputError, WindowError

CLOSURE = 1e-3
"""Largest closure error (F from the LDOS minus F of the DFT code) without a warning, eV per atom."""

CLOSURE_LIMIT = 5e-3
"""Largest closure error of a snapshot that is imported or trained on, eV per atom."""


def closure_error_per_atom(snapshot: Snapshot) -> float | None:
    """Returns the closure error, eV per atom; None if LDOS or DFT code give no total free energy.

    Raises:
        WindowError: if tau_ref is above the limit of the energy window.
    """
    if snapshot.total_energy_obstacle is not None or math.isnan(snapshot.reference.free_energy):
        return None
    return snapshot.closure_error() / len(snapshot.atoms)


def check_closure(snapshots: Sequence[Snapshot], names: Sequence[str], *, allow: bool) -> list[float | None]:
    """Returns the closure error of each snapshot, eV per atom; None if there is none, see ``closure_error_per_atom``.

    An error above ``CLOSURE`` gives a warning, and so does an energy window that does not reach tau_ref. The estimated
    error of the electrons above the window at tau_ref is added to both limits.

    Args:
        snapshots: the snapshots.
        names: names of the snapshots, for messages.
        allow: whether an error above ``CLOSURE_LIMIT`` gives a warning too.

    Raises:
        InputError: for an error above ``CLOSURE_LIMIT``.
    """
    errors: list[float | None] = []
    unknown = ""
    for snapshot, name in zip(snapshots, names, strict=True):
        try:
            errors.append(closure_error_per_atom(snapshot))
        except WindowError as error:
            errors.append(None)
            unknown = unknown or f"{name}: F from the LDOS was not compared with F of the DFT code: {error}"
    if unknown:
        warnings.warn(unknown, stacklevel=3)
    tails = [0.0 if error is None else _tail_error(one) for one, error in zip(snapshots, errors, strict=True)]
    wrong = [i for i, error in enumerate(errors) if error is not None and not abs(error) <= CLOSURE + tails[i]]
    if not wrong:
        return errors
    worst = max(wrong, key=lambda i: math.inf if math.isnan(errors[i] or 0.0) else abs(errors[i] or 0.0))
    largest, others = errors[worst] or 0.0, f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
    text = (
        f"{names[worst]}{others}: F from the LDOS differs from F of the DFT code by {1000 * largest:+.2f} meV/atom at "
        f"tau_ref = {snapshots[worst].electron_temperature:g} K, expected at most"
    )
    if not abs(largest) <= CLOSURE_LIMIT + tails[worst] and not allow:
        most = 1000 * (CLOSURE_LIMIT + tails[worst])
        raise InputError(
            f"{text} {most:.3g}; check that LDOS and energy come from one run, refine k-mesh, broadening and energy "
            "grid, or accept the error (allow_closure_error=True, --allow-closure-error)"
        )
    least = 1000 * (CLOSURE + tails[worst])
    warnings.warn(f"{text} {least:.3g}; refine k-mesh, broadening and energy grid", stacklevel=3)
    return errors


def _tail_error(snapshot: Snapshot) -> float:
    """Returns the estimated error of F from the electrons above the energy window at tau_ref, eV per atom."""
    dos, tau_ref = snapshot.density_of_states, snapshot.electron_temperature
    return dos.tail_error(dos.fermi_level(snapshot.electrons, tau_ref), tau_ref) / len(snapshot.atoms)
