"""Structures, trajectories and the DFT results that models are trained on."""
