"""``parley doctor``: what is ready on this machine, and what to do about the rest."""

from __future__ import annotations

import asyncio
import json as json_text
from dataclasses import asdict
from typing import TYPE_CHECKING

import cyclopts

from cli.ending import FAILED
from cli.options import Json

if TYPE_CHECKING:
    from cli.doctor_checks import Check, Line, Site

__all__ = ["app", "examine"]

app = cyclopts.App(name="doctor", help="Say what is ready on this machine, and what to do about the rest.")


@app.default
async def doctor(*, json: Json = False) -> int:
    """Say what is ready on this machine, and what to do about the rest. Exit code 1 when something is not."""
    from cli.doctor_checks import CHECKS, Site
    from settings.layout import Layout
    from settings.load import load

    settings = load()
    lines = await examine(Site(settings, Layout.of(settings)), CHECKS)
    healthy = all(line.ok for line in lines)
    if json:
        whole = {"ok": healthy, "checks": [asdict(line) for line in lines]}
        print(json_text.dumps(whole, ensure_ascii=False, indent=2))
    else:
        print("\n".join(_shown(line) for line in lines))
    return 0 if healthy else FAILED


async def examine(site: Site, checks: tuple[Check, ...]) -> list[Line]:
    """The lines of every check, in their order; all run at once, and none can stop another."""
    found = await asyncio.gather(*(_guarded(check, site) for check in checks))
    return [line for lines in found for line in lines]


async def _guarded(check: Check, site: Site) -> list[Line]:
    from cli.doctor_checks import Line, line_of
    from dialogue.faults import ParleyFault

    try:
        async with asyncio.timeout(check.seconds):
            return await check.run(site)
    except TimeoutError:
        do = "Look what keeps it busy, and ask again"
        return [Line(check.name, ok=False, found=f"no answer within {check.seconds:g} s", do=do)]
    except ParleyFault as fault:
        return [line_of(check.name, fault)]
    except Exception as error:  # a doctor goes on, whatever one organ does
        return [Line(check.name, ok=False, found=f"{type(error).__name__}: {' '.join(str(error).split())}")]


def _shown(line: Line) -> str:
    mark = "warning" if line.warning else "ok" if line.ok else "NOT OK"
    text = f"{mark:<7} {line.check:<28} {line.found}"
    return f"{text}\n{'':<7} {'':<28} → {line.do}" if line.do and not line.ok else text
