"""One self-contained HTML page from a folder of figures and tables."""

from __future__ import annotations

from fermisea.report.page import Section, add_sections, read_sections, write_report, write_sections

__all__ = ["Section", "add_sections", "read_sections", "write_report", "write_sections"]
