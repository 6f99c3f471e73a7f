"""Files, threads, processes and array types, independent of the physics."""
