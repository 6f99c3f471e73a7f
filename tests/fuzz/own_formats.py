"""Formats of the package: snapshots, models, checkpoints, settings, folders of campaigns and of results."""

from __future__ import annotations

import contextlib
import hashlib
import random
from dataclasses import replace
from json import dumps, loads
from pathlib import Path
from typing import Any

import torch
from ase.build import bulk
from matplotlib.figure import Figure

import fermisea
from fermisea import structures
from fermisea.campaign import Campaign, run_campaign
from fermisea.data.dataset import Dataset
from fermisea.model import blend_models
from fermisea.model import file as model_file
from fermisea.physics.ions import CoreCharge
from fermisea.plots import save_figure
from fermisea.report import Section, read_sections, write_report, write_sections
from fermisea.training import TrainingConfig, train
from fermisea.utilities.tables import write_csv
from fuzz.containers import mutated_hdf5, mutated_safetensors
from fuzz.kinds import Format
from fuzz.mutations import mutated_bytes, mutated_json, mutated_text, mutated_toml, mutated_tree
from synthetic import made_up_snapshot, structure
from test_prediction import random_model

TEMPERATURE = 3000.0
CAMPAIGN: dict[str, Any] = {
    "engine": "planewave",
    "xc": "lda",
    "cutoff": 80.0,
    "kpts": [2, 2, 2],
    "shift": [0, 0, 0],
    "pseudopotentials": "gth",
    "energy_spacing": 0.5,
    "broadening": 0.5,
    "highest_electron_temperature": 5000.0,
}
HOT: dict[str, Any] = CAMPAIGN | {"xc": "kdt16", "bands": 24, "tail": True, "highest_electron_temperature": 60_000.0}
WHOLE: dict[str, Any] = CAMPAIGN | {"xc": "gdsmfb", "bands": "all", "tail": "auto", "highest_electron_temperature": 6e6}
WINDOW: dict[str, Any] = {
    "engine": "espresso",
    "pseudopotentials": {"Al": "Al.upf"},
    "energy_window": [-5.0, 20.0],
    "grid": [8, 8, 8],
    "command": "mpirun -n 2 pw.x",
    "input_data": {"system": {"nbnd": 12}, "conv_thr": 1e-8},
}
TRAINING = TrainingConfig(
    order=2, cutoff=4.0, hidden=(8,), epochs=2, batch_size=64, validation_fraction=0.0, anchor=False
)


def bytes_of_file(name: str) -> Any:
    """A damage to the bytes of one file."""

    def damage(rng: random.Random, folder: Path) -> str:
        content, change = mutated_bytes(rng, (folder / name).read_bytes())
        (folder / name).write_bytes(content)
        return change

    return damage


def _snapshot(folder: Path) -> None:
    made_up_snapshot(0, shape=(4, 4, 4)).save(folder / "al.nc")


def _hot_snapshot(folder: Path) -> None:
    """A snapshot with the data of a tail and of exchange and correlation at tau_e."""
    cold = made_up_snapshot(0, shape=(4, 4, 4))
    parts = {"total": cold.reference.free_energy, "tail_kinetic": 3.5, "tail_potential": -1.25}
    hot = {"xc_entropy_term": -0.04, "tail_electrons": 0.3, "tail_bottom": -4.5, "mean_potential": -5.0}
    values = {name: getattr(cold, name) for name in (*snapshot_values, "provenance", "ldos") if name != "dos"}
    values |= {"reference": replace(cold.reference, parts=parts, **hot), "functional": "kdt16"}
    fermisea.Snapshot(**values).save(folder / "al.nc")


def _read_hot_snapshot(folder: Path) -> Any:
    """Everything that was read, and observables above the window from it."""
    values = _read_snapshot(folder)
    snapshot = fermisea.Snapshot.load(folder / "al.nc")
    asked = 1.2 * snapshot.highest_electron_temperature
    hot = "kdt16" if snapshot.functional == "pbe" else None
    (found,) = snapshot.observables(min(max(asked, TEMPERATURE), 1e9), thermal_xc=hot)
    numbers = ("free_energy", "entropy", "heat_capacity", "fermi_level", "tail_electrons", "tail_error")
    whole = {name: getattr(found, name) for name in numbers} if found.free_energies else {}
    return values | {"hot": whole}


def _sealed(rng: random.Random, folder: Path) -> str:
    """A snapshot file whose content was changed and whose checksum is right."""
    path = folder / "al.nc"
    data = path.read_bytes()
    mark = data.rindex(b"\nfermisea sha256 ")
    path.write_bytes(data[:mark])
    change = mutated_hdf5(rng, path)
    content = path.read_bytes()
    path.write_bytes(content + b"\nfermisea sha256 " + hashlib.sha256(content).hexdigest().encode())
    return change


def _read_snapshot(folder: Path) -> Any:
    snapshot = fermisea.Snapshot.load(folder / "al.nc", verify=True)
    values = {name: getattr(snapshot, name) for name in snapshot_values}
    return values | {"ldos": snapshot.ldos, "part": snapshot.read_ldos(slice(0, 10))}


