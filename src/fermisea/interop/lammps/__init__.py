"""Export of interatomic potentials to LAMMPS: SNAP files for ``pair_style snap``, one potential for each tau_e."""

from fermisea.interop.lammps.export import LammpsExport, export_lammps
from fermisea.interop.lammps.snap import Snap

__all__ = ["LammpsExport", "Snap", "export_lammps"]
