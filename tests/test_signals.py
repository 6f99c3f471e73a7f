"""Ctrl-C and SIGTERM at any moment, closed pipes and full disks: one line, and the status of the cause."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from fermisea.cli.remedies import remedy
from fermisea.data.dataset import Dataset
from fermisea.data.structures import write_structure
from fermisea.errors import StorageError
from fermisea.training import interruption, train
from fermisea.training.config import TrainingConfig
from fermisea.training.interruption import stop_requests
from fermisea.utilities.signals import Stopped, signal_of, stop_signals
from synthetic import made_up_snapshot, structure

FERMISEA = (
    "import signal, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)\nfrom fermisea.cli import main\n"
)
AT_IMPORT = """
import os

class Finder:
    def find_spec(self, name, *_):
        if name == {module!r} and self in sys.meta_path:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.{signal})

sys.meta_path.insert(0, Finder())
"""
STATUS = {"SIGINT": 130, "SIGTERM": 143}
WORDS = {"SIGINT": "interrupted", "SIGTERM": "stopped by SIGTERM"}


def python(code: str, *arguments: str, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=120, check=False, **options)


@pytest.mark.parametrize(("name", "module"), [("SIGINT", "typer"), ("SIGTERM", "rich"), ("SIGINT", "ase.atoms")])
def test_a_signal_while_modules_are_imported(name, module, tmp_path):
    code = FERMISEA + AT_IMPORT.format(module=module, signal=name) + "sys.exit(main())"
    write_structure(tmp_path / "a.extxyz", structure(0))
    words = "sample a.extxyz --ion-temperature 300 --thermalise 1000000 --out o"
    result = python(code, *words.split(), cwd=tmp_path)
    assert result.stderr == f"fermisea: {WORDS[name]}; finished files are kept, the same command starts again\n"
    assert result.returncode == STATUS[name]


def test_the_first_signal_raises_and_the_second_ends_the_process():
    code = """
        import signal, time
        from fermisea.utilities import signals
        signals.TOGETHER = 0.1
        with signals.stop_signals("; again") as handler:
            handler.loaded = True
            try:
                signal.raise_signal(signal.SIGTERM)
            except signals.Stopped as stop:
                assert stop.number == signal.SIGTERM
                signal.raise_signal(signal.SIGTERM)  # at once, as from a program that signals the whole group
                time.sleep(0.2)
                signal.raise_signal(signal.SIGINT)
            raise SystemExit("unreached")
        """
    result = python(code)
    assert (result.returncode, result.stderr) == (130, "fermisea: interrupted; again\n")


def test_a_signal_in_a_destructor_is_not_lost():
    code = """
        import signal, time
        from fermisea.utilities.signals import Stopped, stop_signals

        class Last:
            def __del__(self):
                signal.raise_signal(signal.SIGINT)

        with stop_signals("") as handler:
            handler.loaded = True
            try:
                last = Last()
                del last
                time.sleep(20)
            except Stopped:
                raise SystemExit(7)
        """
    result = python(code)
    assert (result.returncode, result.stderr) == (7, "")


def test_a_signal_after_the_end_changes_nothing():
    code = """
        import signal
        from fermisea.utilities.signals import stop_signals
        with stop_signals("") as handler:
            handler.loaded, handler.status = True, 1
        signal.raise_signal(signal.SIGINT)
        """
    result = python(code)
    assert (result.returncode, result.stderr) == (1, "")


class HalfMade:
    """An object whose constructor a signal may interrupt, and whose destructor needs the end of the constructor."""

    def __init__(self, *, stopped: bool) -> None:
        if stopped:
            os.kill(os.getpid(), signal.SIGTERM)
        self.open = True

    def __del__(self) -> None:
        if not self.open or not self.missing:
            raise ValueError("closed")


@pytest.mark.parametrize("stopped", [True, False])
def test_the_destructor_of_an_object_that_a_signal_left_half_made_says_nothing(stopped, capfd):
    """Without a signal, an error in a destructor is shown."""
    with stop_signals("") as signals:
        signals.loaded = True
        with suppress(Stopped):
            HalfMade(stopped=stopped)
        gc.collect()
    assert ("AttributeError" in capfd.readouterr().err) is not stopped


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stop_signals("") as handler:
            handler.loaded = True
            signal.raise_signal(signal.SIGINT)
            with pytest.raises(Stopped) as caught:
                signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert signal_of(caught.value) == signal.SIGTERM
    assert signal_of(KeyboardInterrupt()) == signal.SIGINT


def test_a_training_stops_at_once_at_the_second_ctrl_c_only(monkeypatch):
    monkeypatch.setattr(interruption, "TOGETHER", 0.0)
    with stop_requests() as request:
        signal.raise_signal(signal.SIGTERM)
        assert (request.made, request.number) == (True, signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    monkeypatch.setattr(interruption, "TOGETHER", 100.0)
    with stop_requests() as request:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert (request.made, request.number) == (True, signal.SIGINT)


def test_the_line_says_how_to_continue():
    assert remedy(["dft", "a", "--out", "b"]) == "; finished files are kept, the same command resumes"
    assert remedy(["study", "transfer"]) == remedy(["tune", "data"]) == remedy(["dft"])
    assert "--resume" in remedy(["train", "data"])
    assert remedy(["info", "a.nc"]) == remedy([]) == remedy(["--version"]) == ""


def test_a_closed_pipe_is_silent():
    reading, writing = os.pipe()
    os.close(reading)
    try:
        result = python(FERMISEA + "sys.exit(main())", "dft", "--help", stdout=writing)
        assert (result.returncode, result.stderr) == (141, "")
        result = python(FERMISEA + "sys.exit(main())", "--version", stdout=writing)
        assert (result.returncode, result.stderr) == (141, "")
    finally:
        os.close(writing)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_to_a_full_disk_is_one_line():
    with Path("/dev/full").open("w") as full:
        result = python(FERMISEA + "sys.exit(main())", "--version", stdout=full)
    assert result.returncode == 2
    assert (
        result.stderr == "fermisea: output: cannot be written (No space left on device); free some space, then start "
        "the same command again\n"
    )


def test_closed_standard_streams_are_no_error():
    shell = '"$0" -m fermisea --version >&- 2>&- <&-'
    assert subprocess.run(["sh", "-c", shell, sys.executable], check=False).returncode == 0


@pytest.fixture
def file_size():
    """Returns a function that limits the size of files, bytes, as a full disk would; None sets no limit."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (soft if size is None else size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_training_on_a_full_disk_loses_nothing(tmp_path, file_size):
    data = Dataset(tuple(made_up_snapshot(seed) for seed in range(2)))
    config = TrainingConfig(order=1, hidden=(32,), validation_fraction=0.0, anchor=False, epochs=4)
    file = tmp_path / "al.checkpoint"

    def fill(state):
        if state.stage == "training" and state.step == 2:
            file_size(1000)

    with pytest.raises(StorageError, match=r"al\.checkpoint: could not be written"):
        train(data, config, checkpoint=file, progress=fill)
    assert [path.name for path in tmp_path.iterdir()] == ["al.checkpoint"]
    file_size(None)
    epochs = []
    model = train(data, config, checkpoint=file, resume=True, progress=lambda state: epochs.append(state.step))
    assert epochs[-3:] == [2, 3, 4]
    whole = train(data, config).network.state_dict()
    assert all(torch.equal(value, whole[name]) for name, value in model.network.state_dict().items())
