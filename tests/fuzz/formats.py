"""All formats that the package reads."""

from fuzz import other_formats, own_formats

FORMATS = own_formats.FORMATS + other_formats.FORMATS
