"""Every answer that a faulty document, model or rule touched, and what each would be today.

Who cites a document and which model answered stands in the audit; what else a model was shown, and what the policy
found, stands in the histories alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

from dialogue.base import Value
from dialogue.faults import HistoryFault, ParleyFault
from dialogue.steps import ReceiveInput
from knowledge_base.knowledge import KnowledgeBase
from records.audit_reading import Unshown
from records.audit_rows import KeptRow
from records.audit_search import AuditQuery, find_rows
from replay.chain import Chain
from replay.changes import Changes
from replay.diff import TurnDiff, compare
from replay.evidence import Evidence
from replay.rerun import Reruns
from replay.story import tell
from replay.turns import Turn, parsed
from settings.schema import Settings

__all__ = ["Affected", "Suspect", "affected", "ask_again", "todays", "touched"]

ChainOf = Callable[[str], Awaitable[Chain]]
"""The chain of a conversation. Raises HistoryFault and RecordsFault."""
_MOST_ROWS = 1_000_000


class Suspect(Value):
    """What is at fault: exactly one of the three. ``model`` is a name or the beginning of a digest, ``rule`` the rule
    of a finding (``personal_data``) or its label. ``shown``: also answers that cite the document nowhere."""

    document: str | None = None
    model: str | None = None
    rule: str | None = None
    shown: bool = False

    @property
    def in_histories(self) -> bool:
        """Whether the audit alone cannot tell."""
        return self.rule is not None or self.shown


class Affected(Value):
    """One answer. ``at``: seconds since the epoch, None where that is damaged; ``how``: in what way it was touched.
    ``today`` is empty where it was not asked again; ``problem`` says why it could not be."""

    conversation: str
    turn: int
    tenant: str
    user: str
    at: float | None
    verdict: str
    question: str
    answer: str
    how: tuple[str, ...] = ()
    today: str = ""
    verdict_today: str = ""
    same: bool | None = None
    diff: TurnDiff | None = None
    problem: str = ""


async def affected(
    evidence: Evidence,
    suspect: Suspect,
    chain_of: ChainOf,
    *,
    since: float | None = None,
    until: float | None = None,
    unshown: Unshown | None = None,
) -> AsyncIterator[tuple[Affected, Turn | None]]:
    """Oldest first, each with its recorded turn where the history was read for it. One whose history cannot be read,
    or only in part, and that only it could have cleared, is given with its ``problem``, and so is one whose citations
    are damaged.
    ``unshown`` is told of audit rows that cannot be shown; without it they end the search with RecordsConflict. Raises
    RecordsUnavailable."""
    query = AuditQuery(
        since=since, until=until, model=suspect.model, document=None if suspect.shown else suspect.document
    )
    rows = await find_rows(
        evidence.database, query, words=evidence.words, keys=evidence.keys, limit=_MOST_ROWS, unshown=unshown
    )
    if not suspect.in_histories:
        for row in reversed(rows):
            yield _told(row, tuple(_cited(row, suspect)), problem=_open(row, suspect)), None
        return
    turns = _Turns(chain_of)
    for row in reversed(rows):
        try:
            turn, problem = await turns.of(row)
        except ParleyFault as fault:
            yield _told(row, (), problem=fault.message), None
            continue
        if how := (*_cited(row, suspect), *touched(turn, suspect)):
            yield _told(row, tuple(dict.fromkeys(how))), turn
        elif problem:  # what of it cannot be read clears nobody
            yield _told(row, (), problem=problem), None


def touched(turn: Turn, suspect: Suspect) -> Iterator[str]:
    """In what ways, as the history has it."""
    if suspect.document is not None and any(each.document == suspect.document for each in turn.passages):
        yield f"was shown {suspect.document}"
    if suspect.rule is None:
        return
    for finding in turn.findings:
        if suspect.rule in (finding.rule, finding.label):
            yield f"{finding.rule} ({finding.label}) in the message: {finding.action}"
    for step in turn.of("review_answer"):
        for finding in step.reviewed.findings if step.reviewed else ():
            if suspect.rule in (finding.rule, finding.label):
                yield f"{finding.rule} ({finding.label}) in try {step.try_number}: {finding.action}"


async def ask_again(bench: Reruns, found: Affected, turn: Turn, changes: Changes) -> Affected:
    """With what this turn would come to today. Never raises for one turn: its ``problem`` says why it could not."""
    if turn.verdict == "cancelled":
        return found.model_copy(update={"problem": f"it was cancelled ({turn.note}): there is no answer to compare"})
    try:
        again = await bench.run(turn, changes)
    except ParleyFault as fault:
        return found.model_copy(update={"problem": fault.message})
    if failure := again.broke_down(turn):
        return found.model_copy(update={"problem": failure})
    diff = compare(turn, again.turn)
    return found.model_copy(
        update={
            "today": again.turn.answer,
            "verdict_today": again.turn.verdict,
            "same": not diff.outcome,
            "diff": diff,
            "problem": "; ".join(again.failures),
        }
    )


def todays(settings: Settings, knowledge: KnowledgeBase, turn: Turn, models: Sequence[str]) -> Changes:
    """The change to all that holds now, but for what whoever asked chose: model, temperature, length, seed."""
    first = next(iter(turn.of("receive_input")), None)
    chosen = parsed(first.input, ReceiveInput) if first else None
    alias = turn.plan.model.alias if turn.plan else "default"
    generation, snapshot = settings.generation, knowledge.standing()
    values = {f"generation.{name}": getattr(generation, name) for name in _OF_GENERATION}
    values["generation.ladder"] = generation.model_dump(mode="json")["ladder"]
    if chosen is None or chosen.temperature is None:
        values["generation.temperature"] = generation.temperature
    if chosen is None or chosen.max_new_tokens is None:
        values["generation.max_new_tokens"] = generation.max_new_tokens
    values |= {"knowledge.passages": settings.knowledge.passages, "intents.threshold": settings.intents.threshold}
    tenant = settings.tenants.get(turn.tenant)
    return Changes(
        model=alias if alias in models else "default" if models else None,
        snapshot=snapshot.id if snapshot else None,
        policy=tenant.policy if tenant else None,
        settings=values,
    )


_OF_GENERATION = ("top_p", "thinking_budget", "history_turns", "max_tries", "max_seconds", "max_turn_tokens")


class _Turns:
    """Reads each conversation once: its rows come one behind another, or nearly so."""

    def __init__(self, chain_of: ChainOf) -> None:
        self._chain_of = chain_of
        self._chain, self._turns = Chain("", ()), dict[int, Turn]()

    async def of(self, row: KeptRow) -> tuple[Turn, str]:
        """The turn, and what is wrong with its run or its values. Raises what the chain raises, and HistoryFault where
        it lacks the turn."""
        if row.conversation != self._chain.workflow_id:
            self._chain = await self._chain_of(row.conversation)
            self._turns = {turn.turn: turn for turn in tell(self._chain).turns}
        if row.turn not in self._turns:
            why = "".join(f" {fault.message}" for fault in self._chain.missing[:1])
            raise HistoryFault(f"turn: the history of {row.conversation} has no turn {row.turn}.{why}", field="turn")
        turn = self._turns[row.turn]
        run = self._chain.runs[turn.run - 1]
        return turn, next(iter([*(fault.message for fault in run.problems), *turn.problems]), "")


def _cited(row: KeptRow, suspect: Suspect) -> Iterator[str]:
    if suspect.document is not None and any(each.document == suspect.document for each in row.citations):
        yield f"cites {suspect.document}"
    if suspect.model is not None:
        yield f"answered by {row.model}@{(row.model_digest or '')[:12]}"


def _open(row: KeptRow, suspect: Suspect) -> str:
    """Why it cannot be told whether the answer was touched; empty where it can."""
    return row.damage if suspect.document is not None and "citations" in row.damaged else ""


def _told(row: KeptRow, how: tuple[str, ...], problem: str = "") -> Affected:
    return Affected(
        conversation=row.conversation,
        turn=row.turn,
        tenant=row.tenant,
        user=row.user_id,
        at=None if "timestamp" in row.damaged else row.timestamp,
        verdict=row.verdict,
        question=row.input_text,
        answer=row.output_text,
        how=how,
        problem=problem,
    )
