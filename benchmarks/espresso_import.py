"""Peak memory of the import of pw.x runs, and times of pw.x, the source of the estimates of ``--dry-run``.

256 aluminium atoms at a small cutoff are computed by pw.x with two numbers of bands, and each run is imported by a
process of its own. The LDOS is then summed from a file with random bands of the size of 256 atoms at 100 Ry. The times
of pw.x for several cells are compared with the law of ``fermisea study --dry-run``. All processes have one thread. The
times of pw.x depend on its BLAS library.

    python benchmarks/espresso_import.py            up to Al256, 8 Ry; half an hour
    python benchmarks/espresso_import.py --quick    Al4
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase.build import bulk
from common import Table, digits, finish, options, parse, timed
from scipy.io import FortranFile

from fermisea import units
from fermisea.campaign.estimate import RATES
from fermisea.engines.espresso.inputs import pw_input
from fermisea.engines.espresso.output import read_output

POTENTIAL = Path(__file__).parents[1] / "tests" / "data" / "pseudopotentials" / "Al.pz-vbc.UPF"
TAU = 3000.0
MEMORY = 2**31

PEAK = """
import json, sys, time
import torch
torch.set_num_threads(1)

def peak():  # the peak in getrusage starts at the peak of the parent
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
"""
IMPORT = (
    PEAK
    + """
from fermisea.engines import LdosOptions, import_run
before, start = peak(), time.perf_counter()
options = LdosOptions(highest_electron_temperature=float(sys.argv[2]))
snapshot = import_run(sys.argv[1], ldos=options, memory=int(sys.argv[3]), allow_closure_error=True)
seconds = time.perf_counter() - start
print(json.dumps({"before": before, "peak": peak(), "seconds": seconds, "shape": snapshot.ldos.shape,
                  "closure": snapshot.closure_error() / len(snapshot.atoms)}))
"""
)
SUM = (
    PEAK
    + """
from pathlib import Path
import numpy as np
from fermisea.engines.basis import PlaneWaves
from fermisea.engines.espresso.fields import read_wavefunctions
from fermisea.engines.ldos_memory import LdosSize, blocks_within
from fermisea.engines.ldos_sum import KPointBands, local_density_of_states
from fermisea.engines.resampling import transform_shape
from fermisea.grid import EnergyGrid, RealSpaceGrid
from fermisea.utilities.threads import Workers

path, side, engine, coarse, size, memory, bands = Path(sys.argv[1]), *map(float, sys.argv[2:])
grid = RealSpaceGrid(side * np.eye(3), (int(engine),) * 3)
shape, energies = (int(coarse),) * 3, EnergyGrid(-5.0, 0.2, int(size))
values = np.linspace(0.0, 30.0, int(bands))

def read(first, stop):
    miller, rows, _ = read_wavefunctions(path, stop - first, first)
    return PlaneWaves.of(np.zeros(3), miller, grid.shape, torch.device("cpu")), rows

waves, _ = read(0, 0)
transform = transform_shape(waves.box, shape, grid.shape)
sizes = LdosSize(int(np.prod(shape)), energies.size, int(np.prod(transform)), len(waves))
blocks = blocks_within(memory, sizes, [values], energies, 0.2)
before, start, used = peak(), time.perf_counter(), time.process_time()
with Workers(1) as pool:
    ldos = local_density_of_states([KPointBands(1.0, values, read)], grid, energies, 0.2, shape, pool, blocks)
seconds, cpu, points = time.perf_counter() - start, time.process_time() - used, int(np.prod(transform))
print(json.dumps({"before": before, "peak": peak(), "seconds": seconds, "waves": len(waves), "transform": transform[0],
                  "block": blocks.size, "cpu": cpu,
                  "rate": cpu / (int(bands) * points * np.log2(points))}))
