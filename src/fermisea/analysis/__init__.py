"""Evaluation and calibration of models, and thermodynamics from predictions."""
