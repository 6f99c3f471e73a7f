"""Damaged files for every format that the package reads: seeded mutations, and the outcome of reading each result."""
