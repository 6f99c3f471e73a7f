"""Training on far more data than memory: synthetic snapshots of 20 GB, a small network, one epoch.

Four files of free-electron LDOS have several names each; ``fermisea train`` writes descriptors and LDOS to a scratch
file and trains from it. The peak memory is the resident memory of the process reported by the system.

    python benchmarks/large_data.py            20 snapshots of 1.05 GB, --memory 1GB; 40 GB of free disk
    python benchmarks/large_data.py --quick    20 snapshots of 2.5 MB, --memory 10MB
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from batches import ENERGIES, snapshot
from common import Clock, Table, digits, finish, options, parse

SETTINGS = """hidden = [32]
allow_closure_error = true
order = 4
epochs = 1
batch_size = 4096
readout = "none"
validation_fraction = 0.0
"""
TRAIN = """
import sys
from fermisea.cli import main
status = main(sys.argv[1:])
lines = open("/proc/self/status").read().splitlines()  # the peak in getrusage starts at the peak of the parent
print("peak", next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")))
raise SystemExit(status)
"""


def main() -> None:
    """Measures, prints a table and writes JSON."""
    parser = options(__doc__, "large_data", 1)
    parser.add_argument("--scratch", type=Path, help="folder for data and scratch file  [the system's]")
    values = parse(parser)
    side, memory = (18, "10MB") if values.quick else (138, "1GB")
    with tempfile.TemporaryDirectory(dir=values.scratch) as name:
        folder = Path(name)
        (folder / "data").mkdir()
        for seed in range(4):
            snapshot(seed, side).save(folder / "data" / f"{seed}-0.nc")
            for copy in range(1, 5):
                os.link(folder / "data" / f"{seed}-0.nc", folder / "data" / f"{seed}-{copy}.nc")
            print(f"{seed + 1} of 4 files", flush=True)
        (folder / "train.toml").write_text(SETTINGS, encoding="utf-8")
        words = ["train", str(folder / "data"), "--out", str(folder / "al.safetensors"), "--memory", memory]
        words += ["--config", str(folder / "train.toml"), "--scratch", name]
        with Clock() as clock:
            done = subprocess.run([sys.executable, "-c", TRAIN, *words], check=True, stdout=subprocess.PIPE, text=True)
    peak = int(done.stdout.split("peak")[-1])
    points, size = 20 * side**3, 20 * side**3 * ENERGIES.size * 4
    row = [digits(size / 1e9), memory, digits(peak / 1e9), digits(clock.seconds), digits(points / clock.seconds)]
    columns = ["LDOS, GB", "--memory", "peak memory, GB", "seconds", "points/s"]
    note = (
        f"{points:,} points; the time includes files, descriptors, scratch file and an epoch. "
        "Memory of torch alone: 0.5 GB."
    )
    table = Table("large_data", "Training on more data than memory, one thread", columns, [row], note)
    finish(values, [table], {"peak": peak, "seconds": clock.seconds, "bytes": size, "points": points})


if __name__ == "__main__":
    main()