snapshot_values = (
    "atoms", "grid", "energy_grid", "density", "dos", "electron_temperature", "ion_temperature", "broadening",
    "reference", "ions", "functional", "total_energy_obstacle",
)  # fmt: skip


def _model(folder: Path) -> None:
    values = torch.exp(-torch.arange(40, dtype=torch.float64) / 10).numpy()
    random_model("float32", CoreCharge(0.5, values)).save(folder / "al.safetensors")


def _parted_model(folder: Path) -> None:
    model = random_model("float32")
    hot = replace(model, reference_electron_temperature=10_000.0)
    blend_models([model, hot]).save(folder / "al.safetensors")


def _sealed_model(rng: random.Random, folder: Path) -> str:
    def reseal(header: dict[str, Any], tensors: Any) -> None:
        with contextlib.suppress(KeyError, TypeError, ValueError):  # without a version there is no checksum
            header["checksum"] = model_file._checksum(header, tensors)

    return mutated_safetensors(rng, folder / "al.safetensors", reseal)


def _read_model(folder: Path) -> Any:
    model = fermisea.load_model(folder / "al.safetensors")
    names = ("network", "energy_grid", "broadening", "elements", "ions", "functional", "reference_electron_temperature")
    more = ("highest_electron_temperature", "grid_spacing", "total_energy_obstacle")
    values = {name: getattr(model, name) for name in names + more}
    hotter = [(part.network, part.energy_grid, part.reference_electron_temperature) for part in model.hotter]
    return values | {"descriptor": model.descriptor.to_dict(), "hotter": hotter}


def _dataset() -> Dataset:
    return Dataset((made_up_snapshot(1, shape=(4, 4, 4)),), ("made-up",))


def _checkpoint(folder: Path) -> None:
    train(_dataset(), TRAINING, checkpoint=folder / "al.checkpoint")


def _damaged_checkpoint(rng: random.Random, folder: Path) -> str:
    if rng.random() < 0.4:
        return str(bytes_of_file("al.checkpoint")(rng, folder))
    return mutated_safetensors(rng, folder / "al.checkpoint", None)


def _resumed(folder: Path) -> Any:
    model = train(_dataset(), TRAINING, checkpoint=folder / "al.checkpoint", resume=True)
    return {"network": model.network, "highest": model.highest_electron_temperature}


def _toml_of(name: str, values: dict[str, Any]) -> Any:
    def damage(rng: random.Random, folder: Path) -> str:
        content, change = mutated_toml(rng, values)
        (folder / name).write_bytes(content)
        return change

    return damage


def _settings(rng: random.Random, folder: Path) -> str:
    return str(_toml_of("dft.toml", rng.choice((CAMPAIGN, HOT, WHOLE, WINDOW)))(rng, folder))


def _read_settings(folder: Path) -> Any:
    campaign = Campaign.from_toml(folder / "dft.toml")
    if campaign.engine == "planewave":
        engine = campaign.make_engine()
        engine.provenance(["Al"])
        return campaign, engine.ldos
    return campaign


OPTIONS: dict[str, Any] = {
    "electron_temperature": [1000.0, 12_000.0],
    "tail": True,
    "thermal_xc": "kdt16",
    "allow_beyond_window": True,
    "integration": "sharpened",
    "density": True,
    "free_energy": "ldos",
}


def _options(folder: Path) -> None:
    replace(random_model(), functional="pbe").save(folder / "al.safetensors")
    structures.write_structure(folder / "al.extxyz", structure(7))
    (folder / "options.json").write_text(dumps(OPTIONS), encoding="utf-8")


def _damaged_options(rng: random.Random, folder: Path) -> str:
    """Values of options changed or left out; their names stay."""
    tree, change = mutated_tree(rng, OPTIONS)
    known = {name: value for name, value in tree.items() if name in OPTIONS}
    (folder / "options.json").write_text(dumps(known), encoding="utf-8")
    return change


def _predicted(folder: Path) -> Any:
    options = loads((folder / "options.json").read_text(encoding="utf-8"))
    atoms = structures.read_structure(folder / "al.extxyz")
    model = fermisea.load_model(folder / "al.safetensors")
    return model.predict(
        atoms, options.pop("electron_temperature", 1000.0), (4, 4, 4), allow_outside=True, **options
    ).rows()


def _predict_command(folder: Path) -> list[str]:
    """The command with the same temperatures and functional, where words can say them."""
    options = loads((folder / "options.json").read_text(encoding="utf-8"))
    asked = options.get("electron_temperature", 1000.0)
    words = [str(t) for t in (asked if isinstance(asked, list) else [asked])]
    command = ["predict", str(folder / "al.safetensors"), str(folder / "al.extxyz"), "--grid", "4", "4", "4", "--json"]
    command += ["--allow-outside", "--allow-beyond-window", *(["--no-tail"] if options.get("tail") is False else [])]
    hot = options.get("thermal_xc")
    return [*command, *(["--thermal-xc", str(hot)] if hot is not None else []), "--electron-temperature", *words]


