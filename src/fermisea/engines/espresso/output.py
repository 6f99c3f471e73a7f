"""Output of a pw.x run from ``data-file-schema.xml``, in eV and Angstrom."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from fermisea import units
from fermisea.data.reference import Reference
from fermisea.engines.espresso.terms import ExtraTerms, xml_terms
from fermisea.errors import FileFormatError
from fermisea.utilities.arrays import FloatArray

_PARTS = {"eband": "band", "ehart": "hartree", "etxc": "xc", "ewald": "ewald", "demet": "entropy_term"}


@dataclass(frozen=True, eq=False)
class PwOutput:
    """One run of pw.x.

    Attributes:
        calculation: "scf", "nscf", "relax" and others.
        charge: charge of the cell, e.
        atoms: the structure.
        reference: energies, Fermi level, forces, stress.
        shape: shape of the FFT grid of the density.
        eigenvalues: eigenvalues at each k-point, (k, bands), eV.
        waves: smallest number of plane waves at a k-point.
        weights: weights of the k-points, which sum to one.
        fractions: k-points in units of the reciprocal vectors, (k, 3).
        cutoff: plane-wave cutoff, eV.
        functional: name of the functional in pw.x.
        species: element and file name of the pseudopotential of each species; an element may have several species.
        smearing: name of the smearing in the file, "fd" for Fermi-Dirac; None without smearing.
        degauss: width of the smearing, eV.
        symmetries: number of symmetries used, 1 for none.
        gamma_only: whether half of the plane waves at Gamma are omitted.
        spin: whether the run has spin of any kind.
        converged: whether the SCF cycle converged.
        iterations: number of SCF iterations.
        ultrasoft: "ultrasoft" or "PAW" if such pseudopotentials were used.
        version: version of pw.x.
        mesh: k-mesh and shift, if the k-points form a mesh.
        terms: energy terms that F of an LDOS does not contain.
    """

    calculation: str
    charge: float
    atoms: Atoms
    reference: Reference
    shape: tuple[int, int, int]
    eigenvalues: FloatArray
    waves: int
    weights: FloatArray
    fractions: FloatArray
    cutoff: float
    functional: str
    species: tuple[tuple[str, str], ...]
    smearing: str | None
    degauss: float
    symmetries: int
    gamma_only: bool
    spin: bool
    converged: bool
    iterations: int
    ultrasoft: str | None
    version: str
    mesh: tuple[tuple[int, int, int], tuple[int, int, int]] | None
    terms: ExtraTerms


def read_output(path: Path) -> PwOutput:
    """Returns the run described by a ``data-file-schema.xml``.

    Raises:
        FileFormatError: if the file is missing, truncated or of another kind.
    """
    try:
        root = ET.parse(path).getroot()  # noqa: S314  # no entities are expanded from outside by this parser
        return _Reader(root).run()
    except FileNotFoundError as error:
        raise FileFormatError(f"{path}: no such file; expected the folder of a finished run of pw.x") from error
    except (ET.ParseError, OSError, KeyError, ValueError, TypeError) as error:
        detail = " ".join(str(error).split())[:120]
        raise FileFormatError(
            f"{path}: not the complete file of a finished run of pw.x ({detail}); run pw.x or copy the file again"
        ) from error


class _Reader:
    def __init__(self, root: ET.Element) -> None:
        self._root = root
        self._output = self._need(root, "output")

    @staticmethod
    def _need(element: ET.Element, path: str) -> ET.Element:
        found = element.find(path)
        if found is None:
            raise KeyError(f"no <{path}>")
        return found

    def _text(self, path: str) -> str:
        return (self._need(self._output, path).text or "").strip()

    def _flag(self, path: str) -> bool:
        found = self._output.find(path)
        return found is not None and (found.text or "").strip().lower() == "true"

    def _numbers(self, element: ET.Element) -> FloatArray:
        return np.array((element.text or "").split(), dtype=float)

    def run(self) -> PwOutput:
        """Returns the run."""
        atoms = self._atoms()
        bands = self._need(self._output, "band_structure")
        points = bands.findall("ks_energies")
        eigenvalues = np.stack([self._numbers(self._need(p, "eigenvalues")) for p in points]) * units.HARTREE
        coordinates = np.stack([self._numbers(self._need(p, "k_point")) for p in points])
        weights = np.array([float(self._need(p, "k_point").attrib["weight"]) for p in points])
        alat = float(self._need(self._output, "atomic_structure").attrib["alat"]) * units.BOHR
        smearing = bands.find("smearing")
        fft = self._need(self._output, "basis_set/fft_grid").attrib
        scf = self._output.find("convergence_info/scf_conv")
        ultrasoft = "ultrasoft" if self._flag("algorithmic_info/uspp") else None
        return PwOutput(
            calculation=(self._root.findtext("input/control_variables/calculation") or "scf").strip(),
            charge=float(self._root.findtext("input/bands/tot_charge") or 0.0),
            atoms=atoms,
            reference=self._reference(len(atoms)),
            shape=(int(fft["nr1"]), int(fft["nr2"]), int(fft["nr3"])),
            eigenvalues=eigenvalues,
            waves=min(int(p.findtext("npw") or 0) for p in points),
            weights=weights / weights.sum(),
            fractions=(coordinates / alat) @ atoms.cell.array.T,
            cutoff=float(self._text("basis_set/ecutwfc")) * units.HARTREE,
            functional=self._text("dft/functional"),
            species=self._species(),
            smearing=None if smearing is None else (smearing.text or "").strip(),
            degauss=0.0 if smearing is None else float(smearing.attrib["degauss"]) * units.HARTREE,
            symmetries=int(self._text("symmetries/nsym")),
            gamma_only=self._flag("basis_set/gamma_only"),
            spin=any(self._flag(f"magnetization/{name}") for name in ("lsda", "noncolin", "spinorbit")),
            converged=scf is None or (scf.findtext("convergence_achieved") or "").strip() == "true",
            iterations=0 if scf is None else int(scf.findtext("n_scf_steps") or 0),
            ultrasoft="PAW" if self._flag("algorithmic_info/paw") else ultrasoft,
            version=self._need(self._root, "general_info/creator").attrib.get("VERSION", "unknown"),
            mesh=self._mesh(),
            terms=xml_terms(self._root),
        )

    def _atoms(self) -> Atoms:
        structure = self._need(self._output, "atomic_structure")
        cell = np.stack([self._numbers(self._need(structure, f"cell/a{i}")) for i in (1, 2, 3)]) * units.BOHR
        entries = structure.findall("atomic_positions/atom")
        positions = np.stack([self._numbers(entry) for entry in entries]) * units.BOHR
        symbols = [_symbol(entry.attrib["name"]) for entry in entries]
        return Atoms(symbols, positions=positions, cell=cell, pbc=True)

    def _species(self) -> tuple[tuple[str, str], ...]:
        species = self._output.findall("atomic_species/species")
        return tuple((_symbol(s.attrib["name"]), (s.findtext("pseudo_file") or "").strip()) for s in species)

    def _reference(self, atoms: int) -> Reference:
        total = self._need(self._output, "total_energy")
        energies = {child.tag: float(child.text or "nan") * units.HARTREE for child in total}
        bands = self._need(self._output, "band_structure")
        level = bands.findtext("fermi_energy")
        extra: dict[str, Any] = {}
        if (forces := self._output.find("forces")) is not None and (forces.text or "").strip():
            extra["forces"] = self._numbers(forces).reshape(atoms, 3) * units.HARTREE / units.BOHR
        if (stress := self._output.find("stress")) is not None and (stress.text or "").strip():
            extra["stress"] = -self._numbers(stress).reshape(3, 3) * units.HARTREE / units.BOHR**3
        return Reference(
            free_energy=energies["etot"],
            parts={name: energies[tag] for tag, name in _PARTS.items() if tag in energies},
            fermi_level=float("nan") if level is None else float(level) * units.HARTREE,
            electrons=float(self._text("band_structure/nelec")),
            entropy_term=energies.get("demet", 0.0),
            **extra,
        )

    def _mesh(self) -> tuple[tuple[int, int, int], tuple[int, int, int]] | None:
        mesh = self._output.find("band_structure/starting_k_points/monkhorst_pack")
        if mesh is None:
            return None
        n, k = ([int(mesh.attrib[f"{name}{i}"]) for i in (1, 2, 3)] for name in ("nk", "k"))
        return (n[0], n[1], n[2]), (k[0], k[1], k[2])


def _symbol(name: str) -> str:
    """Returns the element of a species, whose name may include a number or a label: Al1, Al_a."""
    letters = name.rstrip("0123456789").split("_")[0].split("-")[0]
    return letters[:1].upper() + letters[1:2].lower()
