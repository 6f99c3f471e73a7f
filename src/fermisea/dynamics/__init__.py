"""Molecular dynamics in which the electrons have a temperature and a heat balance of their own."""

from fermisea.dynamics.two_temperature import CouplingTable, LaserPulse, TwoTemperatureDynamics

__all__ = ["CouplingTable", "LaserPulse", "TwoTemperatureDynamics"]
