"""Two-temperature molecular dynamics: electrons heated by a laser pulse and coupled to moving ions.

The electrons are in equilibrium at tau_e with the ions where they are, so that the positions R and tau_e alone are
their state: free energy F(R, tau_e), entropy S = -dF/dtau_e, heat capacity C_e = tau_e dS/dtau_e, and internal energy
U = F + tau_e S, which includes the interaction of the ions. With the forces f = -dF/dR at fixed tau_e,

    dU = dF + d(tau_e S) = -f.dR + tau_e dS

so that -f is the derivative of U at fixed S, too. If S is constant, moving ions therefore conserve U + K, where K is
their kinetic energy, and tau_e follows the motion. Heat enters through S alone. The pulse brings the power P, and the
ions take the power Q = G(tau_e) V (tau_e - tau_i) as kinetic energy:

    tau_e dS/dt = P - Q,     dK/dt = f.v + Q,     d(K + U)/dt = P

A time step dt consists of exactly solvable parts, in an order that is the same forwards and backwards in time: kick of
the velocities by f for dt/2; exchange of heat for dt/2 at fixed ions; motion for dt at constant velocities and constant
S; exchange; kick. In an exchange, U changes by the pulse minus the transfer, and K by the transfer, which rescales the
velocities: K + U minus the absorbed energy is the same before and after it. At constant S the step is velocity Verlet
for the potential energy U(R, S). Hence K + U minus the absorbed energy is conserved up to the error of velocity Verlet,
which falls with dt^2: its mean is a fraction (omega dt)^2 / 8 of the heat in a vibration of frequency omega. Forces are
needed once in a step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ase.units
import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.constraints import FixCom
from ase.md.md import MolecularDynamics

from fermisea.errors import ConvergenceError, InputError
from fermisea.utilities.arrays import FloatArray

_CLOSE = 1e-6
"""Relative change of tau_e at which Newton's iteration ends; its error is the square of this."""

_MOST = 50
"""Largest number of iterations for tau_e."""

_WIDTH = 2 * math.sqrt(2 * math.log(2))
"""Full width at half maximum of a Gaussian over its standard deviation."""


@dataclass(frozen=True)
class LaserPulse:
    """Absorbed laser pulse, a Gaussian in time.

    Attributes:
        energy: absorbed energy, eV per atom.
        duration: full width at half maximum, fs.
        centre: time of the maximum, fs.
    """

    energy: float
    duration: float
    centre: float

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            InputError: for a negative energy, a duration that is not above 0, or a value that is not finite.
        """
        if not (math.isfinite(self.energy) and self.energy >= 0):
            raise InputError(f"pulse: got an absorbed energy of {self.energy} eV/atom, expected a finite value >= 0")
        if not (math.isfinite(self.duration) and self.duration > 0 and math.isfinite(self.centre)):
            raise InputError(
                f"pulse: got a duration of {self.duration} fs and a centre at {self.centre} fs, expected a finite "
                "duration above 0 and a finite centre"
            )

    def absorbed(self, time: float) -> float:
        """Returns the energy absorbed until a time in fs, eV per atom."""
        return self.energy / 2 * (1 + math.erf((time - self.centre) * _WIDTH / (math.sqrt(2) * self.duration)))


@dataclass(frozen=True, eq=False)
class CouplingTable:
    """Electron-phonon coupling as a table, linear between its points and constant beyond its ends.

    Attributes:
        electron_temperature: tau_e, ascending, (n,), K.
        coupling: G, (n,), eV/(ps K Angstrom^3), as in :class:`fermisea.Thermodynamics`.
    """

    electron_temperature: npt.ArrayLike
    coupling: npt.ArrayLike

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            InputError: for temperatures that do not ascend, or values that are negative, not finite or not as many.
        """
        temperatures, values = self._columns()
        if temperatures.ndim != 1 or temperatures.shape != values.shape or not temperatures.size:
            raise InputError(
                f"coupling: got {temperatures.size} temperatures and {values.size} values of G, expected as many"
            )
        if not (np.isfinite(temperatures).all() and (np.diff(temperatures) > 0).all()):
            raise InputError("coupling: expected finite electronic temperatures in ascending order, K")
        if not (np.isfinite(values).all() and (values >= 0).all()):
            raise InputError("coupling: expected finite values of G of at least 0, eV/(ps K Å^3)")

    def __call__(self, electron_temperature: float) -> float:
        """Returns G at a tau_e, K."""
        return float(np.interp(electron_temperature, *self._columns()))

    def _columns(self) -> tuple[FloatArray, FloatArray]:
        """Returns both columns as arrays."""
        return np.asarray(self.electron_temperature, dtype=float), np.asarray(self.coupling, dtype=float)


