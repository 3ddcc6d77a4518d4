"""The site's own plugin and converter, in one place: whatever reads or reruns a history takes them from here."""

from __future__ import annotations

from temporalio.converter import DataConverter
from temporalio.plugin import SimplePlugin
from temporalio.worker import Interceptor

from records.payloads import data_converter
from records.plugin import parley_plugin
from settings.schema import Settings

__all__ = ["site_converter", "site_plugin"]


def site_converter(settings: Settings) -> DataConverter:
    """Decodes what the site's workers encoded, keys and external storage included."""
    return data_converter


def site_plugin(settings: Settings, *, interceptors: tuple[Interceptor, ...] = ()) -> SimplePlugin:
    """As the site's workers have it."""
    return parley_plugin(interceptors=interceptors)
