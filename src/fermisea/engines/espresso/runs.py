"""Runs of pw.x for a snapshot: the SCF cycle, then the bands that fill the energy window."""

from __future__ import annotations

import math
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase import Atoms

from fermisea import units
from fermisea.engines.espresso.assembly import missing_top, window
from fermisea.engines.espresso.fields import density_file
from fermisea.engines.espresso.inputs import PREFIX, pw_input
from fermisea.engines.espresso.launch import run_pw
from fermisea.engines.espresso.output import PwOutput, read_output
from fermisea.engines.espresso.potentials import Potentials
from fermisea.engines.ldos import ChosenLdosOptions, free_electron_bands
from fermisea.engines.scf_step import ScfStep
from fermisea.errors import EngineError, FermiseaError, InputError, StorageError
from fermisea.grid import RealSpaceGrid
from fermisea.physics.fermi_dirac import occupation
from fermisea.physics.window import REACH
from fermisea.pseudopotentials.upf import functional_of
from fermisea.utilities.files import check_writable_folder

EMPTY = 1e-6
"""Largest allowed occupation (0 to 1) of the top band."""

_STALLED = re.compile(r"Error in routine\s+(?:c_bands|.?diaghg|[rc]egterg)")
"""Message of pw.x when its eigensolver stalls, often because the top band belongs to a group of nearly equal ones."""

_TOO_MANY = "more bands than PWs"
"""Message of pw.x when a sphere of plane waves is too small."""

_SOLVERS = ((1.0, "david"), (1.04, "david"), (1.08, "cg"))
"""Factors of the number of bands, with eigensolvers, tried one after the other."""


