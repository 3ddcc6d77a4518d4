"""``parley kb``: the documents that answers come from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from cli.options import Json

if TYPE_CHECKING:
    from knowledge_base.knowledge import AddReport, KnowledgeBase

__all__ = ["app"]

app = App(name="kb", help="Add, list, search and remove documents.")


def _open() -> KnowledgeBase:
    from cli.knowledge import open_knowledge
    from settings.load import load

    return open_knowledge(load())


@app.command
def add(*paths: Path, json: Json = False) -> int:
    """Add files and folders; a file of the same name takes the place of the old one.

    Those that cannot be used are listed with the reason, the rest is added; the exit code is then 1. Conversations
    use the new documents from their next turn on.

    Parameters
    ----------
    paths
        Markdown, text and HTML files, or folders of them.
    """
    from cli.console import output, print_json, print_line
    from cli.stages import working
    from dialogue.faults import InvalidRequest

    if not paths:
        raise InvalidRequest("paths: name at least one file or folder to add.", field="paths")
    if missing := [str(path) for path in paths if not path.exists()]:
        raise InvalidRequest(f"paths: {', '.join(missing)}: no such file or folder.", field="paths")
    with working(output(stderr=True), "reading") as stage:
        report = _open().add(paths, lambda what, done, total: stage.update(f"{what} · {done} of {total}"))
    if json:
        print_json(report)
    else:
        print_line(_describe(report))
        for name, reason in report.refused:
            print_line(f"  refused  {reason if name in reason else f'{name}: {reason}'}")
    return 1 if report.refused else 0


def _describe(report: AddReport) -> str:
    now = f"{report.snapshot.documents} documents · {report.snapshot.passages} passages"
    return (
        f"{len(report.added)} added · {len(report.unchanged)} there already · {len(report.refused)} refused · "
        f"now {now} · snapshot {report.snapshot.id[:8]}…"
    )


@app.command(name="list")
def list_(*, json: Json = False) -> None:
    """List the documents."""
    from cli.console import output, print_json
    from cli.tables import rows

    entries = _open().list()
    if json:
        print_json(entries)
        return
    lines = [(each.language, str(each.passages), str(each.characters), each.name, each.title) for each in entries]
    header = ("language", "passages", "characters", "name", "title")
    output().print(rows(header, lines, right=(1, 2)))


@app.command
def search(
    question: str,
    /,
    *,
    language: Annotated[str | None, Parameter(help="en, zh, …; else what the question looks like.")] = None,
    limit: Annotated[int | None, Parameter(help="At most so many passages; else as many as a turn gets.")] = None,
    json: Json = False,
) -> None:
    """Search as a turn does.

    Parameters
    ----------
    question
        What is looked for.
    """
    from cli.console import output, print_json, print_line
    from cli.knowledge import open_knowledge
    from cli.tables import rows
    from policy.language import detect
    from settings.load import load

    settings = load()
    found = open_knowledge(settings).search(
        question, language or detect(question), limit or settings.knowledge.passages
    )
    if json:
        print_json(found)
        return
    lines = [
        (f"{each.score:.2f}", f"{each.document}:{each.start}-{each.end}", " ".join(each.text.split()))
        for each in found.passages
    ]
    if lines:
        output().print(rows(("score", "where", "passage"), lines, right=(0,)))
    else:
        print_line(f"Nothing reaches {settings.knowledge.threshold:.2f}; the best passage has {found.best:.2f}.")


@app.command
async def gc(
    *,
    yes: Annotated[bool, Parameter(negative="", help="Remove them; without it they are only shown.")] = False,
    json: Json = False,
) -> None:
    """Remove the snapshots that no kept answer names: neither the current one nor the one before it."""
    import asyncio

    from cli.console import output, print_json, print_line
    from cli.model_gc import answered
    from cli.tables import rows
    from knowledge_base.collecting import collect
    from knowledge_base.snapshot import SnapshotStore
    from settings.layout import Layout
    from settings.load import load

    settings = load()
    store = SnapshotStore(Layout.of(settings).knowledge)
    needed = await answered(settings, "snapshot")
    decisions = await asyncio.to_thread(collect, store, needed=needed, delete=yes)
    if json:
        print_json(decisions)
        return
    state = {(True, False): "stays", (False, False): "would go", (False, True): "removed"}
    lines = [
        (f"{each.id[:12]}…", f"{each.bytes / 1e6:.1f} MB", state[each.stays, each.removed], each.why)
        for each in decisions
    ]
    if lines:
        output().print(rows(("snapshot", "size", "", "why"), lines, right=(1,)))
    going = [each for each in decisions if not each.stays]
    done = "removed" if yes else "would be removed; do it with --yes" if going else "would be removed"
    print_line(f"{len(decisions) - len(going)} stay · {len(going)} {done}")


@app.command
def remove(document: str, /, *, json: Json = False) -> None:
    """Take a document out.

    Parameters
    ----------
    document
        Its name, as `parley kb list` shows it.
    """
    from cli.console import print_json, print_line

    info = _open().remove(document)
    if json:
        print_json(info)
    else:
        print_line(
            f"{document} is removed · now {info.documents} documents · {info.passages} passages · "
            f"snapshot {info.id[:8]}…"
        )
