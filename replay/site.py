"""The site's own plugin and converter, in one place: whatever reads or reruns a history takes them from here."""

from __future__ import annotations

from temporalio.converter import DataConverter
from temporalio.plugin import SimplePlugin
from temporalio.worker import Interceptor

from records.payloads import data_converter
from records.plugin import parley_plugin
from records.protection import open_protection
from settings.schema import Settings

__all__ = ["site_converter", "site_plugin"]


def site_converter(settings: Settings) -> DataConverter:
    """Decodes what the site's workers encoded, keys and external storage included. Raises SettingsFault."""
    protection = open_protection(settings)
    return protection.data_converter if protection else data_converter


def site_plugin(settings: Settings, *, interceptors: tuple[Interceptor, ...] = ()) -> SimplePlugin:
    """As the site's workers have it. Raises SettingsFault."""
    return parley_plugin(interceptors=interceptors, protection=open_protection(settings))