def _read_training(folder: Path) -> Any:
    config = TrainingConfig.from_toml(folder / "train.toml")
    if max(config.order, config.twojmax) <= 12:  # tables of higher orders take minutes to make, rightly
        config.make_descriptor(["Al"])
    return config.to_dict()


def _campaign(folder: Path) -> None:
    run_campaign(Campaign.from_dict(CAMPAIGN).make_engine(), {"one": bulk("Al", "fcc", a=4.05)}, TEMPERATURE, folder)


def _damaged_folder(rng: random.Random, folder: Path) -> str:
    """A snapshot, a record or the log of a campaign changed, removed, or exchanged for a folder or a link."""
    path = folder / rng.choice(
        ("one.nc", ".campaign/one.json", ".campaign/one.json", ".campaign/log", ".campaign/lock")
    )
    match rng.randrange(8):
        case 0:
            path.unlink()
            return f"{path.name} removed"
        case 1 if path.name != "log":
            path.unlink()
            path.mkdir()
            return f"{path.name} became a folder"
        case 2:
            path.unlink()
            path.symlink_to(rng.choice((path.name, "/nothing", "/dev/null")))
            return f"{path.name} became a link to {path.readlink()}"
        case 3:
            (folder / ".campaign" / "two.json").write_bytes(rng.choice((b"", b"{}", b"[" * 100_000, b"null", b"\xff")))
            return "another record"
    data = path.read_bytes()
    content, change = (mutated_json if path.suffix == ".json" else mutated_bytes)(rng, data)
    path.write_bytes(content)
    return f"{path.name}: {change}"


def _run_again(folder: Path) -> Any:
    engine = Campaign.from_dict(CAMPAIGN).make_engine()
    (outcome,) = run_campaign(engine, {"one": bulk("Al", "fcc", a=4.05)}, TEMPERATURE, folder)
    if outcome.status == "failed":
        text = outcome.error or ""
        error = RuntimeError if " in " in text and ", line " in text else fermisea.InputError
        raise error(text)
    assert outcome.snapshot is not None
    ldos = outcome.snapshot.ldos
    return {"F": round(outcome.snapshot.reference.free_energy, 6), "ldos": ldos.astype(float).round(5)}


def _results(folder: Path) -> None:
    figure = Figure(figsize=(1, 1))
    figure.subplots().plot([0, 1], [0, 1])
    save_figure(figure, folder / "line")
    write_csv(folder / "errors.csv", [{"tau_e (K)": 300.0 * k, "F (eV)": -1.25 * k, "name": "a"} for k in range(1, 5)])
    sections = [Section("Errors", ("A text.",), ("line.png",), ("errors.csv",))]
    write_sections(folder, "Title", sections, "made by a test")


def _damaged_results(rng: random.Random, folder: Path) -> str:
    name = rng.choice(("report.json", "report.json", "errors.csv", "line.png"))
    path = folder / name
    data = path.read_bytes()
    if name == "errors.csv" and rng.random() < 0.7:
        text, change = mutated_text(rng, data.decode())
        path.write_bytes(text.encode(errors="replace"))
    else:
        content, change = (mutated_json if name == "report.json" else mutated_bytes)(rng, data)
        path.write_bytes(content)
    return f"{name}: {change}"


def _page(folder: Path) -> Any:
    title, sections, provenance = read_sections(folder)
    page = write_report(folder).read_bytes()
    return {"title": title, "sections": sections, "provenance": provenance, "page": page}


def _info(name: str) -> Any:
    return lambda folder: ["info", str(folder / name), "--json"]


FORMATS = (
    Format("snapshot", _snapshot, bytes_of_file("al.nc"), _read_snapshot, _info("al.nc"), checked=True),
    Format("snapshot, resealed", _snapshot, _sealed, _read_snapshot, _info("al.nc")),
    Format("snapshot, hot, resealed", _hot_snapshot, _sealed, _read_hot_snapshot, _info("al.nc")),
    Format("model", _model, bytes_of_file("al.safetensors"), _read_model, _info("al.safetensors"), checked=True),
    Format("model, resealed", _model, _sealed_model, _read_model, _info("al.safetensors")),
    Format("model, two tau_ref, resealed", _parted_model, _sealed_model, _read_model, _info("al.safetensors")),
    Format("checkpoint", _checkpoint, _damaged_checkpoint, _resumed),
    Format("TOML of dft", lambda folder: (folder / "dft.toml").touch(), _settings, _read_settings),
    Format(
        "TOML of train",
        lambda folder: (folder / "train.toml").touch(),
        _toml_of("train.toml", replace(TRAINING, element_weights={"Al": 1.0}).to_dict()),
        _read_training,
    ),
    Format("options of a prediction", _options, _damaged_options, _predicted, _predict_command),
    Format("folder of a campaign", _campaign, _damaged_folder, _run_again, checked=True),
    Format("folder of results", _results, _damaged_results, _page, lambda folder: ["report", str(folder), "--json"]),
)
