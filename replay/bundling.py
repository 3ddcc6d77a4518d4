"""Gathers what a bundle holds of an incident: the histories of the whole chain, and what their digests name."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from temporalio.client import WorkflowHistory

from dialogue.faults import (
    ContentMissing,
    KeyMissing,
    ParleyFault,
    RecordsConflict,
    RecordsUnavailable,
    SealBroken,
    TokenLogUnavailable,
)
from dialogue.messages import TurnKey
from records.audit_rows import KeptRow
from records.open_token_log import open_token_log
from records.token_log import StreamEvent
from replay.bundle import AUDIT, Manifest, ManifestRun, history_name, prompt_name
from replay.chain import Chain, RecordedRun
from replay.events import payloads_of
from replay.evidence import Evidence
from replay.people import people_of
from replay.redaction import Redactor
from replay.shown import prompt_of
from replay.story import tell
from replay.turns import Story, Turn
from settings.show import as_yaml

__all__ = ["Gathered", "gather"]

_DIGEST = re.compile(rb'"([0-9a-f]{64})"')
_PAGE = 1000


class Gathered:
    """``rows`` are the turns' rows in the audit as they stand there, and ``people`` those whose texts it holds, by
    tenant and user, whatever is redacted in ``files``."""

    def __init__(
        self, manifest: Manifest, files: dict[str, bytes], rows: list[KeptRow], people: list[tuple[str, str]]
    ) -> None:
        self.manifest, self.files, self.rows, self.people = manifest, files, rows, people


async def gather(chain: Chain, evidence: Evidence, *, version: str, redact: bool = False) -> Gathered:
    """What the site has of it; what it has not is named in the manifest's ``absent``. Raises RecordsUnavailable."""
    story, gathering = tell(chain), _Gathering(evidence)
    gathering.absent += [fault.message for fault in chain.missing]
    rows = [row for turn in story.turns if (row := await gathering.row(turn)) is not None]
    documents = {history_name(number): _history(run) for number, run in enumerate(chain.runs, 1)}
    documents[AUDIT] = [row.model_dump(mode="json") for row in rows]
    documents |= {f"contents/{digest}": body async for digest, body in gathering.contents(story, chain, rows)}
    documents |= {prompt_name(turn.turn): text async for turn, text in gathering.prompts(story)}
    documents |= {f"stream/turn-{turn}.json": events async for turn, events in gathering.streams(story)}
    documents["config.yaml"] = as_yaml(evidence.settings)
    left_out: list[str] = []
    text = str
    if redact:
        documents, text = _redacted(documents, left_out)
    manifest = Manifest(
        conversation=text(chain.workflow_id),
        tenant=text(story.tenant),
        turns=len(story.turns),
        exported_at=datetime.now(UTC).isoformat(timespec="seconds"),
        parley=version,
        redacted=redact,
        key="",
        runs=tuple(_told(run, number) for number, run in enumerate(chain.runs, 1)),
        models={turn.model_digest: turn.model or "" for turn in story.turns if turn.model_digest},
        snapshots=tuple(dict.fromkeys(turn.snapshot for turn in story.turns if turn.snapshot)),
        policies=tuple(dict.fromkeys(turn.policy_digest for turn in story.turns if turn.policy_digest)),
        absent=tuple(map(text, gathering.absent)),
        left_out=tuple(map(text, left_out)),
        files={},
    )
    people = list(dict.fromkeys([*people_of(story, chain), *((row.tenant, row.user_id) for row in rows)]))
    return Gathered(manifest, {name: _bytes(body) for name, body in documents.items()}, rows, people)


