"""What is shown on a terminal: consoles, progress bars, tables, a running campaign.

Results go to standard output; progress and errors go to standard error, so that output can be piped.
"""

from fermisea.terminal.campaign import CampaignView
from fermisea.terminal.consoles import facts, progress_bar, stderr, stdout, table

__all__ = ["CampaignView", "facts", "progress_bar", "stderr", "stdout", "table"]
