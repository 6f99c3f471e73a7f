"""Grid points of many snapshots as one shuffled stream of descriptors and LDOS, from memory or from disk."""

from fermisea.training.points.gather import MEMORY, gather
from fermisea.training.points.kept import KeptPoints
from fermisea.training.points.rows import Points
from fermisea.training.points.stored import StoredPoints

__all__ = ["MEMORY", "KeptPoints", "Points", "StoredPoints", "gather"]
