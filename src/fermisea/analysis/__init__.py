"""Evaluation and calibration of models, thermodynamics from predictions, structure of trajectories."""
