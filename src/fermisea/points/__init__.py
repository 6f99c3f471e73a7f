"""Grid points of many snapshots as one shuffled stream of descriptors and LDOS, from memory or from disk."""

from fermisea.points.gather import MEMORY, gather
from fermisea.points.kept import KeptPoints
from fermisea.points.rows import Points
from fermisea.points.stored import StoredPoints

__all__ = ["MEMORY", "KeptPoints", "Points", "StoredPoints", "gather"]
