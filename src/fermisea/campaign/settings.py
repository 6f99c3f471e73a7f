"""Settings of a campaign, read from a TOML file."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from fermisea.engines import Espresso, LdosOptions, PlaneWave
from fermisea.engines.ldos import default_spacing
from fermisea.engines.ldos_memory import DEFAULT_MEMORY
from fermisea.errors import InputError
from fermisea.grid import EnergyGrid
from fermisea.utilities.toml import check_keys, read_toml


@dataclass(frozen=True)
class Campaign:
    """Settings of a campaign.

    Attributes:
        engine: DFT engine: "planewave" (embedded) or "espresso" (pw.x of Quantum ESPRESSO).
        xc: functional: "lda", "pz", "pbe" or "pbesol", or of the built-in engine at tau_e "ksdt", "corrksdt", "gdsmfb"
            or "kdt16"; by default "pbe", or for pw.x the functional of the pseudopotentials.
        cutoff: plane-wave cutoff, eV; by default the cutoff at which F is converged to 10 meV/atom with each of the
            shipped pseudopotentials, or 270 eV with others.
        kpts: k-mesh; by default the smallest mesh of each structure with a spacing of at most 0.2/Angstrom.
        shift: shift of the k-mesh, 0 or 1 along each axis; 1 shifts the mesh by half a step. By default, a given mesh
            is not shifted, and the default mesh is shifted along all axes.
        pseudopotentials: "gth", or for each element a UPF file or the name of a shipped pseudopotential; by default the
            shipped ones, with the softer one of an element whose "gth" needs a cutoff above 4000 eV.
        bands: number of bands of the embedded engine, or "all" for all states of the basis; by default a number that
            depends on tau_e.
        tail: whether the embedded engine has free electrons above the bands; by default, "auto", where tau_e is high.
        energy_spacing: energy spacing of the LDOS, eV; by default 0.2 eV, and more above 36 kK.
        broadening: broadening of the LDOS (standard deviation), eV; by default the energy spacing.
        highest_electron_temperature: highest tau_e for which the energy window is valid, K; a campaign at a higher
            tau_e takes its own.
        energy_window: first and last energy of the LDOS, eV; by default chosen for the first structure.
        grid: number of grid points of the LDOS along each lattice vector; by default chosen by the engine.
        command: command that starts pw.x, with its launcher, for example "mpirun -n 4 pw.x" or "srun pw.x".
        input_data: additional keywords of pw.x, with or without their namelists.
        memory: memory for the LDOS of a run of pw.x and the bands that are read for it, bytes; by default 2 GiB.
    """

    engine: str = "planewave"
    xc: str | None = None
    cutoff: float | None = None
    kpts: tuple[int, int, int] | None = None
    shift: tuple[int, int, int] | None = None
    pseudopotentials: str | Mapping[str, str] | None = None
    bands: int | str | None = None
    tail: bool | str = "auto"
    energy_spacing: float | None = None
    broadening: float | None = None
    highest_electron_temperature: float = 10_000.0
    energy_window: tuple[float, float] | None = None
    grid: tuple[int, int, int] | None = None
    command: str = "pw.x"
    input_data: Mapping[str, Any] = field(default_factory=dict)
    memory: float | None = None

    def __post_init__(self) -> None:
        if self.engine not in ("planewave", "espresso"):
            raise InputError(f"engine: got {self.engine!r}, expected 'planewave' or 'espresso'")
        for name in ("xc", "command"):
            value = getattr(self, name)
            if not isinstance(value, str) and not (value is None and name == "xc"):
                raise InputError(f"{name}: got {value!r}, expected text")
        for name in ("cutoff", "energy_spacing", "highest_electron_temperature", "broadening", "memory"):
            _check_number(name, getattr(self, name))
        for name, length in (("kpts", 3), ("shift", 3), ("grid", 3), ("energy_window", 2)):
            values = getattr(self, name)
            if values is not None:
                object.__setattr__(self, name, _numbers(name, values, length))
        if not isinstance(self.input_data, Mapping):
            raise InputError(f"input_data: got {self.input_data!r}, expected a table of keywords of pw.x")
        _check_entries("input_data", self.input_data)
        if not isinstance(self.pseudopotentials, str | Mapping | None):
            raise InputError(
                f"pseudopotentials: got {self.pseudopotentials!r}, expected 'gth' or a table such as {{Al = 'Al.upf'}}"
            )

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str], **changes: Any) -> Self:
        """Returns the settings of a TOML file, overridden by ``changes``.

        Raises:
            InputError: if the file is missing or not TOML, or has an unknown key or an invalid value.
        """
        values = read_toml(path, [item.name for item in fields(cls)])
        try:
            return cls.from_dict(values | changes)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Returns the settings from plain values; missing keys have their default values.

        Raises:
            InputError: for an unknown key, with a list of the known keys, or an invalid value.
        """
        check_keys(values, [item.name for item in fields(cls)], "campaign")
        return cls(**values)

    def key(self) -> bytes:
        """Returns the settings as text that results are stored with; the memory changes no result."""
        return json.dumps(
            {name: value for name, value in asdict(self).items() if name != "memory"}, sort_keys=True
        ).encode()

    def make_engine(self) -> PlaneWave | Espresso:
        """Returns the engine with these settings.

        Raises:
            InputError: for invalid settings.
        """
        spacing = self.energy_spacing
        window = None
        if self.engine == "espresso" and (self.bands is not None or self.tail != "auto"):
            raise InputError("engine: got espresso with `bands` or `tail`, which only planewave has; leave them out")
        if self.engine == "planewave" and self.memory is not None:
            raise InputError("engine: got planewave with `memory`, which only espresso has; leave it out")
        if self.energy_window is not None:
            start, stop = self.energy_window
            step = default_spacing(0.0) if spacing is None else spacing
            window = EnergyGrid.between(start, stop, step)
        ldos = LdosOptions(
            spacing=spacing,
            broadening=spacing if self.broadening is None else self.broadening,
            highest_electron_temperature=self.highest_electron_temperature,
            energy_grid=window,
            grid=self.grid,
        )
        if self.engine == "espresso":
            return Espresso(
                pseudopotentials=self.pseudopotentials or "gth",  # type: ignore[arg-type]  # it refuses a name
                cutoff=self.cutoff,
                kpts=self.kpts,
                shift=self.shift,
                xc=self.xc,
                command=self.command,
                input_data=self.input_data,
                ldos=ldos,
                memory=DEFAULT_MEMORY if self.memory is None else self.memory,
            )
        return PlaneWave(
            xc=self.xc or "pbe",
            cutoff=self.cutoff,
            kpts=self.kpts,
            shift=self.shift,
            pseudopotentials=self.pseudopotentials,  # type: ignore[arg-type]  # it refuses other names
            bands=self.bands,  # type: ignore[arg-type]  # it refuses other text, too
            tail=self.tail,  # type: ignore[arg-type]
            ldos=ldos,
        )


def _check_entries(name: str, value: Any) -> None:
    """Raises InputError if a table has numbers that are not finite, in any of its tables."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            _check_entries(f"{name}.{key}", item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        _check_number(name, value)


def _check_number(name: str, value: Any) -> None:
    if value is not None and not _is_number(value):
        raise InputError(f"{name}: got {value!r}, expected a finite number")


def _is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _numbers(name: str, values: Any, length: int) -> tuple[Any, ...]:
    kind: type | Any = float | int if name == "energy_window" else int
    good = isinstance(values, list | tuple) and len(values) == length
    if not good or any(not isinstance(x, kind) or not _is_number(x) for x in values):
        raise InputError(f"{name}: got {values!r}, expected {length} {'numbers' if length == 2 else 'integers'}")
    return tuple(values)
