"""The Temporal SDK's runtime of a process: its metrics on a port, its own lines in the process's log."""

from __future__ import annotations

import logging

from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    PrometheusConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)

__all__ = ["sdk_runtime"]

_LINES = LoggingConfig(
    filter=TelemetryFilter(core_level="WARN", other_level="ERROR"),
    # By itself it writes to standard output, in colours, and all it knows: of a workflow task that fails the message of
    # the exception too. What of its fields is told, settings.logs decides.
    forwarding=LogForwardingConfig(
        logging.getLogger("temporalio.core"),
        append_target_to_name=False,
        prepend_target_on_message=False,
        append_log_fields_to_message=False,
    ),
)


def sdk_runtime(metrics: PrometheusConfig) -> Runtime:
    """For the clients and workers of this process, of which each wants one at most."""
    return Runtime(telemetry=TelemetryConfig(logging=_LINES, metrics=metrics))
