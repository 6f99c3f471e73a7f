"""Wall time of commands: `fermisea --help`, and `fermisea predict` on four atoms with warm and with empty caches.

The empty cache is the cache of compiled functions; the font list of matplotlib is kept. `import torch` is the lower
limit for every command that loads a model.

    python benchmarks/startup.py            median of five
    python benchmarks/startup.py --quick    once
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from common import Table, digits, finish, options, parse, timed
from systems import Sizes, aluminium, random_model

COMMANDS = ("python -c pass", "import torch", "fermisea --help", "fermisea predict", "fermisea predict, empty cache")


def environment(cache: Path, fonts: Path) -> dict[str, str]:
    """Returns the environment of a command with one thread and compiled functions in ``cache``."""
    names = ("FERMISEA_CACHE", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME")
    return os.environ | dict.fromkeys(names, str(cache)) | {"MPLCONFIGDIR": str(fonts), "OMP_NUM_THREADS": "1"}


def run(command: list[str], variables: dict[str, str]) -> float:
    """Returns the wall time of a command, s.

    Raises:
        RuntimeError: with its errors, if it fails.
    """
    seconds, done = timed(subprocess.run, command, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with status {done.returncode}:\n{done.stderr[-4000:]}")
    return seconds


def main() -> None:
    """Measures, prints a table and writes JSON."""
    values = parse(options(__doc__, "startup", 5))
    fermisea = str(Path(sys.executable).with_name("fermisea"))
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, structure, warm, fonts = (folder / part for part in ("al.safetensors", "al.extxyz", "empty-0", "fonts"))
        random_model(Sizes((64, 64), 100)).save(model)
        aluminium(1).write(structure)
        temperatures = ["--electron-temperature", "300", "1000", "10000"]
        predict = [fermisea, "predict", str(model), str(structure), *temperatures, "--grid", "12", "12", "12", "--out"]
        run([sys.executable, "-c", "import matplotlib.font_manager"], environment(warm, fonts))
        for index in range(values.repeat):
            values.pace.take()
            calls = (
                ([sys.executable, "-c", "pass"], warm),
                ([sys.executable, "-c", "import torch"], warm),
                ([fermisea, "--help"], warm),
                ([*predict, str(folder / f"warm-{index}")], warm),
                ([*predict, str(folder / f"cold-{index}")], folder / f"empty-{index}"),
            )
            titled = list(zip(COMMANDS, calls, strict=True))
            for title, (command, cache) in titled[-1:] + titled[:-1]:  # the first empty cache becomes the warm one
                seconds[title].append(run(command, environment(cache, fonts)))
    rows = [[name, digits(statistics.median(runs))] for name, runs in seconds.items()]
    title = "Start-up, wall time in seconds, one thread; the prediction is of 4 Al atoms, 12x12x12 points, three tau_e"
    finish(values, [Table("startup", title, ["command", "seconds"], rows)], {"seconds": seconds})


if __name__ == "__main__":
    main()
