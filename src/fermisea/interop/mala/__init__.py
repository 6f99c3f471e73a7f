"""Data and models of the MALA code (Materials Learning Algorithms), read without MALA and without executing pickles."""

from fermisea.interop.mala.models import load_model
from fermisea.interop.mala.snapshots import load_snapshot

__all__ = ["load_model", "load_snapshot"]
