"""Trained models: prediction, model files, and the shipped models."""

from fermisea.model.labels import network_labels
from fermisea.model.model import Model, combine_models, load_model

__all__ = ["Model", "combine_models", "load_model", "network_labels"]