"""
)


@dataclass(frozen=True)
class Run:
    """A run of pw.x: CPU time in s, k-points, bands, plane waves of a k-point (of all G), points of the FFT grid."""

    atoms: int
    kind: str
    cpu: float
    kpoints: int
    bands: int
    waves: int
    points: int
    gamma: bool

    @property
    def law(self) -> float:
        """Time of the law of the estimates, s; with the gamma trick, transforms take half and products a quarter."""
        transforms, products = RATES.scf if self.kind == "scf" else RATES.nscf
        transforms *= self.kpoints * self.bands * self.points * np.log2(self.points)
        products *= self.kpoints * self.bands**2 * self.waves
        return float(transforms / 2 + products / 4 if self.gamma else transforms + products)


def pw_runs(folder: Path, repeat: int, rydberg: float, bands: dict[str, int], kpts: Any, shift: Any) -> list[Run]:
    """Runs the SCF cycle and the bands of the window, unless folder/scf and folder/nscf have them, and returns both."""
    atoms = bulk("Al", a=4.05, cubic=True).repeat(repeat)
    atoms.positions += np.random.default_rng(1).normal(0, 0.08, atoms.positions.shape)
    found = []
    for kind, count in bands.items():
        text = pw_input(
            atoms,
            calculation=kind,
            bands=count,
            cutoff=rydberg * units.RYDBERG,
            electron_temperature=TAU,
            tolerance=1e-9,
            kpts=kpts or (1, 1, 1),
            shift=shift,
            pseudopotentials={"Al": "Al.upf"},
            input_dft=None,
            extra={"electrons": {"mixing_mode": "local-TF", "mixing_beta": 0.5}},
        )
        if kpts is None:
            text = re.sub(r"K_POINTS.*\n.*\n", "K_POINTS gamma\n", text)
        place = folder / kind
        printed = _finished(place, kind, text)
        if printed is None:
            shutil.rmtree(place, ignore_errors=True)
            if kind == "nscf":
                shutil.copytree(folder / "scf", place)
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(POTENTIAL, place / "Al.upf")
            (place / f"{kind}.in").write_text(text)
            command = ["pw.x", "-in", f"{kind}.in"]
            printed = subprocess.run(command, cwd=place, check=True, stdout=subprocess.PIPE, text=True).stdout
            (place / f"{kind}.out").write_text(printed)
        output = read_output(place / "fermisea.save" / "data-file-schema.xml")
        cpu = _seconds(re.findall(r"PWSCF +: +(.*?) CPU", printed)[-1])
        whole = (2 if output.gamma_only else 1) * output.waves
        run = Run(
            len(atoms), kind, cpu, len(output.weights), count, whole, int(np.prod(output.shape)), output.gamma_only
        )
        found.append(run)
        print(run, f"law {run.law:.1f} s", flush=True)
    return found


def _finished(place: Path, kind: str, text: str) -> str | None:
    """Returns what pw.x printed for an input, if this run is finished."""
    given, printed = place / f"{kind}.in", place / f"{kind}.out"
    if not (given.is_file() and printed.is_file() and given.read_text() == text):
        return None
    found = printed.read_text()
    return found if "JOB DONE" in found else None


def _seconds(text: str) -> float:
    """Returns a time such as 1m56.68s, s."""
    parts = {unit: float(number) for number, unit in re.findall(r"([\d.]+)\s*([hms])", text)}
    return 3600 * parts.get("h", 0) + 60 * parts.get("m", 0) + parts.get("s", 0)


def measured(script: str, *words: object) -> dict[str, Any]:
    """Returns what a process prints."""
    command = [sys.executable, "-W", "ignore", "-c", script, *map(str, words)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    print(done.stdout.strip(), flush=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def random_bands(path: Path, side: float, rydberg: float, bands: int) -> None:
    """Writes a wavefunction file of pw.x with random bands of a cubic cell."""
    momentum = np.sqrt(rydberg * units.RYDBERG / units.KINETIC) * side / (2 * np.pi)
    axis = np.arange(-int(momentum), int(momentum) + 1)
    miller = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    miller = miller[(miller**2).sum(axis=1) <= momentum**2]
    random = np.random.default_rng(1)
    with FortranFile(path, "w") as file:
        file.write_record(np.frombuffer(np.zeros(36, np.uint8).tobytes() + np.float64(1.0).tobytes(), np.uint8))
        file.write_record(np.array([len(miller), len(miller), 1, bands], dtype=np.int32))
        file.write_record(np.eye(3))
        file.write_record(miller.astype(np.int32))
        for _ in range(bands):
            file.write_record(random.normal(size=2 * len(miller)) / np.sqrt(2 * len(miller)))


def main() -> None:
    """Measures, prints tables and writes JSON."""
    parser = options(__doc__, "espresso_import", 1)
    parser.add_argument("--runs", type=Path, help="folder that keeps the runs of pw.x for another call  [none]")
    values = parse(parser)
    # name: repeat, cutoff (Ry), bands, k-mesh (None for the gamma trick), shift
    cells: dict[int, tuple[int, float, dict[str, int], Any, Any]] = {
        4: (1, 20, {"scf": 12, "nscf": 30}, (4, 4, 4), (0, 0, 0)),
        32: (2, 20, {"scf": 70, "nscf": 150}, (2, 2, 2), (1, 1, 1)),
        108: (3, 12, {"scf": 220, "nscf": 440}, (1, 1, 1), (1, 1, 1)),
        256: (4, 8, {"scf": 520, "nscf": 1040}, None, (0, 0, 0)),
    }
    largest = 4 if values.quick else 256
    windows = {"scf": 1000.0, "nscf": 5000.0}
    rydberg, side, engine, coarse, energies = (10, 8.1, 36, 18, 60) if values.quick else (100, 16.2, 200, 72, 226)
    runs, imports, sums = [], [], []
    with tempfile.TemporaryDirectory(dir=values.runs) as name:
        scratch = Path(name)
        folder = values.runs or scratch
        for atoms, cell in cells.items():
            if atoms > largest:
                continue
            values.pace.take()
            runs += pw_runs(folder / str(atoms), *cell)
        for kind, highest in windows.items():
            place = folder / str(largest) / kind
            size = sum(path.stat().st_size for path in place.glob("*.save/wfc*"))
            found = measured(IMPORT, place, highest, MEMORY)
            imports.append(found | {"bands": cells[largest][2][kind], "wavefunctions": size})
        for bands in (32, 64) if values.quick else (64, 128):
            path = scratch / "wfc1.dat"
            timed(random_bands, path, side, rydberg, bands)
            found = measured(SUM, path, side, engine, coarse, energies, MEMORY, bands)
            sums.append(found | {"bands": bands, "wavefunctions": path.stat().st_size})
    tables = [
        Table(
            "espresso_import",
            f"Import of runs of pw.x, {largest} Al atoms, {cells[largest][1]:g} Ry, memory = 2 GiB",
            ["bands", "wavefunctions, MB", "LDOS", "LDOS, MB", "peak of the process, MB", "before the import, MB", "s"],
            [
                [
                    str(item["bands"]),
                    digits(item["wavefunctions"] / 1e6),
                    "x".join(map(str, item["shape"])),
                    digits(4e-6 * np.prod(item["shape"])),
                    digits(item["peak"] / 1e6),
                    digits(item["before"] / 1e6),
                    digits(item["seconds"]),
                ]
                for item in imports
            ],
        ),
        Table(
            "espresso_sum",
            f"LDOS from random bands of a cell of {side:g} Å at {rydberg:g} Ry: {sums[0]['waves']} plane waves, LDOS "
            f"{coarse}x{coarse}x{coarse}x{energies}, transform with {sums[0]['transform']} instead of {engine} points",
            ["bands", "wavefunctions, MB", "peak of the process, MB", "s", "CPU, s", "CPU a band, s"],
            [
                [
                    str(item["bands"]),
                    digits(item["wavefunctions"] / 1e6),
                    digits(item["peak"] / 1e6),
                    digits(item["seconds"]),
                    digits(item["cpu"]),
                    digits(item["cpu"] / item["bands"]),
                ]
                for item in sums
            ],
        ),
        Table(
            "espresso_rates",
            "CPU time of pw.x on one core, and the law of the estimates",
            ["atoms", "run", "k-points", "bands", "plane waves", "FFT points", "pw.x, s", "law, s"],
            [
                [
                    str(run.atoms),
                    run.kind,
                    str(run.kpoints),
                    str(run.bands),
                    str(run.waves),
                    str(run.points),
                    digits(run.cpu),
                    digits(run.law),
                ]
                for run in runs
            ],
            "The largest cell is not part of the fit. With its gamma trick, transforms take half of the time, "
            "products a quarter.",
        ),
    ]
    results = {"runs": [asdict(run) for run in runs], "imports": imports, "sums": sums}
    finish(values, tables, results)


if __name__ == "__main__":
    main()
