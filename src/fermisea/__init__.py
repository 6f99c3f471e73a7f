"""Learn the local density of states from finite-temperature DFT, and use it at every electronic temperature."""

__version__ = "0.1.0"
