"""Export of interatomic potentials to LAMMPS: SNAP files for ``pair_style snap``, one potential for each tau_e."""

from fermisea.interop.lammps.export import LammpsExport, export_lammps

__all__ = ["LammpsExport", "export_lammps"]
