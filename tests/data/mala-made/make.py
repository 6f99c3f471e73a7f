"""Makes the archives of this folder with MALA 1.4.0 and LAMMPS, and writes MALA's own predictions to predictions.json.

Run with a Python that has both: ``python make.py BE2``, BE2 being a folder with MALA's files of two beryllium atoms.
"""

import json
import sys
import tempfile
import zipfile
from pathlib import Path

import mala
import numpy as np
import torch
from ase import Atoms
from mala.datahandling.data_scaler import DataScaler

HERE = Path(__file__).parent
COMPUTE = """
units metal
atom_style atomic
boundary p p p
box tilt large
read_data ${{atom_config_fname}}
mass * 1.0
pair_style zero ${{rcutfac}}
pair_coeff * *
compute bgrid all sna/grid grid ${{ngridx}} ${{ngridy}} ${{ngridz}} ${{rcutfac}} 0.99363 ${{twojmax}} &
    {radii} {weights} rmin0 0.0 bzeroflag 0 quadraticflag 0 switchflag ${{switch}}
thermo 1
run 0
"""

CASES = {
    # one name for all layers, the output layer included
    "string": {
        "layer_activations": "LeakyReLU",
        "hidden": [12],
        "scalers": ("feature-wise-standard", "minmax"),
        "restrict": "zero_out_negative",
    },
    # layer by layer, none on the last two
    "list": {
        "layer_activations": ["Tanh", None, "Sigmoid"],
        "hidden": [12, 8, 8],
        "scalers": ("minmax", "feature-wise-standard"),
        "restrict": "absolute_values",
    },
    # a list of one entry, which 1.4 reads as exactly that
    "single": {
        "layer_activations": ["ReLU"],
        "hidden": [12, 8],
        "scalers": ("feature-wise-minmax", "standard"),
        "restrict": None,
    },
    # one name, not on the output layer; scalers of total statistics
    "hidden-only": {
        "layer_activations": "Sigmoid",
        "include_output": False,
        "hidden": [12],
        "scalers": ("standard", "feature-wise-minmax"),
        "restrict": "zero_out_negative",
    },
    # an energy grid in two parts of different spacing, no scaling of the output, pickled scalers
    "split": {
        "layer_activations": "LeakyReLU",
        "include_output": False,
        "hidden": [12],
        "scalers": ("feature-wise-standard", "None"),
        "restrict": "zero_out_negative",
        "grid": ([6, 3], [-5.0, 7.5], [2.5, 5.0]),
        "pickled": True,
    },
    # two elements with weights
    "albe": {
        "layer_activations": "Tanh",
        "include_output": False,
        "hidden": [12],
        "scalers": ("feature-wise-standard", "standard"),
        "restrict": "zero_out_negative",
        "weights": [0.5, 1.0],
    },
}


def albe(folder: Path) -> Path:
    """An .info.json for two displaced atoms in a B2 cell; there is no DFT run behind it."""
    cell = np.diag([2.89, 2.95, 3.05])
    atoms = Atoms("AlBe", positions=[[0.05, 0.1, -0.02], [1.5, 1.4, 1.6]], cell=cell, pbc=True)
    data = {
        "fermi_energy_dft": 8.0,
        "temperature": 1000.0,
        "number_of_electrons_exact": 7.0,
        "band_energy_dft_calculation": None,
        "total_energy_dft_calculation": None,
        "grid_dimensions": [6, 7, 8],
        "electrons_per_atom": 3.5,
        "number_of_electrons_from_eigenvals": None,
        "ibrav": 0,
        "ecutwfc": 40.0,
        "ecutrho": 160.0,
        "degauss": 0.0063,
        "pseudopotentials": {"Al": "PD_Al_std.upf", "Be": "PD_Be_std.upf"},
        "entropy_contribution_dft_calculation": None,
        "voxel": {"array": (cell / np.array([[6], [7], [8]])).tolist()},
        "atoms": {key: np.asarray(value).tolist() for key, value in atoms.todict().items()},
    }
    path = folder / "albe.info.json"
    path.write_text(json.dumps(data, indent=1))
    return path


def made_up_ldos(descriptors: torch.Tensor, energies: int) -> torch.Tensor:
    """A smooth positive LDOS for 7 electrons in 26 A^3 below 8 eV."""
    height = 1 + 0.2 * torch.tanh(descriptors[:, 2:3] / descriptors[:, 2:3].mean() - 1)
    return 0.02 * height * torch.linspace(0.6, 1.4, energies)[None]


def lammps_input(folder: Path, elements: int) -> Path:
    """An input that computes what MALA's own does."""
    radii = " ".join(["0.5"] * elements)
    weights = "1.0" if elements == 1 else " ".join(f"${{wj{k + 1}}}" for k in range(elements))
    path = folder / f"in.{elements}"
    path.write_text(COMPUTE.format(radii=radii, weights=weights))
    return path


