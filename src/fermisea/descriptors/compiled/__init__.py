"""Compiled loops of the descriptors, on bricks of grid points that fill a vector register."""
