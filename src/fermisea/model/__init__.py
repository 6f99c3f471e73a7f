"""Trained models: prediction, model files, and the shipped models."""

from fermisea.model.combining import blend_models, combine_models
from fermisea.model.labels import network_labels
from fermisea.model.loading import load_model
from fermisea.model.model import Model

__all__ = ["Model", "blend_models", "combine_models", "load_model", "network_labels"]
