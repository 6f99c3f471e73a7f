"""``fermisea socket``: forces of a model for programs that speak the i-PI protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import fermisea
from fermisea.cli.common import (
    AllowBeyondWindow,
    AllowOutside,
    Device,
    FreeEnergyOrigin,
    GridShape,
    Json,
    ModelFile,
    ThermalXc,
    UseTail,
    print_json,
)
from fermisea.terminal import progress_bar, stdout
from fermisea.utilities.counts import counted


def socket(
    model: ModelFile,
    atoms: Annotated[
        Path,
        typer.Argument(
            help="Structure file in any format that ASE reads, with the elements in the order of the server; FILE@3 "
            "selects frame 3, counted from 0."
        ),
    ],
    electron_temperature: Annotated[float, typer.Option(help="Electronic temperature (tau_e), K.", show_default=False)],
    potential: Annotated[
        bool,
        typer.Option("--potential", help="Interatomic potential of the model at tau_e alone, without LDOS: faster."),
    ] = False,
    unix: Annotated[
        str | None,
        typer.Option(help="Name of a UNIX socket, the file /tmp/ipi_NAME.  [dim]\\[default: TCP][/]", metavar="NAME"),
    ] = None,
    host: Annotated[str, typer.Option(help="Name or address of the server.")] = "localhost",
    port: Annotated[int, typer.Option(help="Port of the server.", min=1, max=65535)] = 31415,
    timeout: Annotated[
        float | None,
        typer.Option(help="Longest time to wait for the next request, s.  [dim]\\[default: no limit][/]", min=0.001),
    ] = None,
    grid: GridShape = None,
    free_energy: FreeEnergyOrigin = None,
    tail: UseTail = True,
    allow_beyond_window: AllowBeyondWindow = False,
    allow_outside: AllowOutside = False,
    thermal_xc: ThermalXc = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Compute F, forces and stress for a server with the i-PI protocol, such as i-PI or ASE's SocketIOCalculator.

    The server moves the ions, and this command is its client: start the server first. The energy is F(tau_e), so that
    forces and virial are its derivatives. The command ends when the server ends.

    Example: [bold]fermisea socket aluminium Al.cif --electron-temperature 10000 --potential --unix al[/]
    """
    from fermisea.interop.ipi import serve_forces  # noqa: PLC0415  # not needed for --help
    from fermisea.prediction.plausibility import kind_of  # noqa: PLC0415  # not needed for --help

    if unix is not None and ("/" in unix or not unix):
        raise fermisea.InputError(f"--unix: got {unix!r}, expected the name NAME of a UNIX socket /tmp/ipi_NAME")
    structure = fermisea.structures.read_structure(atoms)
    calculator = fermisea.Calculator(
        fermisea.load_model(model),
        electron_temperature,
        free_energy=None if free_energy is None else free_energy.value,
        grid=grid,
        uncertainty=False,
        potential=potential,
        tail=tail,
        allow_beyond_window=allow_beyond_window,
        allow_outside=allow_outside,
        thermal_xc=thermal_xc,
        device=device,
    )
    if unknown := sorted(set(structure.symbols) - set(calculator.model.domain.elements)):
        raise fermisea.InputError(
            f"elements: got {', '.join(unknown)}, but the model knows {', '.join(calculator.model.domain.elements)}; "
            "train with data that contain them"
        )
    structure.calc = calculator
    answers, warned = 0, dict[str, str]()
    with progress_bar() as bar:
        task = bar.add_task("structures", total=None, note="")
        for answers in serve_forces(structure, unix=unix, host=host, port=port, timeout=timeout):
            bar.update(task, completed=answers)
            for sentence in calculator.warnings:
                warned.setdefault(kind_of(sentence), sentence)
    if json:
        address = {"unix": unix} if unix is not None else {"host": host, "port": port}
        numbers = {"electron_temperature": electron_temperature, "answers": answers}
        print_json(address | numbers | {"warnings": list(warned.values())})
        return
    stdout().print(f"{structure.get_chemical_formula()}: {counted(answers, 'structure')} at {electron_temperature:g} K")
