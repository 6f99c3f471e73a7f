"""One self-contained HTML page from a folder of figures and tables."""

from __future__ import annotations

from fermisea.report.page import Section, read_sections, write_report, write_sections

__all__ = ["Section", "read_sections", "write_report", "write_sections"]
