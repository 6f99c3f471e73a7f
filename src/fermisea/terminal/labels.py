"""Labels with units of the entries printed by commands; the keys are the same as with ``--json``."""

from __future__ import annotations

from fermisea.physics.error_measures import ERROR_MEASURES
from fermisea.physics.registry import with_unit

_UNITS = {
    "broadening": ("broadening_eV", "eV"),
    "cutoff": ("cutoff_eV", "eV"),
    "electron temperature": ("electron_temperature", "K"),
    "electron temperatures": ("electron_temperatures", "K"),
    "energies": ("energies_eV", "eV"),
    "energy parts": ("energy_parts_eV", "eV"),
    "entropy term": ("entropy_term_eV", "eV"),
    "entropy term of xc": ("xc_entropy_term_eV", "eV"),
    "Fermi level": ("fermi_level_eV", "eV"),
    "Fermi level of the LDOS": ("fermi_level_of_ldos_eV", "eV"),
    "free energy": ("free_energy_eV", "eV"),
    "grid spacing": ("grid_spacing_A", "Å"),
    "highest electron temperature": ("highest_electron_temperature", "K"),
    "ion temperature": ("ion_temperature", "K"),
    "largest force": ("largest_force_eV_per_A", "eV/Å"),
    "largest cross-validation error of F(tau_e) - F(tau_ref)": ("left_out_error_per_atom_eV", "eV/atom"),
    "cross-validation force error": ("left_out_force_error_eV_per_A", "eV/Å"),
    "cross-validation free energy error": ("left_out_free_energy_error_per_atom_eV", "eV/atom"),
    "Pulay virial": ("pulay_virial_per_atom_eV", "eV/atom"),
    "reference electron temperature": ("reference_electron_temperature", "K"),
    "regular model (anchor)": ("regular_part", "1"),
    "SCF tolerance": ("scf_tolerance_eV_per_atom", "eV/atom"),
    "volume": ("volume_A3", "Å³"),
}

LABELS = {key: with_unit(title, unit) for title, (key, unit) in _UNITS.items()} | {
    name: with_unit(f"{measure.symbol} error", measure.unit) for name, measure in ERROR_MEASURES.items()
}
"""Label of each key; other keys are printed with spaces in place of underscores."""
