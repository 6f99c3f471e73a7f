"""Structures, trajectories, and DFT results for training."""
