"""Draws stories and turns as `parley replay show` prints them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cli.console import plain
from cli.tables import citation_line, rows, said
from replay.wording import describe, seconds_line

if TYPE_CHECKING:
    from rich.console import RenderableType

    from replay.turns import Story, Turn, TurnStep

__all__ = ["story_view", "turn_view"]

_PARTS = ("prompt", "reasoning", "steps", "passages", "events", "audit")


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def story_view(story: Story) -> RenderableType:
    """The runs, and one line a turn."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [Text(plain(f"conversation {story.conversation}  tenant {story.tenant}"))]
    for run in story.runs:
        ended = run.ended or "goes on, or the file breaks off"
        parts.append(Text(f"  run {run.run}  {run.run_id[:8]}  {_moment(run.started)}  {run.events} events  {ended}"))
        if run.forked:
            parts.append(Text(plain(f"         {run.forked}"), overflow="fold"))
    lines = [
        (
            str(turn.turn),
            _moment(turn.received),
            turn.verdict or turn.state,
            seconds_line(turn.answered - turn.received if turn.answered else None),
            " ".join((turn.question or turn.said).split())[:60],
        )
        for turn in story.turns
    ]
    parts += [rows(("turn", "said", "verdict", "time", "question"), lines, right=(0, 3))]
    if lines:
        parts.append(Text("one turn: --turn N", style="dim"))
    return Group(*parts)


