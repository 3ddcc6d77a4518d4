"""The site's converter and a rerun's plugin, in one place: whatever reads or reruns a history takes them from here."""

from __future__ import annotations

from temporalio.converter import DataConverter
from temporalio.plugin import SimplePlugin

from records.payloads import data_converter
from records.plugin import parley_plugin
from records.protection import open_protection
from settings.schema import Settings

__all__ = ["rerun_plugin", "site_converter"]


def site_converter(settings: Settings) -> DataConverter:
    """Decodes what the site's workers encoded, keys and external storage included. Raises SettingsFault."""
    protection = open_protection(settings)
    return protection.data_converter if protection else data_converter


def rerun_plugin() -> SimplePlugin:
    """For the server of a rerun, which lives in this process's memory. Nothing is sealed there: a key would have to be
    made and kept in the site's records for each rerun, and a rerun writes nothing."""
    return parley_plugin()