@contextmanager
def scratch_folder(parent: str | Path | None) -> Iterator[Path]:
    """Yields a new folder, removed at the end; after an error explained by its files it is kept and named by the error.

    Raises:
        StorageError: if the folder cannot be created.
    """
    if parent is not None:
        check_writable_folder(parent)
    try:
        folder = Path(tempfile.mkdtemp(prefix="fermisea-pw-", dir=parent)).resolve()
    except OSError as error:
        raise StorageError(f"folder for pw.x: cannot be created ({error.strerror}); choose another folder") from error
    kept = False
    try:
        yield folder
    except StorageError:
        raise
    except FermiseaError as error:
        kept = True
        if str(folder) not in str(error):
            error.args = (f"{error.args[0]}; the files of the run are in {folder}", *error.args[1:])
        raise
    finally:
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, eq=False)
class PwRuns:
    """pw.x on one structure in one folder.

    Attributes:
        folder: scratch folder.
        atoms: the structure.
        electron_temperature: tau_e, K.
        potentials: pseudopotentials of its elements.
        command: command that starts pw.x.
        cutoff: plane-wave cutoff, eV.
        kpts: k-mesh.
        shift: shift of the k-mesh, 0 or 1 along each axis.
        xc: functional; None for the functional of the files.
        tolerance: tolerance of the SCF cycle, eV per atom.
        extra: additional keywords by namelist.
        ldos: energies of the LDOS.
        report: callback after each SCF iteration.
    """

    folder: Path
    atoms: Atoms
    electron_temperature: float
    potentials: Potentials
    command: str
    cutoff: float
    kpts: tuple[int, int, int]
    shift: tuple[int, int, int]
    xc: str | None
    tolerance: float
    extra: Mapping[str, Mapping[str, Any]]
    ldos: ChosenLdosOptions
    report: Callable[[ScfStep], None] | None = None

    @property
    def save(self) -> Path:
        """Folder of the results of pw.x."""
        return self.folder / f"{PREFIX}.save"

    @property
    def _electrons(self) -> float:
        return math.fsum(self.potentials.ions[symbol].valence for symbol in self.atoms.symbols)

    def scf(self) -> tuple[PwOutput, Path]:
        """Returns the self-consistent run, with bands for tau_e, and the file of its density.

        Raises:
            ConvergenceError: if the SCF cycle does not converge.
            EngineError: if pw.x cannot be started or fails.
            InputError: if pw.x interprets the functional of the files as another one.
        """
        for symbol, path in self.potentials.files.items():
            shutil.copyfile(path, self.folder / f"{symbol}.upf")
        thermal = 18 * units.thermal_energy(self.electron_temperature)
        bands = math.ceil(max(self._free_bands(thermal), 0.6 * self._electrons, self._electrons / 2 + 4))
        while True:
            output = self._run("scf", bands)
            top = float(output.eigenvalues[:, -1].min())
            if float(occupation(top, output.reference.fermi_level, self.electron_temperature)) < EMPTY:
                break
            bands = math.ceil(1.2 * output.eigenvalues.shape[1]) + 1
        if functional_of(output.functional) != self.potentials.functional:
            raise InputError(
                f"functional: pw.x used {output.functional}, expected {self.potentials.functional}; choose one with xc"
            )
        density = density_file(self.save)
        if density is None:
            raise EngineError(f"pw.x: wrote no density in {self.folder}; check the launcher and the disk")
        kept = self.folder / density.name  # the next run may overwrite it
        shutil.copyfile(density, kept)
        return output, kept

    def fill(self, scf: PwOutput) -> PwOutput:
        """Returns a run in the potential of the converged density, with bands that fill the energy window.

        The bands of the SCF run are not sufficient: they belong to the density of the last but one iteration.

        Raises:
            InputError: if the cutoff is too low for the number of bands.
            EngineError: if pw.x fails.
        """
        energies = window(self.ldos, scf)
        above = energies.stop + REACH * self.ldos.broadening - scf.reference.fermi_level
        bands = max(math.ceil(self._free_bands(max(above, 0.0))) + 2, scf.eigenvalues.shape[1])
        for _ in range(8):
            if bands > scf.waves:
                raise self._too_many(bands)
            output = self._run("nscf", bands)
            if missing_top(self.ldos, energies, output) == 0:
                return output
            bands = math.ceil(1.08 * output.eigenvalues.shape[1]) + 1
        raise InputError(
            f"energy window: {bands} bands do not fill it up to {energies.stop:.1f} eV; raise the cutoff "
            f"({self.cutoff} eV) or lower `highest_electron_temperature`"
        )

    def _free_bands(self, energy_above: float) -> float:
        volume = RealSpaceGrid(self.atoms.cell.array, (1, 1, 1)).volume
        return free_electron_bands(self._electrons, volume, energy_above)

    def _run(self, kind: str, bands: int) -> PwOutput:
        """Returns a run with at least ``bands`` bands; with some more if the eigensolver stalls."""
        report = self.report if kind == "scf" else None
        for attempt, (more, solver) in enumerate(_SOLVERS):
            text = pw_input(
                self.atoms,
                calculation=kind,
                bands=math.ceil(more * bands) + attempt,
                cutoff=self.cutoff,
                electron_temperature=self.electron_temperature,
                tolerance=self.tolerance,
                kpts=self.kpts,
                shift=self.shift,
                pseudopotentials={symbol: f"{symbol}.upf" for symbol in self.potentials.files},
                input_dft=None if self.xc is None else self.potentials.functional.upper().replace("LDA", "PW"),
                extra=self.extra,
                solver=solver,
            )
            (self.folder / f"{kind}.in").write_text(text, encoding="utf-8")
            try:
                run_pw(self.command, self.folder, kind, len(self.atoms), report)
            except EngineError as error:
                if _TOO_MANY in str(error):
                    break
                if not _STALLED.search(str(error)) or attempt == len(_SOLVERS) - 1:
                    raise
            else:
                return read_output(self.save / "data-file-schema.xml")
        raise self._too_many(bands)

    def _too_many(self, bands: int) -> InputError:
        return InputError(
            f"bands: {bands} are needed for the electrons or the energy window, but a cutoff of {self.cutoff:g} eV "
            "gives fewer plane waves; raise the cutoff or lower `highest_electron_temperature`"
        )