class _Gathering:
    """Asks the site, and notes in ``absent`` what it does not have."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self.absent: list[str] = []

    async def row(self, turn: Turn) -> KeptRow | None:
        try:
            row = await self._evidence.row(turn)
        except RecordsConflict as fault:
            self.absent.append(f"{AUDIT}: {fault.message}")
            return None
        if row is None:
            self.absent.append(f"{AUDIT}: turn {turn.turn} has no row in the audit")
        elif row.damaged:
            self.absent.append(f"{AUDIT}: {row.damage}")
        return row

    async def contents(self, story: Story, chain: Chain, rows: list[KeptRow]) -> AsyncIterator[tuple[str, bytes]]:
        """What the contents hold of all digests that the histories and rows name: try records, policies, intents."""
        needed = {digest for turn in story.turns for digest in (*_records(turn), turn.policy_digest) if digest}
        named = set(_digests(chain, rows))
        for digest in sorted(needed | named):
            try:
                yield digest, await self._evidence.contents.get(digest)
            except RecordsUnavailable:
                raise
            except ParleyFault as fault:  # not here, or its key was destroyed
                if digest in needed or not isinstance(fault, ContentMissing):
                    self.absent.append(f"contents/{digest}: {fault.message}")

    async def prompts(self, story: Story) -> AsyncIterator[tuple[Turn, str]]:
        for turn in story.turns:
            if not any(_records(turn)):
                continue
            try:
                yield turn, await prompt_of(self._evidence, turn)
            except RecordsUnavailable:
                raise
            except ParleyFault as fault:
                self.absent.append(f"{prompt_name(turn.turn)}: {fault.message}")

    async def streams(self, story: Story) -> AsyncIterator[tuple[int, list[dict[str, Any]]]]:
        settings = self._evidence.settings
        token_log = open_token_log(settings.records, self._evidence.layout, self._evidence.keys)
        try:
            for turn in story.turns:
                key = TurnKey(conversation=turn.conversation, turn=turn.turn, tenant=turn.tenant)
                events: list[StreamEvent] = []
                try:
                    while page := await token_log.read(key.stream, events[-1].id if events else 0, _PAGE):
                        events += page
                except (SealBroken, KeyMissing) as fault:  # this one's alone
                    self.absent.append(f"stream/turn-{turn.turn}.json: {fault.message}")
                    continue
                if events:
                    yield turn.turn, [asdict(event) for event in events]
                else:
                    self.absent.append(f"stream/turn-{turn.turn}.json: the token log has it no more")
        except (TokenLogUnavailable, RecordsUnavailable) as fault:
            self.absent.append(f"stream: {fault.message}")
        finally:
            await token_log.close()


def _records(turn: Turn) -> Iterator[str]:
    """The digests of its tries' records."""
    for step in turn.drafts:
        if step.generated is not None and step.generated.record:
            yield step.generated.record


def _digests(chain: Chain, rows: Iterable[KeptRow]) -> Iterator[str]:
    for run in chain.runs:
        for event in run.events:
            for payload in payloads_of(event):
                yield from (found.decode() for found in _DIGEST.findall(payload.data))
    for row in rows:
        yield from (found.decode() for found in _DIGEST.findall(row.model_dump_json().encode()))


def _history(run: RecordedRun) -> Any:
    """As the ``temporal`` CLI exports it, decoded."""
    return json.loads(WorkflowHistory(run.workflow_id, run.events).to_json())


def _told(run: RecordedRun, number: int) -> ManifestRun:
    return ManifestRun(
        file=history_name(number), run_id=run.run_id, workflow_type=run.workflow_type, events=len(run.events)
    )


def _redacted(documents: Mapping[str, Any], left_out: list[str]) -> tuple[dict[str, Any], Callable[[str], str]]:
    """And what does the same with a text beside them. Token ids spell the texts, so try records are left out."""
    kept = {name: _opened(body) for name, body in documents.items()}
    for name in [name for name, body in kept.items() if isinstance(body, dict) and "prompt_ids" in body]:
        del kept[name]
        left_out.append(f"{name}: a try record's token ids spell the texts; it is left out where texts are redacted")
    redactor = Redactor()
    joined = {name: _joined(body) if name.startswith("stream/") else [] for name, body in kept.items()}
    for name, body in kept.items():
        redactor.learn(body)
        redactor.learn(joined[name])
    made: dict[str, Any] = {}
    for name, body in kept.items():
        made[name] = redactor.replaced(body)
        if joined[name]:
            _put_back(made[name], [redactor.replaced(text) for text in joined[name]])
    return made, redactor.text


def _opened(body: Any) -> Any:
    """JSON where it is some."""
    if not isinstance(body, bytes):
        return body
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body.decode("utf-8", "replace")


def _joined(events: list[dict[str, Any]]) -> list[str]:
    """The texts of a stream, each whole: what stands in it may be spread over many pieces."""
    return ["".join(event["data"]["text"] for event in run) for run in _pieces(events)]


def _put_back(events: list[dict[str, Any]], texts: list[str]) -> None:
    """The pieces cut as they were; a text that grew ends in its last piece."""
    for run, text in zip(_pieces(events), texts, strict=True):
        for event in run:
            length = len(event["data"]["text"]) if event is not run[-1] else len(text)
            event["data"]["text"], text = text[:length], text[length:]


def _pieces(events: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Stretches of one kind that carry text."""
    runs: list[list[dict[str, Any]]] = []
    before: dict[str, Any] | None = None
    for event in events:
        if not isinstance(event["data"].get("text"), str):
            before = None
            continue
        if before is None or before["kind"] != event["kind"]:
            runs.append([])
        runs[-1].append(event)
        before = event
    return runs


def _bytes(body: Any) -> bytes:
    if isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return body.encode("utf-8", "replace")
    return json.dumps(body, ensure_ascii=False, indent=1).encode("utf-8", "replace")
