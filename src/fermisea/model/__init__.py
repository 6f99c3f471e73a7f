"""A trained model: a value that predicts, its file, and the models that come with the package."""

from fermisea.model.model import Model, combine_models, load_model

__all__ = ["Model", "combine_models", "load_model"]
