"""Terminal output: consoles, progress bars, tables, running campaigns, errors and warnings.

Results go to standard output; progress and errors go to standard error, so that the output can be piped.
"""

from fermisea.terminal.campaign import CampaignView
from fermisea.terminal.consoles import facts, progress_bar, stderr, stdout, table
from fermisea.terminal.error_line import fail, warnings_as_lines

__all__ = ["CampaignView", "facts", "fail", "progress_bar", "stderr", "stdout", "table", "warnings_as_lines"]
