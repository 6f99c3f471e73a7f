"""Engine for Quantum ESPRESSO's pw.x."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from ase import Atoms

from fermisea.data.snapshot import Snapshot
from fermisea.engines.cores import warn_of_overlap
from fermisea.engines.cutoff import default_cutoff
from fermisea.engines.espresso.assembly import assemble, wavefunction_ldos, window
from fermisea.engines.espresso.cubes import cube_ldos
from fermisea.engines.espresso.keywords import nested
from fermisea.engines.espresso.launch import check_command, other_program
from fermisea.engines.espresso.potentials import Potentials, load_potentials
from fermisea.engines.espresso.runs import PwRuns, scratch_folder
from fermisea.engines.ldos import LdosOptions
from fermisea.engines.ldos_memory import DEFAULT_MEMORY, check_array
from fermisea.engines.mesh import mesh_of, mesh_settings
from fermisea.engines.resampling import check_coarser
from fermisea.engines.scf_step import ScfStep
from fermisea.engines.spin import warn_of_moments
from fermisea.errors import InputError
from fermisea.grid import check_structure
from fermisea.physics.window import warn_of_unit
from fermisea.physics.xc import GROUND_STATE, functional
from fermisea.pseudopotentials.frozen import warn_of_ionised_cores


@dataclass(frozen=True)
class Espresso:
    """Finite-temperature DFT with pw.x, without spin and symmetry.

    Attributes:
        pseudopotentials: a UPF file for each element. With ultrasoft and PAW files the LDOS comes from pp.x, and it
            gives no total free energy.
        cutoff: plane-wave cutoff (ecutwfc), eV; None for 270 eV, with a warning.
        kpts: k-mesh; None for the smallest mesh with a spacing of at most 0.2/Angstrom.
        shift: shift of the k-mesh, 0 or 1 along each axis; 1 shifts the mesh by half a step. None shifts the default
            mesh along all axes, and no other one.
        xc: exchange-correlation functional; None for the functional of the pseudopotential files.
        command: command that starts pw.x, with its launcher and options, for example "mpirun -n 4 pw.x -nk 2" or
            "srun pw.x".
        pp_command: command that starts pp.x; None for ``command`` with pw.x replaced by pp.x.
        input_data: additional keywords of pw.x, with or without their namelists, in the form used by ASE.
        ldos: energies, broadening and grid of the LDOS.
        tolerance: tolerance of the SCF cycle, eV per atom: conv_thr divided by the number of atoms. The error of the
            free energy of the LDOS is about its square root: 0.026 meV/atom at 1e-11 in beryllium, 0.005 at 1e-13.
        folder: parent folder of the scratch folders, which are removed after successful runs; None for the temporary
            folder of the system.
        threads: number of threads for the LDOS; None for the number of torch, or fewer if the memory requires it.
        memory: memory for the LDOS and the bands that are read for it, bytes; it must hold at least the LDOS.
        report: callback after each SCF iteration.
    """

    pseudopotentials: Mapping[str, str | Path]
    cutoff: float | None = None
    kpts: tuple[int, int, int] | None = None
    shift: tuple[int, int, int] | None = None
    xc: str | None = None
    command: str = "pw.x"
    pp_command: str | None = None
    input_data: Mapping[str, Any] = field(default_factory=dict)
    ldos: LdosOptions = field(default_factory=LdosOptions)
    tolerance: float = 1e-12
    folder: str | Path | None = None
    threads: int | None = None
    memory: float = DEFAULT_MEMORY
    report: Callable[[ScfStep], None] | None = None

    def __post_init__(self) -> None:
        if self.xc is not None and functional(self.xc).is_thermal:
            raise InputError(
                f"xc: got {self.xc!r}, a functional of the electronic temperature, which pw.x does not have, expected "
                f"one of {', '.join(GROUND_STATE)}; engines.PlaneWave (--engine planewave) has it"
            )
        if not isinstance(self.pseudopotentials, Mapping):
            raise InputError(
                f"pseudopotentials: got {self.pseudopotentials!r}, expected a UPF file for each element; give "
                "{'Al': 'Al.upf'}, on the command line --pseudopotentials Al=Al.upf"
            )
        for name, unit in (("cutoff", "eV"), ("tolerance", "eV"), ("memory", "bytes")):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InputError(f"{name}: got {value} {unit}, expected a finite value above 0")
        for name, lowest in (("kpts", 1), ("shift", 0)):
            values = getattr(self, name)
            if values is None:
                continue
            if len(values) != 3 or min(values) < lowest or (name == "shift" and max(values) > 1):
                raise InputError(f"{name}: got {values}, expected three integers of at least {lowest}")
        nested(self.input_data)

    def run(self, atoms: Atoms, electron_temperature: float) -> Snapshot:
        """Returns the converged snapshot: LDOS, density, free energy and its parts, forces, stress.

        This takes two runs of pw.x: the SCF cycle with bands for tau_e, then the bands that fill the energy window.

        Args:
            atoms: a periodic structure, Angstrom.
            electron_temperature: tau_e, K.

        Raises:
            InputError: for an invalid structure, element or setting.
            EngineError: if pw.x cannot be started or fails.
            ConvergenceError: if the SCF cycle does not converge.
        """
        warn_of_unit(electron_temperature)
        check_structure(atoms, "structure")
        check_command(self.command)
        potentials = self._load(atoms.symbols)
        warn_of_moments(atoms)
        warn_of_overlap(atoms, potentials.core_radii)
        warn_of_ionised_cores({symbol: ion.valence for symbol, ion in potentials.ions.items()}, electron_temperature)
        cutoff = self._cutoff(potentials)
        kpts, shift = mesh_of(self.kpts, self.shift, atoms.cell.array)
        beside = (self.pp_command or other_program(self.command, "pp.x")) if potentials.obstacle else None
        if beside is not None:
            check_command(beside)
        ion_temperature = atoms.info.get("ion_temperature")
        options = self.ldos.covering(electron_temperature)
        with scratch_folder(self.folder) as folder:
            runs = PwRuns(
                folder=folder,
                atoms=atoms,
                electron_temperature=electron_temperature,
                potentials=potentials,
                command=self.command,
                cutoff=cutoff,
                kpts=kpts,
                shift=shift,
                xc=self.xc,
                tolerance=self.tolerance,
                extra=nested(self.input_data),
                ldos=options,
                report=self.report,
            )
            scf, density = runs.scf()
            energies, shape = window(options, scf), options.grid or scf.shape
            check_coarser(shape, scf.shape)  # before the longer run
            check_array(math.prod(shape), energies.size, self.memory)
            bands = runs.fill(scf)
            if beside is None:
                ldos = wavefunction_ldos(bands, runs.save, options, energies, self.threads, self.memory)
            else:
                ldos = cube_ldos(folder, beside, energies, options.broadening, shape)
            return assemble(
                scf,
                density,
                ldos,
                energies=energies,
                potentials=potentials,
                electron_temperature=float(electron_temperature),
                ion_temperature=None if ion_temperature is None else float(ion_temperature),
                provenance=self._settings(potentials, cutoff)
                | {"kpts": list(kpts), "version": scf.version}
                | {"grid": list(scf.shape), "scf_iterations": scf.iterations},
            )

    def provenance(self, symbols: Iterable[str]) -> dict[str, Any]:
        """Returns the settings for the provenance of a snapshot with these elements.

        Raises:
            InputError: if a pseudopotential is missing or of the wrong kind.
            EngineError: if the command cannot be started.
        """
        check_command(self.command)
        potentials = self._load(symbols)
        return self._settings(potentials, self._cutoff(potentials))

    def for_elements(self, symbols: Iterable[str]) -> Self:
        """Returns the engine with the cutoff for all of these elements, so that it does not depend on the structure."""
        return self if self.cutoff is not None else replace(self, cutoff=self._cutoff(self._load(symbols)))

    def _cutoff(self, potentials: Potentials) -> float:
        if self.cutoff is not None:
            return self.cutoff
        return default_cutoff({path.name: None for path in potentials.files.values()})

    def _settings(self, potentials: Potentials, cutoff: float) -> dict[str, Any]:
        return {
            "engine": "Quantum ESPRESSO",
            "xc": potentials.functional,
            "cutoff_eV": cutoff,
            **mesh_settings(self.kpts, self.shift),
            "scf_tolerance_eV_per_atom": self.tolerance,
            "input_data": nested(self.input_data),
            "pseudopotentials": potentials.provenance,
        }

    def _load(self, symbols: Iterable[str]) -> Potentials:
        return load_potentials(self.pseudopotentials, symbols, self.xc)
