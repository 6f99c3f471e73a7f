"""Files, threads, processes, signals, text and array types, independent of the physics."""
