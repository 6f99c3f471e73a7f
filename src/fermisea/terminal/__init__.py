"""Terminal output: consoles, progress bars, tables, running campaigns, errors and warnings.

Results go to standard output; progress and errors go to standard error, so that the output can be piped.
"""

from fermisea.terminal.campaign import CampaignView, clock
from fermisea.terminal.consoles import PlainConsole, facts, progress_bar, stderr, stdout, table
from fermisea.terminal.error_line import CLOSED_PIPE, discard, fail, flushed, is_closed, unwritten, warnings_as_lines
from fermisea.utilities.signs import printable, spell_on_standard_streams

__all__ = [
    "CLOSED_PIPE",
    "CampaignView",
    "PlainConsole",
    "clock",
    "discard",
    "facts",
    "fail",
    "flushed",
    "is_closed",
    "printable",
    "progress_bar",
    "spell_on_standard_streams",
    "stderr",
    "stdout",
    "table",
    "unwritten",
    "warnings_as_lines",
]
