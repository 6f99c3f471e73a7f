"""Structures and DFT of the study; results of an earlier, interrupted run are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from ase import Atoms
from ase.build import bulk

from fermisea.campaign import Outcome, Record, run_campaign
from fermisea.data.sampling import sample
from fermisea.data.structures import read_structures, write_structure
from fermisea.errors import InputError
from fermisea.studies.transfer.settings import TransferSettings

Watch = Callable[[Record], None]
End = Callable[[Outcome], None]


def crystal(settings: TransferSettings, repeat: tuple[int, int, int] | None = None) -> Atoms:
    """Returns the perfect crystal in the cell of the study, or in another cell."""
    return bulk("Al", "fcc", a=settings.lattice_constant, cubic=True).repeat(repeat or settings.repeat)


def name_of(atoms: Atoms, ion_temperature: float, number: int) -> str:
    """Returns the name of a structure, such as ``al32-298K-00``."""
    return f"al{len(atoms)}-{ion_temperature:g}K-{number:02d}"


def scaled_name(name: str, scale: float) -> str:
    """Returns the name of a structure scaled to another lattice constant."""
    return f"{name}-scaled-{scale:g}"


@dataclass(frozen=True)
class Structures:
    """Structures of the study by name.

    Attributes:
        training: training structures at all ionic temperatures.
        scaled: training structures at other volumes.
        test: test structures.
        large: a structure of another size, or none.
    """

    training: Mapping[str, Atoms]
    scaled: Mapping[str, Atoms]
    test: Mapping[str, Atoms]
    large: Mapping[str, Atoms]

    def parts(self) -> dict[str, Mapping[str, Atoms]]:
        """Returns the four groups by name."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


def make_structures(settings: TransferSettings, folder: Path, progress: Callable[[str, int, int], None]) -> Structures:
    """Returns the structures; structures missing in the folder are sampled by molecular dynamics.

    Args:
        settings: settings of the study.
        folder: folder of the files.
        progress: callback with a title, the number of steps done and the total number of steps.
    """

    def sampled(part: str, ideal: Atoms, temperatures: tuple[float, ...], count: int, seed: int) -> dict[str, Atoms]:
        wanted: dict[str, Atoms] = {}
        for temperature in temperatures:
            names = [name_of(ideal, temperature, number) for number in range(count)]
            paths = [folder / part / f"{name}.extxyz" for name in names]
            if not all(path.exists() for path in paths):
                title = f"tau_i = {temperature:g} K, {part}"
                trajectory = sample(
                    ideal,
                    temperature,
                    count,
                    thermalise=settings.thermalise,
                    spacing=settings.spacing,
                    seed=seed,
                    progress=lambda done, of, title=title: progress(title, done, of),  # type: ignore[misc]
                )
                for path, frame in zip(paths, trajectory.frames, strict=True):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    write_structure(path, frame)
            wanted |= {
                name: next(iter(read_structures(path).values())) for name, path in zip(names, paths, strict=True)
            }
        return wanted

    ideal, every = crystal(settings), settings.ion_temperatures
    training = sampled("training", ideal, every, settings.training_snapshots, settings.seed)
    scaled = {}
    for number, scale in enumerate(settings.scales):
        source = name_of(ideal, settings.scaled_ion_temperature, number)
        atoms = training[source].copy()
        atoms.set_cell(scale * atoms.cell.array, scale_atoms=True)
        scaled[scaled_name(source, scale)] = atoms
    large = {}
    if settings.large_repeat is not None:
        other = crystal(settings, settings.large_repeat)
        large = sampled("large", other, (settings.large_ion_temperature,), 1, settings.seed + 2)
    test = sampled("test", ideal, every, settings.test_snapshots, settings.seed + 1)
    return Structures(training, scaled, test, large)


def run_dft(
    settings: TransferSettings, structures: Structures, folder: Path, *, workers: int, watch: Watch, end: End
) -> None:
    """Computes missing snapshots: training, scaled, test and large, each group in its own folder.

    Args:
        settings: settings of the study.
        structures: structures from :func:`make_structures`.
        folder: folder of the snapshots.
        workers: number of structures computed at once.
        watch: callback after every SCF iteration.
        end: callback with the result of each structure.

    Raises:
        InputError: if structures fail, after all others are done, or if a folder has snapshots with other settings.
    """
    failed: list[str] = []
    number = 0
    for part, found in structures.parts().items():
        if not found:
            continue
        outcomes = run_campaign(
            settings.campaign(part).make_engine(),
            found,
            settings.reference_electron_temperature,
            folder / part,
            workers=workers,
            retry=True,
            watch=watch,
            end=end,
        )
        number += len(outcomes)
        failed += [f"{outcome.name}: {outcome.error}" for outcome in outcomes if outcome.status == "failed"]
    if failed:
        raise InputError(f"DFT: {len(failed)} of {number} structures failed, the first is {failed[0]}")
