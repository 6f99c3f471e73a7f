"""The benchmarks' own tools, and that a worker of each measures what its peer would get."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

FOLDER = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(FOLDER))
from common import Clock, Pace, Table, Worker, digits  # noqa: E402
from cost import FULL, aluminium, repeats  # noqa: E402
from descriptors import largest_difference  # noqa: E402
from prediction import PEER_STAGES, peer_seconds  # noqa: E402
from report import PAGES, blocks, fill  # noqa: E402
from systems import Sizes, random_model  # noqa: E402
from wide import operations  # noqa: E402

WORKER = """
import os, sys
sys.path.insert(0, {folder!r})
from common import serve

def echo(text):
    print("chatter that must not reach the answers")
    return [text, os.environ["OMP_NUM_THREADS"]]

def broken():
    raise ValueError("no such luck")

def gone():
    sys.stderr.write("last words")
    sys.stderr.flush()
    os._exit(3)

serve(echo, broken, gone)
"""


@pytest.fixture
def script(tmp_path):
    file = tmp_path / "worker.py"
    file.write_text(WORKER.format(folder=str(FOLDER)))
    return file


def test_worker_answers_with_its_own_threads(script):
    with Worker(script, 1) as one, Worker(script, 2) as two:
        one.start("echo", text="a")
        two.start("echo", text="b")
        assert two.result() == ["b", "2"]
        assert one.result() == ["a", "1"]


def test_worker_hands_errors_on(script):
    with Worker(script, 1) as worker:
        with pytest.raises(RuntimeError, match="no such luck"):
            worker.call("broken")
        assert worker.call("echo", text="c") == ["c", "1"]
        with pytest.raises(RuntimeError, match=r"(?s)status 3:.*last words"):
            worker.call("gone")


def test_clock_tells_waiting_from_working(monkeypatch):
    clocks = {
        "perf_counter": iter((10.0, 14.0, 20.0, 24.0)).__next__,
        "process_time": iter((1.0, 1.5, 2.0, 9.0)).__next__,
    }
    monkeypatch.setattr("common.time", SimpleNamespace(**clocks))
    with Clock() as waiting:
        pass
    with Clock() as working:
        pass
    assert (waiting.seconds, waiting.cores) == (4.0, 0.125)
    assert (working.seconds, working.cores) == (4.0, 1.75)


def test_pace_is_the_longest_over_the_shortest_time(monkeypatch):
    pace = Pace()
    pace.take()
    assert pace.spread() is None
    assert pace.seconds[0] > 0
    loops = iter((5.0, 3.0, 4.0, 6.0, 7.0, 2.0, 2.0, 1.5, 9.0, 2.5))
    monkeypatch.setattr("common.timed", lambda *_: (next(loops), None))
    pace.seconds.clear()
    pace.take()
    pace.take()
    assert pace.seconds == [3.0, 1.5]  # the shortest of five loops, each time
    assert pace.spread() == 2.0


def test_table_in_markdown():
    table = Table("x", "Title", ["a", "long"], [["12345", "1"]], "Note")
    assert table.markdown() == "Title\n\n| a     | long |\n|-------|------|\n| 12345 | 1    |\n\nNote"


@pytest.mark.parametrize(
    ("value", "text"),
    [(123456.0, "123 000"), (12.345, "12.3"), (0.5, "0.5"), (1e-5, "1.00e-05"), (0, "0"), (999.6, "1000")],
)
def test_digits(value, text):
    assert digits(value) == text


def test_report_replaces_tables_of_full_runs_only(tmp_path):
    content = {
        "quick": False,
        "repeat": 5,
        "machine": {"cpu": "C", "cores": 2, "vectors": ["avx2"], "versions": {"python": "3"}},
        "tables": [{"name": "new", "title": "T", "columns": ["a"], "rows": [["1"]], "note": ""}],
    }
    content["machine"] |= {"peers": {"lammps": "1"}, "pace": 1.234}
    (tmp_path / "new.json").write_text(json.dumps(content))
    content |= {"quick": True, "tables": [content["tables"][0] | {"name": "other"}]}
    (tmp_path / "other.json").write_text(json.dumps(content))
    found = blocks(tmp_path)
    page = "one\n<!-- table: new -->\nold\n<!-- end: new -->\n<!-- table: other -->\nkept\n<!-- end: other -->\n"
    filled, missing = fill(page, found | {"strange": "text"})
    assert missing == ["strange"]
    assert "old" not in filled
    assert "kept" in filled
    facts = "C, 2 cores, avx2; python 3, lammps 1; pace within a factor 1.23; median of 5 runs."
    assert f"| 1   |\n\n{facts}\n<!-- end: new -->" in filled
    assert fill(filled, found)[0] == filled


def test_page_has_a_place_for_every_table():
    pages = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    places = re.findall(r"<!-- table: (\w+) -->\n.*?<!-- end: \1 -->", pages, re.DOTALL)
    made = {"study", "aluminium"}  # by publish_study.py
    for file in FOLDER.glob("*.py"):
        made |= set(re.findall(r"Table\(\s*\"(\w+)\"", file.read_text(encoding="utf-8")))
    assert sorted(places) == sorted(made)


def test_operations_are_those_of_the_network():
    sizes = Sizes((30, 20), 40)
    network = random_model(sizes).network
    with FlopCounterMode(display=False) as counter:
        network.hidden(torch.zeros(7, sizes.inputs))
    assert counter.get_total_flops() == 7 * operations(sizes)


def test_peer_stages_are_scaled_to_the_grid():
    def one(seconds):
        return {"points": 100, "seconds": dict.fromkeys(PEER_STAGES, seconds) | {"fixed": seconds}}

    # two processes share 1000 points: 500 each, five times those measured; the slower one counts
    scaled = peer_seconds([[one(1.0), one(2.0)], [one(3.0), one(1.0)], [one(9.0), one(9.0)]], 1000)
    assert scaled == dict.fromkeys(PEER_STAGES, 15.0) | {"fixed": 3.0}


def test_difference_is_relative_to_the_component():
    two = np.array([[1.0, 200.0], [-4.0, 100.0]])
    assert largest_difference(two + np.array([[0.0, 1.0], [0.4, 0.0]]), two) == pytest.approx(0.1)


@pytest.mark.slow
def test_descriptors_run_without_peers(tmp_path):
    copy = tmp_path / "benchmarks"
    shutil.copytree(FOLDER, copy)
    out = tmp_path / "d.json"
    command = [sys.executable, "descriptors.py", "--quick", "--threads", "1", "--out", str(out)]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=True)
    assert "only fermisea is measured" in done.stdout
    content = json.loads(out.read_text())
    assert content["quick"]
    assert content["results"]["lammps"] == []
    assert len(content["tables"][0]["rows"]) == 4


@pytest.mark.slow
def test_cost_runs_without_pw(tmp_path):
    copy = tmp_path / "project" / "benchmarks"  # its results stay in the temporary folder
    shutil.copytree(FOLDER, copy)
    (copy.parent / "tests").symlink_to(FOLDER.parent / "tests")
    environment = os.environ | {"PATH": str(tmp_path)}
    command = [sys.executable, "cost.py", "--quick"]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    content = json.loads((copy.parent / "bench-output" / "quick" / "cost.json").read_text())
    assert [table["name"] for table in content["tables"]] == ["cost", "cost_hot"]
    assert list(content["results"]["sizes"]) == ["engine"]
    runs = content["results"]["sizes"]["engine"]
    assert runs["8"]["bands"] > runs["4"]["bands"]
    assert runs["8"]["free_energy"] / 8 == pytest.approx(runs["4"]["free_energy"] / 4, abs=0.05)  # of F itself -56 eV
    hot = content["results"]["electron_temperatures"]
    assert hot["engine, tail"]["30000.0"]["bands"] < hot["engine"]["30000.0"]["bands"]
    assert all(seconds > 0 for seconds in content["results"]["predictions_cpu_s"]["prediction of F"]["8"])
    assert (copy.parent / "bench-output" / "quick" / "cost.png").stat().st_size > 10_000


def test_sizes_of_the_cost_benchmark_double_in_turn_and_their_meshes_have_one_density():
    for atoms in FULL.predicted + FULL.atoms:
        x, y, z = repeats(atoms)
        assert 4 * x * y * z == atoms
        assert x <= y <= z <= 2 * x
    for atoms in FULL.atoms:
        assert [k * n for k, n in zip(FULL.engine(aluminium(atoms)).kpts, repeats(atoms), strict=True)] == [4, 4, 4]


def test_commands_stopped_at_random_moments_give_the_same_results_afterwards(tmp_path):
    words = ["--only", "sample", "dft", "--repeat", "1", "--seed", "3", "--out", str(tmp_path / "i.json")]
    script = [sys.executable, str(FOLDER / "interruptions.py"), *words]
    result = subprocess.run(script, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    rows = re.findall(
        r"^\| (sample|dft) +\| (\w+) +\| [\d.]+ +\| 1 .*\| 1 +\| 1 +\| 1 +\| 1 +\|$", result.stdout, re.MULTILINE
    )
    assert rows == [(name, kind) for name in ("sample", "dft") for kind in ("kill", "term", "int")]
