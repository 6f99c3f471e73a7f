"""Networks from descriptors to the local density of states."""
