"""Files, threads and processes: nothing of physics."""
