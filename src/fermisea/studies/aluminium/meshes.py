"""The k-meshes of the study: cold electrons in a small cell need a denser one."""

from __future__ import annotations

Mesh = tuple[int, int, int]
"""Number of k-points along each reciprocal lattice vector."""

COLD = 10_000.0
"""Electronic temperature below which a cell that has one takes its denser mesh, K."""


def mesh_at(electron_temperature: float, kpts: Mesh, cold_kpts: Mesh | None) -> Mesh:
    """Returns the k-mesh at one tau_e.

    Args:
        electron_temperature: tau_e, K.
        kpts: k-mesh of hot electrons.
        cold_kpts: k-mesh below ``COLD``; None for the same mesh.
    """
    return cold_kpts if cold_kpts is not None and electron_temperature < COLD else kpts
