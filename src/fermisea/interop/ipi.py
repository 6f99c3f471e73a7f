"""Client of the i-PI protocol, which i-PI, ASE and other programs speak: positions in, energy, forces and virial out.

i-PI: V. Kapil et al., Comput. Phys. Commun. 236, 214 (2019). The client is the one of ASE; the protocol is in hartree
and bohr, and its virial is minus the stress times the volume.
"""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Iterator

from ase import Atoms
from ase.calculators.socketio import IPIProtocol, SocketClient, actualunixsocketname

from fermisea.errors import InputError
from fermisea.utilities.arrays import FloatArray
from fermisea.utilities.counts import counted


def serve_forces(
    atoms: Atoms,
    *,
    unix: str | None = None,
    host: str = "localhost",
    port: int = 31415,
    timeout: float | None = None,
) -> Iterator[int]:
    """Connects to a server and answers its requests; yields the number of answers after each of them.

    Positions and cell come from the server, and atoms in the order of ``atoms``. The virial is computed for periodic
    structures.

    Args:
        atoms: the elements in the order of the server, with a calculator.
        unix: name of a UNIX socket, the file /tmp/ipi_NAME; None for TCP.
        host: name or address of the server.
        port: its port.
        timeout: longest time to wait for the next request, s; None for no limit.

    Raises:
        InputError: if there is no server, or its structure has another number of atoms.
    """
    place = f"UNIX socket {actualunixsocketname(unix)}" if unix is not None else f"{host}, port {port}"
    try:
        client = SocketClient(host=host, port=port, unixsocket=unix, timeout=timeout)
    except (OSError, OverflowError) as error:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            traceback.clear_frames(error.__traceback__)  # closes the socket, which ASE leaves open
        raise InputError(
            f"socket: no server at {place} ({getattr(error, 'strerror', None) or error}); start the server first, for "
            "example i-pi input.xml, and give the same address"
        ) from error
    _check_number(client.protocol, len(atoms), place)
    try:
        for answers, _ in enumerate(client.irun(atoms, use_stress=bool(atoms.pbc.any())), 1):
            yield answers
    except TimeoutError as error:
        raise InputError(f"socket: no request from {place} within {timeout:g} s; give a longer --timeout") from error
    except (ConnectionError, AssertionError, KeyError) as error:
        raise InputError(
            f"socket: {place} does not follow the i-PI protocol, or has ended within a message; start the server again"
        ) from error
    finally:
        client.close()


def _check_number(protocol: IPIProtocol, number: int, place: str) -> None:
    """Makes a protocol refuse positions of another number of atoms, which ASE does not compare."""
    receive = protocol.recvposdata

    def checked() -> tuple[FloatArray, FloatArray, FloatArray]:
        cell, inverse, positions = receive()  # type: ignore[no-untyped-call]  # of ASE
        if len(positions) != number:
            raise InputError(
                f"socket: {place} has {counted(len(positions), 'atom')}, but the structure file has {number}; give the "
                "same structure to both programs"
            )
        return cell, inverse, positions

    protocol.recvposdata = checked  # type: ignore[method-assign]
