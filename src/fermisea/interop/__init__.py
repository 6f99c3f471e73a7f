"""Files of other codes, in and out."""