def make(name: str, case: dict, be2: Path, folder: Path) -> dict:
    """Trains a small network for a while, saves it with MALA, loads it again and predicts."""
    torch.manual_seed(len(name))
    info = albe(folder) if name == "albe" else be2 / "Be_snapshot0.info.json"
    elements = 2 if name == "albe" else 1
    p = mala.Parameters()
    p.verbosity = 0
    p.descriptors.bispectrum_twojmax, p.descriptors.bispectrum_cutoff = 4, 4.67637
    p.descriptors.bispectrum_element_weights = case.get("weights")
    p.descriptors.custom_lammps_compute_file = str(lammps_input(folder, elements))
    p.targets.target_type = "LDOS"
    p.targets.ldos_gridsize, p.targets.ldos_gridoffset_ev, p.targets.ldos_gridspacing_ev = case.get(
        "grid", (11, -5, 2.5)
    )
    p.targets.restrict_targets = case["restrict"]
    p.data.input_rescaling_type, p.data.output_rescaling_type = case["scalers"]
    calculator = mala.Descriptor(p)
    values, _ = calculator.calculate_from_json(str(info), str(folder))
    x = torch.tensor(values[..., 3:].reshape(-1, values.shape[-1] - 3)).float()
    if name == "albe":
        y = made_up_ldos(x, 11)
    else:
        y = torch.tensor(np.load(be2 / "Be_snapshot0.out.npy").reshape(-1, 11)).float()
        if "grid" in case:
            y = y[:, [0, 1, 2, 3, 4, 5, 7, 9]]
    scalers = DataScaler(case["scalers"][0]), DataScaler(case["scalers"][1])
    scalers[0].fit(x)
    scalers[1].fit(y)
    p.network.layer_sizes = [x.shape[1], *case["hidden"], y.shape[1]]
    p.network.layer_activations = case["layer_activations"]
    p.network.layer_activations_include_output_layer = case.get("include_output", True)
    network = mala.Network(p)
    scaled_x, scaled_y = (s.transform(v.clone()) for s, v in zip(scalers, (x, y), strict=True))
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(300):
        optimiser.zero_grad()
        network.calculate_loss(network(scaled_x), scaled_y).backward()
        optimiser.step()

    data = mala.DataHandler(p, input_data_scaler=scalers[0], output_data_scaler=scalers[1])
    data.target_calculator.read_additional_calculation_data(str(info))
    compute, p.descriptors.custom_lammps_compute_file = p.descriptors.custom_lammps_compute_file, ""
    runner = mala.Trainer.__new__(mala.Trainer)
    mala.network.runner.Runner.__init__(runner, p, network, data)
    runner.save_run(name, str(HERE), zip_run=True, additional_calculation_data=True)

    parameters, network, data, predictor = mala.Predictor.load_run(name, path=str(HERE))
    parameters.descriptors.custom_lammps_compute_file = compute
    ldos = predictor.predict_for_atoms(data.target_calculator.atoms)
    rows = ldos.reshape(-1, ldos.shape[-1])
    if case.get("pickled"):
        _pickle_scalers(name, scalers)
    target = data.target_calculator
    target.read_from_array(ldos)
    mu = target.get_self_consistent_fermi_energy()
    return {
        "rows": {str(k): rows[k].tolist() for k in (0, 17, len(rows) // 2, len(rows) - 1)},
        "sum": float(rows.sum(dtype=np.float64)),
        "negative": int((rows < 0).sum()),
        "fermi_level": float(mu),
        "band_energy": float(target.get_band_energy(fermi_energy=mu)),
        "minus_TS": float(target.get_entropy_contribution(fermi_energy=mu)),
    }


def _pickle_scalers(name: str, scalers: tuple[DataScaler, DataScaler]) -> None:
    """Puts pickles in the place of the JSON scalers, as MALA before 1.4 wrote them."""
    with zipfile.ZipFile(HERE / f"{name}.zip") as archive:
        files = {entry: archive.read(entry) for entry in archive.namelist() if "scaler" not in entry}
    with tempfile.TemporaryDirectory() as folder:
        for kind, scaler in zip(("iscaler", "oscaler"), scalers, strict=True):
            path = Path(folder) / f"{name}.{kind}.pkl"
            scaler.save(str(path), save_format="pickle")
            files[path.name] = path.read_bytes()
    with zipfile.ZipFile(HERE / f"{name}.zip", "w") as archive:
        for entry, content in files.items():
            archive.writestr(entry, content)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        made = {name: make(name, case, Path(sys.argv[1]), Path(scratch)) for name, case in CASES.items()}
    (HERE / "predictions.json").write_text(json.dumps(made, indent=1) + "\n")
