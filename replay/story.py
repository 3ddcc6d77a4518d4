"""Tells the story of a conversation: the events of all its runs become turns."""

from __future__ import annotations

from dialogue.faults import NoSuchTurn, ParleyFault
from replay.chain import Chain, RecordedRun
from replay.events import kind
from replay.forked import forked_line
from replay.run_reader import RunReader
from replay.turns import Story, StoryRun, Turn

__all__ = ["tell", "turn_of"]

_ENDS = {
    "WORKFLOW_EXECUTION_COMPLETED": "completed",
    "WORKFLOW_EXECUTION_FAILED": "failed",
    "WORKFLOW_EXECUTION_TIMED_OUT": "timed out",
    "WORKFLOW_EXECUTION_TERMINATED": "terminated",
    "WORKFLOW_EXECUTION_CANCELED": "cancelled",
    "WORKFLOW_EXECUTION_CONTINUED_AS_NEW": "continued as new",
}


def tell(chain: Chain) -> Story:
    """Every turn of the chain, in order. A turn that a reset run had again is told as the newest run has it; one whose
    message was only repeated later, as it was answered first. A lost one gives way to the message that has its number
    now. What was thought of it stands in whichever run it was said."""
    turns: dict[int, Turn] = {}
    problems: list[ParleyFault] = [*chain.problems]
    tenant = ""
    for number, run in enumerate(chain.runs, 1):
        reader = RunReader(run, number, ended=_end_of(run), earlier=tuple(turns.values()))
        for turn in reader.read():
            told = turns.get(turn.turn)
            turns[turn.turn] = turn if told is None else _joined(told, turn)
        problems += [bad.fault for bad in reader.values.bad]
        tenant = tenant or reader.tenant
    return Story(
        conversation=chain.workflow_id,
        tenant=tenant,
        runs=tuple(_run(run, number) for number, run in enumerate(chain.runs, 1)),
        turns=tuple(turns[number] for number in sorted(turns)),
        problems=tuple(problem.message for problem in problems),
    )


def turn_of(story: Story, number: int | None) -> Turn:
    """The turn of that number, the last one where none is given. Raises NoSuchTurn."""
    if number is None and story.turns:
        return story.turns[-1]
    for turn in story.turns:
        if turn.turn == number:
            return turn
    held = ", ".join(str(turn.turn) for turn in story.turns) or "none"
    raise NoSuchTurn(f"turn: {story.conversation} has no turn {number or 1} here; it has {held}.", field="turn")


def _joined(older: Turn, newer: Turn) -> Turn:
    given = sorted(dict.fromkeys((*older.feedback, *newer.feedback)), key=lambda each: each.at)
    takes_over = newer.steps or (older.state == "lost" and newer.said)
    return (newer if takes_over else older).model_copy(update={"feedback": tuple(given)})


def _end_of(run: RecordedRun) -> str:
    return _ENDS.get(kind(run.events[-1]), "")


def _run(run: RecordedRun, number: int) -> StoryRun:
    return StoryRun(
        run=number,
        run_id=run.run_id,
        workflow_type=run.workflow_type,
        source=run.source,
        events=len(run.events),
        started=run.started_at,
        ended=_end_of(run),
        forked=forked_line(run),
    )