def turn_view(turn: Turn, *, of: int, asked: Mapping[str, Any]) -> RenderableType:
    """A turn from top to bottom; ``asked`` are the parts that were opened, by their option's name."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    head = f"conversation {turn.conversation}  turn {turn.turn} of {of}  {_moment(turn.received)}  {turn.tenant}"
    parts: list[RenderableType] = [Text(plain(f"{head}  verdict {turn.verdict or turn.state}"))]
    parts += [said("said", turn.question or turn.said), said("parley", turn.answer or "…")]
    parts += [Padding(Text(citation_line(each), overflow="fold"), (0, 0, 0, 8)) for each in turn.citations]
    lines = [line for step in turn.steps for line in _step_lines(turn, step)]
    lines += [("", each.step, "", "", "—", f"skipped: {each.why}") for each in turn.skipped]
    table = rows(("at", "step", "queue", "run", "worker", "result"), lines, right=(0, 2, 3))
    parts.append(Padding(table, (0, 0, 0, 2)))
    parts += [Text(plain(line), overflow="fold") for line in _notes(turn)]
    for name, value in asked.items():
        parts += [Text(""), Text(name, style="bold"), *_opened(name, value)]
    closed = [f"--{name}" for name in _PARTS if name not in asked]
    if closed:
        parts.append(Text(f"open: {'  '.join(closed)}", style="dim"))
    return Group(*parts)


def _step_lines(turn: Turn, step: TurnStep) -> Iterator[tuple[str, ...]]:
    """The attempts that failed, each on a line, then what came of the step."""
    name = f"{step.activity} {step.try_number}.{step.attempt or 1}"
    failed = [each for each in step.attempts if each.failure and each.number < step.attempt]
    queue = seconds_line(step.queue_seconds)
    for each in failed:
        took = each.ended - each.started if each.started and each.ended else None
        offset = seconds_line(max(0.0, each.started - turn.received)) if each.started else ""
        why = f"{each.failure}" + (f" · {each.tokens} tokens" if each.tokens else "")
        yield offset, f"├ {step.activity} {step.try_number}.{each.number}", queue, seconds_line(took), each.worker, why
        queue = ""  # what came before the first attempt
    at = step.scheduled if not failed or step.started is None else step.started
    mark = "└ " if failed else ""
    offset = seconds_line(max(0.0, at - turn.received)) or "0 ms"
    yield offset, f"{mark}{name}", queue, seconds_line(step.run_seconds), step.worker, describe(step)
    reviewed = step.reviewed
    for finding in reviewed.findings if reviewed else ():
        where = f"{finding.start}-{finding.end}"
        yield "", "", "", "", "", f"finding {finding.rule} ({finding.label}) {where} → {finding.action}"


def _notes(turn: Turn) -> Iterator[str]:
    if turn.note:
        yield f"why  {turn.note}"
    for finding in turn.findings:
        where = f"{finding.start}-{finding.end}{f' ({finding.note})' if finding.note else ''}"
        yield f"finding in the message  {finding.rule} ({finding.label}) {where} → {finding.action}"
    for number, rung in turn.rungs:
        yield f"try {number}  {rung}"
    human = turn.human
    if human is not None:
        waited = seconds_line(human.decided - human.asked) if human.decided else "still"
        decided = (
            f"{human.decision} by {human.by}" if human.by else "nobody in time" if human.timed_out else "nobody yet"
        )
        yield f"person  {decided} · waited {waited}{f' · {human.note}' if human.note else ''}"
    if turn.cancelled:
        yield f"cancelled  {turn.cancelled}"
    for each in turn.feedback:
        yield f"feedback  {each.score:+d} by {each.user}{f' · {each.comment}' if each.comment else ''}"
    draft = next((step.generated for step in reversed(turn.of("generate_answer")) if step.generated), None)
    if draft is not None:
        yield (
            f"prompt sha256 {draft.prompt_digest[:12]}…  model {draft.model}@{draft.model_digest[:12]}  "
            f"seed {draft.seed}  temperature {draft.temperature}  top_p {draft.top_p}"
        )
    if turn.snapshot:
        policy = (turn.policy_digest or "")[:12]
        yield f"snapshot {turn.snapshot[:12]}…  policy {policy}…  audit row {turn.audit_id or '—'}"


def _opened(name: str, value: Any) -> list[RenderableType]:
    from rich.text import Text

    if name == "events":
        lines = [(str(each.id), f"{each.offset:+.3f} s", each.kind, each.what) for each in value]
        return [rows(("event", "at", "kind", "what"), lines, right=(0, 1))]
    if name == "passages":
        shown: list[RenderableType] = []
        for number, each in enumerate(value, 1):
            title = (
                f"[{number}] {each.title} § {each.section} ({each.document}:{each.start}-{each.end}) {each.score:.2f}"
            )
            shown += [Text(plain(title), style="bold"), Text(plain(each.text), overflow="fold")]
        return shown or [Text("none")]
    if name == "steps":
        return [line for step in value for line in _whole(step)]
    if name == "audit":
        return _audit(value)
    return [Text(plain(str(value)) or "none", overflow="fold")]


def _whole(step: TurnStep) -> Iterator[RenderableType]:
    """The step's input and result, as they stand in the history."""
    from rich.text import Text

    for what, held in (("input", step.input), ("result", step.result)):
        yield Text(f"{step.activity} {step.try_number} · {what}", style="bold")
        written = json.dumps(held, ensure_ascii=False, indent=1)
        yield Text(plain(written) if held is not None else step.failure or step.state, overflow="fold")


def _audit(value: Any) -> list[RenderableType]:
    from rich.text import Text

    if value.row is None:
        return [Text("the audit has no row of this turn")]
    says = {True: "is the receipt's", False: "IS ANOTHER than the receipt in the history", None: "has no receipt here"}
    row = value.row
    lines = [
        ("row", f"{row.id} · position {row.position} of {row.tenant}'s chain"),
        ("hash", f"{row.hash[:16]}… {says[value.matches]}"),
        ("user", row.user_id),
        ("asked", row.input_text),
        ("answered", row.output_text),
        ("verdict", f"{row.verdict}{f' · {row.note}' if row.note else ''}"),
        *([("damaged", f"{', '.join(row.damaged)}: not as written, and left empty")] if row.damaged else []),
    ]
    return [rows(("", ""), lines)]
