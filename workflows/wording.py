"""The one-line results in a turn's table of steps, the tables of the Web UI, the commands that they name, and the label
of a try."""

from __future__ import annotations

import re
import shlex
from typing import Literal
from urllib.parse import urlencode

from dialogue.messages import TenantOnly, TurnKey
from dialogue.plan import Poor
from dialogue.steps import (
    GeneratedAnswer,
    ReceivedInput,
    RecognisedIntent,
    RetrievedKnowledge,
    ReturnedAnswer,
    ReviewedAnswer,
)
from dialogue.turn import TurnSummary

__all__ = [
    "current_details",
    "describe_draft",
    "describe_input",
    "describe_intent",
    "describe_knowledge",
    "describe_returned",
    "describe_review",
    "one_line",
    "one_word",
    "read_on",
    "replay_command",
    "review_command",
    "words",
]

_MARKDOWN = re.compile(r"[\\`*_{}\[\]<>()#!|~&:]")
"""What means something: a colon makes links of addresses, an ampersand letters of their names."""


def words(poor: Poor | str) -> str:
    """``out_of_memory`` -> ``out of memory``."""
    return poor.replace("_", " ")


def describe_input(received: ReceivedInput) -> str:
    labels = sorted({finding.label for finding in received.findings})
    found = ", ".join(labels) if labels else "clean"
    files = _count(len(received.files), "file")
    decision = "" if received.decision == "pass" else f" → {received.decision}"
    return " · ".join(filter(None, (received.language, f"{received.tokens} tokens", files, f"{found}{decision}")))


def _count(number: int, what: str) -> str:
    """Nothing where there are none."""
    return f"{number} {what}{'s' * (number > 1)}" if number else ""


def describe_intent(recognised: RecognisedIntent) -> str:
    return f"{recognised.intent or 'out of scope'} {recognised.confidence:.2f} → {recognised.route}"


def describe_knowledge(knowledge: RetrievedKnowledge) -> str:
    if not knowledge.passages:
        return f"nothing reached the threshold · best {knowledge.best:.2f} · snapshot {knowledge.snapshot[:8]}…"
    count = len(knowledge.passages)
    return f"{count} passage{'s' * (count > 1)} · best {knowledge.best:.2f} · snapshot {knowledge.snapshot[:8]}…"


def describe_draft(draft: GeneratedAnswer, changed: str) -> str:
    """``resumed at token 154 · 201 tokens · stop``, after what the ladder changed for this try."""
    if draft.quoted:
        parts = [f"{len(draft.shown)} passage{'s' * (len(draft.shown) != 1)} quoted"]
    else:
        tokens = draft.usage.completion_tokens
        speed = f"{tokens / draft.seconds:.0f} tok/s" if draft.seconds > 0 and tokens else ""
        resumed = f"resumed at token {draft.resumed_at}" if draft.resumed_at else ""
        several = f"{len(draft.candidates)} candidates" if len(draft.candidates) > 1 else ""
        ended = words(draft.poor) if draft.poor else draft.finish_reason
        reasoning = "reasoning truncated" if draft.reasoning_truncated else ""
        reasoning = "reasoning bypassed" if draft.reasoning_bypassed else reasoning
        cut = f"{files} cut" if (files := _count(len(draft.cut.files), "file")) else ""
        parts = [resumed, cut, several, f"{tokens} tokens", ended, reasoning, speed]
    return " · ".join(filter(None, [changed, *parts]))


def describe_review(reviewed: ReviewedAnswer) -> str:
    count = len(reviewed.citations)
    citations = f"{count} citation{'s' * (count != 1)} hold{'s' * (count == 1)}" if count else ""
    return " · ".join(filter(None, (reviewed.verdict, reviewed.reason, citations)))


def describe_returned(returned: ReturnedAnswer) -> str:
    return f"audit row {returned.audit_id}"


def current_details(last: TurnKey, turns: list[TurnSummary], page: str = "") -> str:
    """The Markdown that the Web UI shows: the last turns, what waits for a person, where to read on. ``page``: the chat
    page's address, where it is known."""
    lines = ["| turn | asked | intent | verdict | tokens | time |", "|---|---|---|---|---|---|"]
    for turn in turns[-20:]:
        asked = _plain(turn.question[:40]) + ("…" if len(turn.question) > 40 else "")
        intent = f"{turn.intent} {turn.confidence or 0:.2f}" if turn.intent else "—"
        lines.append(f"| {turn.turn} | {asked} | {intent} | {turn.verdict} | {turn.tokens} | {turn.seconds:.1f} s |")
    for turn in turns:
        if turn.state == "waiting":
            show = review_command("show", last.conversation, turn.turn, last.tenant)
            lines.append(f"\nWaiting for a person: turn {turn.turn}. What waits, and how to decide: {_code(show)}")
    return "\n".join((*lines, "", read_on(last.conversation, last.tenant, page, turn=last.turn)))


def review_command(
    what: Literal["show", "resolve"], conversation: str, turn: int, tenant: str, options: str = ""
) -> str:
    """``parley reviews …`` for a turn that waits, as it is typed: without its tenant the command asks for `default`."""
    whose = "" if tenant == TenantOnly().tenant else f"--tenant {tenant}"
    return _command(f"parley reviews {what}", conversation, str(turn), options=(whose, options))


def replay_command(conversation: str, turn: int | None = None) -> str:
    """``parley replay show …`` for a conversation, or one turn of it, as it is typed."""
    return _command("parley replay show", conversation, options=(f"--turn {turn}" if turn else "",))


def _command(command: str, conversation: str, *after: str, options: tuple[str, ...]) -> str:
    arguments = (one_word(conversation), *after)
    behind = (*arguments, *options)
    if conversation.startswith("-"):  # no option, though it looks like one
        behind = (*options, "--", *arguments)
    return " ".join(filter(None, (command, *behind)))


def read_on(conversation: str, tenant: str, page: str, *, turn: int | None = None) -> str:
    """Where a conversation is read outside the Web UI: the chat page and the incident review."""
    review = f"Incident review: {_code(replay_command(conversation, turn))}"
    chat = f"[Chat page]({page}/?{urlencode({'tenant': tenant, 'conversation': conversation})})"
    return f"{chat} · {review}" if page else review


def one_line(text: str) -> str:
    """On one line: what no log and no terminal should show is U+FFFD."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def one_word(workflow_id: str) -> str:
    """An id as one word of a command line. Whoever starts a workflow by an SDK chooses it, with quotes and ``$()``."""
    return shlex.quote(one_line(workflow_id))


def _code(command: str) -> str:
    """As code in Markdown, to its end: fenced by more backticks than stand together in it."""
    fence = "`" * (1 + max(map(len, re.findall("`+", command)), default=0))
    return f"{fence}{command}{fence}"


def _plain(text: str) -> str:
    """A user's words as they are, whatever they mean in Markdown, on one line of a table."""
    return _MARKDOWN.sub(r"\\\g<0>", " ".join(text.split()))
