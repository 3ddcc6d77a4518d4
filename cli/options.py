"""Options that several commands take."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

__all__ = ["Json", "Tenant", "User"]

Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")]
Tenant = Annotated[str, Parameter(name="--tenant", help="The tenant, one of temporal.yaml's tenants.")]
User = Annotated[str, Parameter(name="--user", help="Who asks, as the records shall name them.")]
