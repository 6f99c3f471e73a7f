"""Quantum ESPRESSO's pw.x as an engine: settings in, a snapshot out."""

from __future__ import annotations

import math
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ase import Atoms

from fermisea import units
from fermisea.energies import functional
from fermisea.engines.espresso.assembly import assemble, missing_top, wavefunction_ldos, window
from fermisea.engines.espresso.cubes import cube_ldos
from fermisea.engines.espresso.fields import density_file
from fermisea.engines.espresso.inputs import PREFIX, nested, pw_input
from fermisea.engines.espresso.launch import check_command, other_program, run_pw
from fermisea.engines.espresso.output import PwOutput, read_output
from fermisea.engines.espresso.potentials import Potentials, load_potentials
from fermisea.engines.ldos import REACH, LdosOptions, free_electron_bands
from fermisea.engines.scf_step import ScfStep
from fermisea.errors import EngineError, InputError
from fermisea.fermi_dirac import occupation
from fermisea.files import check_writable_folder
from fermisea.grid import RealSpaceGrid
from fermisea.snapshot import Snapshot
from fermisea.structures import check_structure

EMPTY = 1e-6
"""Highest occupation (0 to 1) that the top band may have."""

_STALLED = re.compile(r"Error in routine\s+(?:c_bands|.?diaghg|[rc]egterg)")
"""What pw.x says when its eigensolver stalls: often where the last bands cut through a group of nearly equal ones."""

_SOLVERS = ((1.0, "david"), (1.04, "david"), (1.08, "cg"))
"""Factors of the number of bands and eigensolvers, tried one after the other."""


