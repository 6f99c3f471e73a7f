"""MALA's side of mala_training.py; runs in the environment of the peers, as a worker. See peers.py."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from common import Clock, serve
from peer_worker import lammps_script

SETTINGS = "mala_settings.json"
PREDICTED = "predicted.npy"
"""LDOS predicted by the trained network for the first validation snapshot."""


def train(
    folder: str,
    training: list[str],
    validation: list[str],
    widths: list[int],
    epochs: int,
    batch: int = 40,
    rate: float = 1e-3,
) -> dict[str, Any]:
    """Returns the validation loss after each epoch of MALA's own training on exported files, layers' sizes and seconds.

    The run is saved as ``run.zip``, the LDOS that it predicts as ``PREDICTED``.

    Args:
        folder: folder of the files.
        training: names of snapshots.
        validation: names of others.
        widths: widths of the hidden layers.
        epochs: number of them.
        batch: points of an update.
        rate: learning rate of Adam.
    """
    import mala  # noqa: PLC0415  # slow
    import torch  # noqa: PLC0415

    parameters = _parameters(mala, folder)
    parameters.data.input_rescaling_type = "feature-wise-standard"
    parameters.data.output_rescaling_type = "minmax"
    parameters.data.use_fast_tensor_data_set = True
    parameters.running.mini_batch_size = batch
    parameters.running.learning_rate = rate
    parameters.running.optimizer = "Adam"
    parameters.running.max_number_epochs = 0
    parameters.manual_seed = 1
    handler = mala.DataHandler(parameters)
    for kind, names in (("tr", training), ("va", validation)):
        for name in names:
            calculation = str(Path(folder) / f"{name}.info.json")
            handler.add_snapshot(
                f"{name}.in.npy", folder, f"{name}.out.npy", folder, kind, calculation_output_file=calculation
            )
    handler.prepare_data()
    parameters.network.layer_sizes = [handler.input_dimension, *widths, handler.output_dimension]
    parameters.network.layer_activations = "LeakyReLU"
    trainer = mala.Trainer(parameters, mala.Network(parameters), handler)
    losses, clock, spent = [], Clock(), 0.0
    for epoch in range(epochs):
        parameters.running.max_number_epochs = epoch + 1
        trainer._last_epoch = epoch  # noqa: SLF001  # goes on from there, as after a checkpoint
        with clock:
            trainer.train_network()
        spent += clock.seconds
        losses.append(float(trainer.final_validation_loss))
    trainer.save_run("run", path=folder, save_runner=False, zip_run=True)
    network = trainer.network.eval()
    inputs = np.load(Path(folder) / f"{validation[0]}.in.npy")[..., _positions(parameters) :]
    with torch.no_grad():
        scaled = torch.from_numpy(inputs.reshape(-1, inputs.shape[-1]).copy())
        handler.input_data_scaler.transform(scaled)
        outputs = handler.output_data_scaler.inverse_transform(network(scaled), as_numpy=True)
    outputs = handler.target_calculator.restrict_data(outputs)
    np.save(Path(folder) / PREDICTED, outputs.reshape(*inputs.shape[:-1], -1))
    return {"sizes": parameters.network.layer_sizes, "losses": losses, "seconds": spent}


def training_rate(folder: str, sizes: list[int], batch: int, points: int) -> dict[str, float]:
    """Returns grid points per second of an epoch of MALA's Trainer on random data, after a first one, and cores busy.

    Args:
        folder: folder for the files, kept for further calls.
        sizes: sizes of all layers.
        batch: points of an update.
        points: lowest number of points in the epoch.
    """
    import mala  # noqa: PLC0415  # slow

    side = round(points ** (1 / 3) + 0.5)
    generator = np.random.default_rng(0)
    for name, shape in (("large", (side,) * 3), ("small", (10, 10, 10))):
        if not (Path(folder) / f"{name}.in.npy").exists():
            inputs = generator.random((*shape, sizes[0] + 3), dtype=np.float32)
            np.save(Path(folder) / f"{name}.in.npy", inputs)
            np.save(Path(folder) / f"{name}.out.npy", generator.random((*shape, sizes[-1]), dtype=np.float32))
    parameters = mala.Parameters()
    parameters.verbosity = 0
    parameters.targets.target_type = "LDOS"
    parameters.targets.ldos_gridsize = sizes[-1]
    parameters.targets.ldos_gridspacing_ev = 0.1
    parameters.targets.ldos_gridoffset_ev = -10
    parameters.data.use_fast_tensor_data_set = True
    parameters.data.input_rescaling_type = "feature-wise-standard"
    parameters.data.output_rescaling_type = "minmax"
    parameters.running.mini_batch_size = batch
    parameters.running.learning_rate = 1e-3
    parameters.running.optimizer = "Adam"
    parameters.running.max_number_epochs = 0
    handler = mala.DataHandler(parameters)
    for kind, name in (("tr", "large"), ("va", "small")):
        handler.add_snapshot(f"{name}.in.npy", folder, f"{name}.out.npy", folder, kind)
    handler.prepare_data()
    parameters.network.layer_sizes = list(sizes)
    parameters.network.layer_activations = "LeakyReLU"
    trainer = mala.Trainer(parameters, mala.Network(parameters), handler)
    clock = Clock()
    for epoch in range(2):
        parameters.running.max_number_epochs = epoch + 1
        trainer._last_epoch = epoch  # noqa: SLF001  # goes on from there, as after a checkpoint
        with clock:
            trainer.train_network()
    return {"points_per_s": side**3 / clock.seconds, "cores": clock.cores}


def observables(folder: str, snapshot: str, electron_temperatures: list[float]) -> dict[str, Any]:
    """Returns the results of MALA for one exported LDOS: electrons, mu, E_b and -TS at each tau_e, and its metadata."""
    import mala  # noqa: PLC0415  # slow

    parameters = _parameters(mala, folder)
    parameters.targets.restrict_targets = None
    ldos = mala.LDOS.from_numpy_file(parameters, str(Path(folder) / f"{snapshot}.out.npy"))
    ldos.read_additional_calculation_data(str(Path(folder) / f"{snapshot}.info.json"))
    dos = ldos.get_density_of_states()
    states = mala.DOS.from_ldos_calculator(ldos)
    found: dict[str, Any] = {
        "facts": ldos.write_additional_calculation_data("", return_string=True),
        "dos": np.asarray(dos).tolist(),
    }
    keys = ("electrons", "fermi_level", "band_energy", "entropy_term", "density_electrons")
    for tau in electron_temperatures:
        mu = states.get_self_consistent_fermi_energy(dos, temperature=tau)
        density = mala.Density.from_ldos_calculator(ldos)
        field = ldos.get_density(fermi_energy=mu, temperature=tau)
        values = (
            states.get_number_of_electrons(dos, mu, tau),
            mu,
            states.get_band_energy(dos, mu, tau),
            states.get_entropy_contribution(dos, mu, tau),
            density.get_number_of_electrons(field),
        )
        for key, value in zip(keys, values, strict=True):
            found.setdefault(key, []).append(float(value))
    return found


def descriptors(folder: str, snapshot: str) -> dict[str, Any]:
    """Returns the differences of MALA's own from the exported descriptors, relative to the largest of each."""
    import mala  # noqa: PLC0415  # slow

    parameters = _parameters(mala, folder)
    exported = np.load(Path(folder) / f"{snapshot}.in.npy")
    with tempfile.TemporaryDirectory() as scratch:
        parameters.descriptors.custom_lammps_compute_file = str(lammps_script(Path(scratch)))
        calculator = mala.Descriptor(parameters)
        os.chdir(scratch)
        own, _ = calculator.calculate_from_json(str(Path(folder) / f"{snapshot}.info.json"), scratch)
        os.chdir(folder)
    scale = abs(own).max(axis=(0, 1, 2))
    first = _positions(parameters)
    return {
        "shape": list(own.shape),
        "positions": float(abs(own - exported)[..., :first].max(initial=0.0)),
        "descriptors": float((abs(own - exported)[..., first:] / scale[first:]).max()),
    }


def _positions(parameters: Any) -> int:
    """Returns the number of columns with positions."""
    return 3 if parameters.descriptors.descriptors_contain_xyz else 0


def _parameters(mala: Any, folder: str) -> Any:
    parameters = mala.Parameters()
    parameters.verbosity = 0
    groups = json.loads((Path(folder) / SETTINGS).read_text(encoding="utf-8"))
    for group, values in groups.items():
        for name, value in values.items():
            setattr(getattr(parameters, group), name, value)
    return parameters


if __name__ == "__main__":
    serve(train, training_rate, observables, descriptors)