class TwoTemperatureDynamics(MolecularDynamics):
    """Molecular dynamics of ions and of the heat of the electrons, see :mod:`fermisea.dynamics.two_temperature`.

    The calculator of the atoms is a :class:`fermisea.Calculator`, best with ``potential=True``; its
    ``electron_temperature`` is the initial tau_e, and holds tau_e of the moment during the run. Like other dynamics of
    ASE it runs with ``run(steps)`` and takes observers with ``attach``.

    The transfer rescales the velocities of all ions relative to the centre of mass: it has no random forces, and does
    not distinguish phonons.

    Attributes:
        pulse: the absorbed pulse; None without one.
        absorbed: energy absorbed from the pulse so far, eV.
        transferred: energy that the electrons have given to the ions through G so far, eV.
    """

    def __init__(
        self,
        atoms: Atoms,
        timestep: float,
        *,
        coupling: float | Callable[[float], float],
        pulse: LaserPulse | None = None,
        **options: Any,
    ) -> None:
        """Creates the dynamics.

        Args:
            atoms: ions with velocities and with a calculator that has an electronic temperature.
            timestep: time step in units of ASE, such as ``2 * ase.units.fs``.
            coupling: G, eV/(ps K Angstrom^3), a number or a function of tau_e (K) such as :class:`CouplingTable`;
                ``fermisea.units.COUPLING`` is this unit in W/(m^3 K).
            pulse: laser pulse, whose times count from step 0.
            options: options of :class:`ase.md.md.MolecularDynamics`, such as ``trajectory``.

        Raises:
            InputError: for a calculator without electronic temperature, constraints other than a fixed centre of mass,
                fewer than two atoms, or an invalid G.
        """
        if not hasattr(atoms.calc, "electron_temperature"):
            name = type(atoms.calc).__name__
            raise InputError(
                f"two-temperature dynamics: got the calculator {name}, expected one with an electronic temperature; "
                "use fermisea.Calculator(model, electron_temperature, potential=True)"
            )
        if kinds := sorted({type(c).__name__ for c in atoms.constraints if not isinstance(c, FixCom)}):
            raise InputError(
                f"two-temperature dynamics: got the constraints {', '.join(kinds)}, expected none but FixCom; remove "
                "the others"
            )
        if len(atoms) < 2:
            raise InputError("two-temperature dynamics: got one atom, expected at least two; repeat the cell")
        if not callable(coupling) and not (math.isfinite(coupling) and coupling >= 0):
            raise InputError(f"coupling: got {coupling} eV/(ps K Å^3), expected a finite value of at least 0")
        super().__init__(atoms, timestep, **options)
        self.pulse, self.absorbed, self.transferred = pulse, 0.0, 0.0
        self._coupling = coupling

    @property
    def electron_temperature(self) -> float:
        """tau_e, K."""
        return float(self.atoms.calc.electron_temperature)

    @property
    def ion_temperature(self) -> float:
        """tau_i, K: kinetic temperature of the ions relative to their centre of mass."""
        return self._ion_temperature(self._thermal_energy())

    @property
    def internal_energy(self) -> float:
        """U = F + tau_e S, eV."""
        return self._electrons()[0]

    @property
    def conserved_energy(self) -> float:
        """Kinetic energy of the ions plus U minus the absorbed energy, eV."""
        return float(self.atoms.get_kinetic_energy()) + self.internal_energy - self.absorbed

    def coupling(self, electron_temperature: float) -> float:
        """Returns G at a tau_e (K), eV/(ps K Angstrom^3)."""
        return float(self._coupling(electron_temperature) if callable(self._coupling) else self._coupling)

    def state(self) -> dict[str, float]:
        """Returns plain data that continue the dynamics together with positions and momenta."""
        return {
            "step": self.nsteps,
            "electron_temperature": self.electron_temperature,
            "absorbed": self.absorbed,
            "transferred": self.transferred,
        }

    def restore(self, state: Mapping[str, float]) -> None:
        """Continues from the result of ``state``; the atoms have the positions and momenta of the same step."""
        self.nsteps = int(state["step"])
        self.atoms.calc.electron_temperature = state["electron_temperature"]
        self.absorbed, self.transferred = float(state["absorbed"]), float(state["transferred"])

    def step(self) -> FloatArray:
        """Makes one step and returns the forces at its end, eV/Angstrom.

        Raises:
            InputError: if the ions have less energy than the electrons take from them, or have no velocities.
            WindowError: for a tau_e above the highest one of the model.
            ConvergenceError: if there is no tau_e with the energy or entropy of the electrons.
        """
        atoms, time = self.atoms, self.nsteps * self.dt
        atoms.set_momenta(atoms.get_momenta() + 0.5 * self.dt * atoms.get_forces(md=True))
        self._exchange(time)
        entropy = self._electrons()[1]
        atoms.set_positions(atoms.get_positions() + self.dt * atoms.get_velocities())
        self._set_entropy(entropy)
        self._exchange(time + self.dt / 2)
        forces: FloatArray = atoms.get_forces(md=True)
        atoms.set_momenta(atoms.get_momenta() + 0.5 * self.dt * forces)
        return forces

    def _exchange(self, time: float) -> None:
        """Exchanges heat for half a step from a time (units of ASE) on, at fixed ions.

        The transfer is the mean of its values at the beginning and, estimated, at the end.
        """
        half = self.dt / 2
        gained = 0.0
        if self.pulse is not None:
            first, last = (self.pulse.absorbed(t / ase.units.fs) for t in (time, time + half))
            gained = len(self.atoms) * (last - first)
        thermal, picoseconds = self._thermal_energy(), half / (1000 * ase.units.fs)
        first_heat = self._power(thermal) * picoseconds
        self._add_energy(gained - first_heat)
        heat = (first_heat + self._power(thermal + first_heat) * picoseconds) / 2
        self._add_energy(first_heat - heat)
        self._scale(thermal, heat)
        self.absorbed += gained
        self.transferred += heat

    def _power(self, thermal: float) -> float:
        """Returns Q, eV/ps, for a kinetic energy of the ions, eV."""
        tau_e = self.electron_temperature
        volume = float(self.atoms.get_volume())
        return self.coupling(tau_e) * volume * (tau_e - self._ion_temperature(thermal))

    def _thermal_energy(self) -> float:
        """Returns the kinetic energy of the ions relative to their centre of mass, eV."""
        momenta = self.atoms.get_momenta()
        return float(self.atoms.get_kinetic_energy() - np.sum(momenta.sum(axis=0) ** 2) / (2 * self.masses.sum()))

    def _ion_temperature(self, thermal: float) -> float:
        """Returns tau_i, K, for a kinetic energy, eV."""
        return 2 * thermal / ((3 * len(self.atoms) - 3) * ase.units.kB)

    def _scale(self, thermal: float, heat: float) -> None:
        """Adds heat (eV) to the kinetic energy of the ions.

        Raises:
            InputError: if they have less energy than that.
        """
        if heat == 0:
            return
        if not abs(heat) < thermal:
            raise InputError(
                f"two-temperature dynamics: the ions have a kinetic energy of {thermal:.3g} eV and exchange {heat:.3g} "
                "eV in half a step; give them velocities, or choose a shorter time step"
            )
        centre = self.masses * self.atoms.get_momenta().sum(axis=0) / self.masses.sum()
        factor = math.sqrt((thermal + heat) / thermal)
        self.atoms.set_momenta(centre + factor * (self.atoms.get_momenta() - centre))

    def _electrons(self) -> tuple[float, float, float]:
        """Returns U, eV, S and C_e, eV/K, at the positions and tau_e of the moment.

        Raises:
            InputError: for a heat capacity that is not positive.
        """
        self.atoms.get_potential_energy()
        results, tau_e = self.atoms.calc.results, self.electron_temperature
        heat = float(results["heat_capacity"])
        if not heat > 0:
            raise InputError(
                f"two-temperature dynamics: the heat capacity of the electrons at {tau_e:g} K is {heat:.3g} eV/K, "
                "expected a positive one; the ions have left the structures that the model knows"
            )
        return float(results["internal_energy"]), -float(results["entropy_term"]) / tau_e, heat

    def _add_energy(self, energy: float) -> None:
        """Changes tau_e so that U grows by an energy, eV, at fixed ions; electrons with C_e ~ tau_e need one step."""
        target = self._electrons()[0] + energy

        def square(tau_e: float) -> float:
            """Returns the square of the next tau_e, K^2."""
            internal, _, heat = self._electrons()
            return tau_e**2 + 2 * tau_e * (target - internal) / heat

        self._iterate(lambda tau_e: math.sqrt(max(square(tau_e), tau_e**2 / 4)), "energy")

    def _set_entropy(self, entropy: float) -> None:
        """Changes tau_e so that S has a value, eV/K; electrons with S ~ tau_e need one step."""

        def following(tau_e: float) -> float:
            """Returns the next tau_e, K."""
            _, own, heat = self._electrons()
            return max(tau_e * (1 + (entropy - own) / heat), tau_e / 2)

        self._iterate(following, "entropy")

    def _iterate(self, following: Callable[[float], float], name: str) -> None:
        """Changes tau_e until it hardly changes.

        Raises:
            ConvergenceError: if it does not.
        """
        for _ in range(_MOST):
            last = self.electron_temperature
            self.atoms.calc.electron_temperature = following(last)
            if abs(self.electron_temperature - last) <= _CLOSE * last:
                return
        raise ConvergenceError(
            f"two-temperature dynamics: found no electronic temperature with the {name} of the electrons near "
            f"{self.electron_temperature:g} K; choose a shorter time step",
            [],
        )
