"""Thermal states and free energies from a density of states and densities; no network, no file."""
