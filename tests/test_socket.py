"""The client of the i-PI protocol, against the server of ASE."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.socketio import SocketIOCalculator
from ase.io import write

import fermisea
from fermisea.cli import main
from fermisea.interop.ipi import serve_forces
from fermisea.prediction.plausibility import domain_warnings_ignored


def sheared() -> Atoms:
    atoms = bulk("Al", "fcc", a=4.05, cubic=True)
    strain = np.array([[0.01, 0.03, 0], [0, -0.02, 0.01], [0, 0, 0]])
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    atoms.positions += np.random.default_rng(1).normal(scale=0.1, size=(4, 3))
    return atoms


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def check(served: Atoms, direct: Atoms) -> None:
    assert served.get_potential_energy() == pytest.approx(direct.get_potential_energy(), abs=1e-8)
    np.testing.assert_allclose(served.get_forces(), direct.get_forces(), rtol=0, atol=1e-8)
    np.testing.assert_allclose(served.get_stress(), direct.get_stress(), rtol=0, atol=1e-8)


def test_the_command_serves_energy_forces_and_stress_of_the_calculator(tmp_path):
    atoms, name = sheared(), f"fermisea-{os.getpid()}"
    direct = atoms.copy()
    direct.calc = fermisea.Calculator("aluminium", 12_000.0, potential=True)
    write(tmp_path / "al.extxyz", bulk("Al", "fcc", a=4.05, cubic=True))
    command = [sys.executable, "-m", "fermisea", "socket", "aluminium", str(tmp_path / "al.extxyz"), "--potential"]
    command += ["--electron-temperature", "12000", "--unix", name, "--json"]
    with SocketIOCalculator(unixsocket=name, timeout=300) as calculator:
        client = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        atoms.calc = calculator
        check(atoms, direct)
        assert np.abs(direct.get_stress()).min() > 1e-5
        for moving in (atoms, direct):
            moving.set_cell(1.2 * moving.cell.array, scale_atoms=True)  # a volume outside of the training structures
        with domain_warnings_ignored():  # the client prints them
            check(atoms, direct)
    out, errors = client.communicate(timeout=300)
    assert client.returncode == 0
    document = json.loads(out)
    assert document["answers"] == 2
    assert any(sentence.startswith("volume: got") for sentence in document["warnings"])
    assert "fermisea: warning: volume: got" in errors


def test_tcp_serves_any_calculator():
    atoms, port = sheared(), free_port()
    direct = atoms.copy()
    direct.calc = EMT()
    client = atoms.copy()
    client.calc = EMT()
    with SocketIOCalculator(port=port, timeout=60) as calculator:
        answers: list[int] = []
        thread = threading.Thread(target=lambda: answers.extend(serve_forces(client, port=port, timeout=60)))
        thread.start()
        atoms.calc = calculator
        check(atoms, direct)
    thread.join(60)
    assert answers == [1]


@pytest.mark.parametrize("others", [1, 2])
def test_another_number_of_atoms_is_refused(others):
    atoms, port, found = sheared(), free_port(), []
    client = atoms.copy()
    client.calc = EMT()

    def serve() -> None:
        with pytest.raises(fermisea.InputError, match=f"has {others} atom.*the structure file has 4") as error:
            list(serve_forces(client, port=port, timeout=60))
        found.append(error)

    with SocketIOCalculator(port=port, timeout=60) as calculator:
        thread = threading.Thread(target=serve)
        thread.start()
        fewer = atoms[:others]
        fewer.calc = calculator
        with pytest.raises(OSError):  # the client has closed the connection
            fewer.get_potential_energy()
        thread.join(60)
    assert found


def test_a_server_that_sends_nothing_is_refused():
    atoms = sheared()
    atoms.calc = EMT()
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(fermisea.InputError, match=r"no request from localhost, port .* within 0\.05 s"):
            list(serve_forces(atoms, port=port, timeout=0.05))


def test_a_server_with_another_protocol_is_refused():
    atoms = sheared()
    atoms.calc = EMT()

    def answer(server: socket.socket) -> None:
        with server.accept()[0] as connection:
            connection.sendall(b"GET / HTTP/1")

    with socket.create_server(("localhost", 0)) as server:
        thread = threading.Thread(target=answer, args=(server,))
        thread.start()
        with pytest.raises(fermisea.InputError, match="does not follow the i-PI protocol"):
            list(serve_forces(atoms, port=server.getsockname()[1], timeout=60))
        thread.join(60)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--unix", "fermisea-none"], "no server at UNIX socket /tmp/ipi_fermisea-none"),
        (["--unix", "/tmp/ipi_al"], "expected the name NAME of a UNIX socket"),  # noqa: S108
        (["--electron-temperature", "1e6"], "electron temperature: got"),
    ],
)
def test_errors_of_the_user_are_one_line(words, text, tmp_path, capsys):
    write(tmp_path / "al.extxyz", bulk("Al", "fcc", a=4.05, cubic=True))
    command = ["socket", "aluminium", str(tmp_path / "al.extxyz"), "--potential", "--electron-temperature", "1000"]
    assert main([*command, "--port", str(free_port()), *words]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert text in line


def test_a_wrong_element_and_a_missing_server_on_tcp_are_one_line(tmp_path, capsys):
    for symbol, text in (("Cu", "elements: got Cu, but the model knows Al"), ("Al", "no server at localhost, port")):
        write(tmp_path / "one.extxyz", bulk(symbol, "fcc", a=4.05, cubic=True))
        command = ["socket", "aluminium", str(tmp_path / "one.extxyz"), "--electron-temperature", "1000"]
        assert main([*command, "--port", str(free_port())]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert text in line
