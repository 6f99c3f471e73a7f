"""Campaigns: restartable series of DFT runs, with one snapshot file for each structure in a folder."""

from __future__ import annotations

from fermisea.campaign.records import Record, Records
from fermisea.campaign.run import Outcome, run_campaign
from fermisea.campaign.settings import Campaign
from fermisea.campaign.summary import outliers

__all__ = ["Campaign", "Outcome", "Record", "Records", "outliers", "run_campaign"]
