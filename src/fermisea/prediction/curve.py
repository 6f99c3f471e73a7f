"""F(tau_e) between the electronic temperatures of a prediction, without a density at each of them."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicHermiteSpline, PchipInterpolator

from fermisea.physics.observables import ThermalObservables
from fermisea.prediction.result import Prediction
from fermisea.utilities.arrays import FloatArray


def free_energy_curve(prediction: Prediction, count: int = 200) -> tuple[FloatArray, FloatArray]:
    """Returns tau_e (K) and F (eV) of the cell between the lowest and the highest tau_e, (count,) each.

    The Harris-Foulkes form follows from the density of states alone: it is E_b - tau_e S plus a constant. Only the
    difference between F and the Harris-Foulkes form is interpolated. This difference is as small as the
    transfer error and vanishes at tau_ref. Between the results of several tau_ref, the curve is a cubic spline through
    every F with the slope -S. Every curve goes through every predicted F.

    Args:
        prediction: a prediction with total free energies at two or more tau_e.
        count: number of points.
    """
    dos, results = prediction.density_of_states, prediction.results
    if prediction.further_references:
        own = {r.electron_temperature: (r.free_energy, -r.entropy) for r in results}
        knots = np.array(sorted(own))
        spline = CubicHermiteSpline(knots, *np.array([own[t] for t in knots]).T)
        temperatures = np.linspace(knots[0], knots[-1], count)
        return temperatures, spline(temperatures)
    electrons = results[0].electrons

    def band_free_energy(temperature: float) -> float:
        weights = dos.weights(dos.fermi_level(electrons, temperature), temperature)
        return dos.integral(weights.band_energy - temperature * weights.entropy)

    def of_ldos(result: ThermalObservables) -> float:
        return result.band_energy - result.electron_temperature * result.ldos_entropy

    rest = {r.electron_temperature: r.free_energy - of_ldos(r) for r in results}
    harris = results[0].free_energies["harris_foulkes"] - of_ldos(results[0])
    known = {prediction.reference_electron_temperature: harris} | rest
    places = np.array(sorted(known))
    offset = PchipInterpolator(places, [known[t] for t in places])
    temperatures = np.linspace(min(rest), max(rest), count)
    return temperatures, np.array([band_free_energy(t) for t in temperatures]) + offset(temperatures)
