"""Export of interatomic potentials to LAMMPS: SNAP files for ``pair_style snap``, one potential for each tau_e."""
