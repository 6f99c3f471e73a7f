"""Perfect fcc aluminium on dense k-meshes: elastic constants and a line of volumes, shipped model against ABINIT.

At tau_e = 300 and 1000 K, perfect crystals need more k-points than the data of the shipped model have. ABINIT uses the
symmetry of the primitive cell, with the cutoff and pseudopotential of the data. About twenty minutes on one core; the
same command resumes after an interruption. Needs `abinit`.

    python benchmarks/dense_mesh.py DIR
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from abinit import run_abinit, version
from ase import Atoms
from ase.build import bulk
from common import Table, finish, options, parse
from hot_runs import Runs

import fermisea
from fermisea.engines import PlaneWave
from fermisea.studies.aluminium.predicted import model_results, without_pulay
from fermisea.studies.aluminium.probes import LINE, Probe, deformed, elastic_strains
from fermisea.studies.aluminium.properties import Key, Result, elastic_constants, line
from fermisea.studies.aluminium.settings import AluminiumSettings

COLD, LINE_TEMPERATURE = 300.0, 1000.0
ELASTIC_MESHES, LINE_MESH = (20, 28, 36, 44), 20
BANDS = 8


def primitive(lattice_constant: float, mesh: int) -> list[Probe]:
    """Returns the strained crystals and the line of volumes as primitive cells with one k-mesh around Gamma."""
    kpts = (mesh, mesh, mesh)
    crystal = bulk("Al", "fcc", a=lattice_constant)
    strained = {name: deformed(crystal, np.eye(3) + strain) for name, strain in elastic_strains().items()}
    volumes = [bulk("Al", "fcc", a=lattice_constant * scale) for scale in LINE]
    return [
        *(Probe("elastic", f"elastic-{name}", atoms, kpts, (COLD,)) for name, atoms in strained.items()),
        *(Probe("line", f"line-{n:02d}", atoms, kpts, (LINE_TEMPERATURE,)) for n, atoms in enumerate(volumes)),
    ]


def computed(runs: Runs, cutoff: float | None, probe: Probe, tau_e: float) -> Result:
    """Returns the result of ABINIT for one structure, stored or new."""
    engine = PlaneWave(cutoff=cutoff, kpts=probe.kpts, pseudopotentials="gth", threads=1)
    make = partial(run_abinit, engine, probe.atoms, tau_e, BANDS, symmetric=True)
    run = runs.stored("abinit", (engine, BANDS, "symmetric"), probe.atoms, tau_e, make)
    return Result(run.free_energy, np.array(run.forces), np.array(run.stress))


def elastic_row(name: str, found: Mapping[Key, Result]) -> list[str]:
    """Returns a row of elastic constants."""
    return [name, *(f"{value:.1f}" for value in elastic_constants(found, COLD).values())]


def line_rows(probes: list[Probe], true: Mapping[Key, Result], found: Mapping[Key, Result]) -> list[list[str]]:
    """Returns the errors of a model along the line of volumes."""
    dft, model = (line(results, probes, LINE_TEMPERATURE) for results in (true, found))
    energies = 1000 * (model["free_energy"] - dft["free_energy"])
    modulus = model["modulus"] / dft["modulus"] - 1
    return [
        ["F, mean error (meV/atom)", f"{energies.mean():.2f}"],
        ["F, standard deviation of the error (meV/atom)", f"{energies.std():.2f}"],
        ["pressure, rms error (GPa)", f"{np.sqrt(np.mean((model['pressure'] - dft['pressure']) ** 2)):.2f}"],
        ["bulk modulus, largest relative error (%)", f"{100 * np.abs(modulus).max():.0f}"],
        ["bulk modulus, rms relative error (%)", f"{100 * np.sqrt(np.mean(modulus**2)):.1f}"],
    ]


def main() -> None:
    """Runs ABINIT where results are missing, prints tables and writes JSON."""
    parser = options(__doc__, "dense_mesh", 1)
    parser.add_argument("folder", type=Path, help="folder of the results of ABINIT")
    values = parse(parser)
    settings = AluminiumSettings.load("aluminium")
    cutoff = settings.dft.cutoff
    model, runs = fermisea.load_model("aluminium"), Runs(values.folder)

    def solved(atoms: Atoms, probe: Probe, tau_e: float) -> Result:
        return without_pulay(model, computed(runs, cutoff, probe, tau_e), atoms, tau_e)

    rows = []
    for mesh in ELASTIC_MESHES:
        probes = [probe for probe in primitive(settings.lattice_constant, mesh) if probe.group == "elastic"]
        true = {(probe.name, COLD): solved(probe.atoms, probe, COLD) for probe in probes}
        rows.append(elastic_row(f"ABINIT, {mesh}x{mesh}x{mesh} k-points", true))
    probes = primitive(settings.lattice_constant, LINE_MESH)
    found = model_results(model, probes)
    rows.append(elastic_row("model", found))
    members = [probe for probe in probes if probe.group == "line"]
    true = {(probe.name, LINE_TEMPERATURE): solved(probe.atoms, probe, LINE_TEMPERATURE) for probe in members}
    settled = f"around Gamma for the primitive cell, {cutoff:g} eV, GTH, PBE."
    tables = [
        Table(
            "dense_elastic",
            f"Elastic constants of fcc aluminium, {settings.lattice_constant:g} Å, tau_e = {COLD:g} K, GPa",
            ["", "C11", "C12", "C44"],
            rows,
            f"DFT: k-meshes {settled}",
        ),
        Table(
            "dense_line",
            f"{len(members)} lattice constants within 4 %, tau_e = {LINE_TEMPERATURE:g} K, model against ABINIT",
            ["", "error of the model"],
            line_rows(members, true, found),
            f"DFT: {LINE_MESH}x{LINE_MESH}x{LINE_MESH} k-points {settled}",
        ),
    ]
    finish(values, tables, {}, abinit=version())


if __name__ == "__main__":
    main()