@dataclass(frozen=True)
class Espresso:
    """Finite-temperature DFT by pw.x, without spin and without symmetry.

    Attributes:
        pseudopotentials: a UPF file for each element. With ultrasoft and PAW files the LDOS comes from pp.x, and there
            is no total free energy from it.
        cutoff: highest kinetic energy of a plane wave (ecutwfc), eV.
        kpts: k-mesh.
        shift: 0 or 1 along each axis; 1 moves the mesh by half a step.
        xc: functional; None for that of the files.
        command: that starts pw.x, with its launcher and options: "mpirun -n 4 pw.x -nk 2", "srun pw.x".
        pp_command: that starts pp.x; None for ``command`` with pp.x in the place of pw.x.
        input_data: further keywords of pw.x, with or without their namelists, as ASE takes them.
        ldos: energies, broadening and points of the LDOS.
        tolerance: of the SCF cycle, eV per atom; conv_thr over the number of atoms. The free energy of the LDOS is off
            by about the root of it: 0.026 meV/atom at 1e-11 in beryllium, 0.005 at 1e-13.
        folder: where runs get a folder each, which goes away when they end well; None for the system's.
        threads: for the LDOS; None for torch's number.
        report: called after each SCF iteration.
    """

    pseudopotentials: Mapping[str, str | Path]
    cutoff: float = 270.0
    kpts: tuple[int, int, int] = (1, 1, 1)
    shift: tuple[int, int, int] = (0, 0, 0)
    xc: str | None = None
    command: str = "pw.x"
    pp_command: str | None = None
    input_data: Mapping[str, Any] = field(default_factory=dict)
    ldos: LdosOptions = field(default_factory=LdosOptions)
    tolerance: float = 1e-12
    folder: str | Path | None = None
    threads: int | None = None
    report: Callable[[ScfStep], None] | None = None

    def __post_init__(self) -> None:
        if self.xc is not None:
            functional(self.xc)
        if not isinstance(self.pseudopotentials, Mapping):
            raise InputError(
                f"pseudopotentials: got {self.pseudopotentials!r}, expected a UPF file for each element such as "
                "{'Al': 'Al.upf'}"
            )
        for name in ("cutoff", "tolerance"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"{name}: got {value} eV, expected a finite value above 0")
        for name, lowest in (("kpts", 1), ("shift", 0)):
            values = getattr(self, name)
            if len(values) != 3 or min(values) < lowest or (name == "shift" and max(values) > 1):
                raise InputError(f"{name}: got {values}, expected three integers of at least {lowest}")
        nested(self.input_data)

    def run(self, atoms: Atoms, electron_temperature: float) -> Snapshot:
        """Returns the converged snapshot: LDOS, density, free energy and its parts, forces, stress.

        Two runs of pw.x: the SCF cycle with bands for tau_e, then the bands that fill the energy window.

        Args:
            atoms: a periodic structure, Angstrom.
            electron_temperature: tau_e, K.

        Raises:
            InputError: for a structure, element or setting that cannot be computed.
            EngineError: if pw.x cannot be started or fails.
            ConvergenceError: if the SCF cycle fails.
        """
        units.thermal_energy(electron_temperature)
        check_structure(atoms, "structure")
        check_command(self.command)
        potentials = self._load(atoms.symbols)
        electrons = float(sum(potentials.ions[symbol].valence for symbol in atoms.symbols))
        beside = (self.pp_command or other_program(self.command, "pp.x")) if potentials.obstacle else None
        if beside is not None:
            check_command(beside)
        if self.folder is not None:
            check_writable_folder(self.folder)
        try:
            folder = Path(tempfile.mkdtemp(prefix="fermisea-pw-", dir=self.folder))
        except OSError as error:
            raise EngineError(f"folder for pw.x: cannot be made ({error.strerror}); give another one") from error
        try:
            snapshot = self._snapshot(atoms, electron_temperature, electrons, folder, potentials, beside)
        except KeyboardInterrupt:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)
        return snapshot

    def _snapshot(
        self,
        atoms: Atoms,
        electron_temperature: float,
        electrons: float,
        folder: Path,
        potentials: Potentials,
        beside: str | None,
    ) -> Snapshot:
        names = {symbol: f"{symbol}.upf" for symbol in potentials.files}
        for symbol, name in names.items():
            shutil.copyfile(potentials.files[symbol], folder / name)
        scf = self._scf(atoms, electron_temperature, electrons, folder, names)
        density = density_file(folder / f"{PREFIX}.save")
        if density is None:
            raise EngineError(f"pw.x: wrote no density in {folder}; check the launcher and the disk")
        density = density.rename(folder / density.name)  # the next run may touch it
        shutil.copyfile(density, folder / f"{PREFIX}.save" / density.name)
        energies = window(self.ldos, scf)
        bands = self._fill(atoms, electron_temperature, electrons, folder, names, scf)
        if beside is None:
            ldos = wavefunction_ldos(bands, folder / f"{PREFIX}.save", self.ldos, energies, self.threads)
        else:
            ldos = cube_ldos(folder, beside, energies, self.ldos.broadening, self.ldos.grid or scf.shape)
        ion_temperature = atoms.info.get("ion_temperature")
        return assemble(
            scf,
            density,
            ldos,
            energies=energies,
            potentials=potentials,
            electron_temperature=float(electron_temperature),
            ion_temperature=None if ion_temperature is None else float(ion_temperature),
            provenance=self._settings(potentials)
            | {"version": scf.version, "grid": list(scf.shape), "scf_iterations": scf.iterations},
        )

    def provenance(self, symbols: Iterable[str]) -> dict[str, Any]:
        """Returns the settings as they stand in the provenance of a snapshot of these elements.

        Raises:
            InputError: if a pseudopotential is missing or of the wrong kind.
            EngineError: if the command cannot be started.
        """
        check_command(self.command)
        return self._settings(self._load(symbols))

    def _settings(self, potentials: Potentials) -> dict[str, Any]:
        return {
            "engine": "Quantum ESPRESSO",
            "xc": potentials.functional,
            "cutoff_eV": self.cutoff,
            "kpts": list(self.kpts),
            "shift": list(self.shift),
            "scf_tolerance_eV_per_atom": self.tolerance,
            "input_data": nested(self.input_data),
            "pseudopotentials": potentials.provenance,
        }

    def _load(self, symbols: Iterable[str]) -> Potentials:
        return load_potentials(self.pseudopotentials, symbols, self.xc)

    def _input(
        self,
        atoms: Atoms,
        electron_temperature: float,
        names: Mapping[str, str],
        kind: str,
        bands: int,
        solver: str,
    ) -> str:
        return pw_input(
            atoms,
            calculation=kind,
            bands=bands,
            cutoff=self.cutoff,
            electron_temperature=electron_temperature,
            tolerance=self.tolerance,
            kpts=self.kpts,
            shift=self.shift,
            pseudopotentials=names,
            input_dft=None if self.xc is None else self.xc.upper().replace("LDA", "PW"),
            extra=nested(self.input_data),
            solver=solver,
        )

    def _run(
        self,
        atoms: Atoms,
        electron_temperature: float,
        folder: Path,
        names: Mapping[str, str],
        kind: str,
        bands: int,
    ) -> PwOutput:
        """Returns a run with at least so many bands; with some more if the eigensolver stalls."""
        report = self.report if kind == "scf" else None
        for attempt, (more, solver) in enumerate(_SOLVERS):
            text = self._input(atoms, electron_temperature, names, kind, math.ceil(more * bands) + attempt, solver)
            (folder / f"{kind}.in").write_text(text, encoding="utf-8")
            try:
                run_pw(self.command, folder, kind, len(atoms), report)
            except EngineError as error:
                if not _STALLED.search(str(error)) or solver == _SOLVERS[-1][1]:
                    raise
            else:
                break
        return read_output(folder / f"{PREFIX}.save" / "data-file-schema.xml")

    def _scf(
        self, atoms: Atoms, electron_temperature: float, electrons: float, folder: Path, names: Mapping[str, str]
    ) -> PwOutput:
        kt, volume = units.thermal_energy(electron_temperature), RealSpaceGrid(atoms.cell.array, (1, 1, 1)).volume
        bands = math.ceil(max(free_electron_bands(electrons, volume, 18 * kt), 0.6 * electrons, electrons / 2 + 4))
        while True:
            output = self._run(atoms, electron_temperature, folder, names, "scf", bands)
            top = float(output.eigenvalues[:, -1].min())
            if float(occupation(top, output.reference.fermi_level, electron_temperature)) < EMPTY:
                return output
            bands = math.ceil(1.2 * output.eigenvalues.shape[1]) + 1

    def _fill(
        self,
        atoms: Atoms,
        electron_temperature: float,
        electrons: float,
        folder: Path,
        names: Mapping[str, str],
        scf: PwOutput,
    ) -> PwOutput:
        """Returns a run in the potential of the converged density, whose bands fill the energy window.

        Those of the SCF run would not do: they belong to the density before the last one.
        """
        energies = window(self.ldos, scf)
        above = energies.stop + REACH * self.ldos.broadening - scf.reference.fermi_level
        volume = RealSpaceGrid(atoms.cell.array, (1, 1, 1)).volume
        bands = math.ceil(free_electron_bands(electrons, volume, max(above, 0.0))) + 2
        for _ in range(8):
            bands = max(bands, scf.eigenvalues.shape[1])
            if bands > scf.waves:
                break
            output = self._run(atoms, electron_temperature, folder, names, "nscf", bands)
            if missing_top(self.ldos, energies, output) == 0:
                return output
            bands = math.ceil(1.08 * output.eigenvalues.shape[1]) + 1
        raise InputError(
            f"energy window: {bands} bands do not fill it up to {energies.stop:.1f} eV; raise the cutoff "
            f"({self.cutoff} eV) or lower `highest_electron_temperature`"
        )
