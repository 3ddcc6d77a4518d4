"""What the model is given in a rerun, and which snapshot is searched: the recorded ones but for what was changed.

The reruns are real ones at a site without a model: each ends where the model would be asked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from dialogue.faults import InvalidRequest, ModelMissing
from dialogue.messages import TurnKey
from dialogue.plan import ModelPlan
from dialogue.steps import GenerateAnswer, RetrieveKnowledge
from knowledge_base.knowledge import KnowledgeBase
from records.payloads import data_converter
from replay.changes import Changes, rerun_plan
from replay.evidence import Evidence, evidence
from replay.histories import from_files
from replay.rerun import Bench, bench
from replay.rerun_history import history_of
from replay.rerun_parts import RerunParts, Step
from replay.story import tell, turn_of
from replay.turns import Turn, TurnStep
from replay.why import parts_of
from settings.load import load
from tests.knowledge_base.conftest import RETURNS_EN, HashEmbedder, write
from tests.replay.made import recorded, story


@dataclass
class _Reruns:
    bench: Bench
    asked: list[GenerateAnswer] = field(default_factory=list[GenerateAnswer])
    """What the model was asked."""
    ran: list[str] = field(default_factory=list[str])
    """The steps that were run again, in order."""

    async def run(self, turn: Turn, changes: Changes) -> GenerateAnswer:
        """What the model is asked first."""
        self.asked.clear()
        self.ran.clear()
        with pytest.raises(ModelMissing, match="no prepared model and not dddddddddddd"):
            await self.bench.run(turn, changes)
        return self.asked[0]


@pytest.fixture
async def held(tmp_path: Path) -> AsyncIterator[Evidence]:
    file = tmp_path / "temporal.yaml"
    file.write_text("data: var\n")
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "records.db").touch()
    async with evidence(load(file)) as found:
        yield found


@pytest.fixture
async def reruns(
    held: Evidence, temporal: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[_Reruns]:
    async with bench(held, temporal.client) as made:
        noting, parts = _Reruns(made), made.parts
        generating, step = parts.generating, parts.step

        async def asked(request: GenerateAnswer) -> Step:
            noting.asked.append(request)
            noting.ran.append("generate_answer")
            return await generating(request)

        async def ran(activity: str, *given: Any, **named: Any) -> Step:
            noting.ran.append(activity)
            return await step(activity, *given, **named)

        monkeypatch.setattr(parts, "generating", asked)
        monkeypatch.setattr(parts, "step", ran)
        yield noting


@pytest.fixture
async def turn() -> Turn:
    """The second of a conversation, as if it had been shown three passages."""
    return _with_passages(turn_of(await story("normal"), 2), ("p1", "p2", "p3"))


def _with_passages(turn: Turn, ids: tuple[str, ...]) -> Turn:
    passages = [turn.passages[0].model_copy(update={"id": each}).model_dump(mode="json") for each in ids]

    def edited(step: TurnStep) -> TurnStep:
        update: dict[str, Any] = {}
        if step.activity == "retrieve_knowledge":
            update = {"result": {**step.result, "passages": passages}}
        elif step.activity in ("generate_answer", "review_answer"):
            update = {"input": {**step.input, "passages": passages}}
        return step.model_copy(update=update)

    return turn.model_copy(update={"steps": tuple(map(edited, turn.steps))})


async def test_a_passage_that_is_taken_away_is_the_only_one_that_is_missing(reruns: _Reruns, turn: Turn) -> None:
    """The model is asked with the others, in their order, and with all else that it was asked with; no step before it
    is run again."""
    recorded = turn.asked
    assert recorded is not None
    asked = await reruns.run(turn, Changes(without_passages=("p2",)))
    assert [each.id for each in asked.passages] == ["p1", "p3"]
    assert asked.history == recorded.history
    same = {"turn", "passages", "record"}
    assert asked.model_dump(exclude=same) == recorded.model_dump(exclude=same)
    assert reruns.ran[0] == "generate_answer"


async def test_a_message_that_is_taken_away_is_the_only_one_that_is_missing(reruns: _Reruns, turn: Turn) -> None:
    """By its place in the history."""
    recorded = turn.asked
    assert recorded is not None
    assert len(recorded.history) == 2
    asked = await reruns.run(turn, Changes(without_history=(0,)))
    assert asked.history == recorded.history[1:]
    asked = await reruns.run(turn, Changes(without_history=(1,)))
    assert asked.history == recorded.history[:1]
    assert asked.passages == recorded.passages
    assert reruns.ran[0] == "generate_answer"


async def _third(history_turns: int) -> Turn:
    """The third of a conversation, in its second run, as if the plan had let it have so many turns."""
    third = turn_of(await story("continued-as-new.1", "continued-as-new.2"), 3)
    assert third.plan is not None
    generation = third.plan.generation.model_copy(update={"history_turns": history_turns})

    def edited(step: TurnStep) -> TurnStep:
        if step.activity != "generate_answer":
            return step
        shown = step.input["history"]
        return step.model_copy(update={"input": {**step.input, "history": shown[max(0, 4 - 2 * history_turns) :]}})

    plan = third.plan.model_copy(update={"generation": generation})
    return third.model_copy(update={"plan": plan, "steps": tuple(map(edited, third.steps))})


@pytest.mark.parametrize(("then", "now", "shown"), [(1, 6, 4), (0, 1, 2), (0, 2, 4)])
async def test_more_turns_of_the_history_than_were_shown_then(reruns: _Reruns, then: int, now: int, shown: int) -> None:
    """The model is asked with what the run remembered, also from before it continued as new."""
    whole = turn_of(await story("continued-as-new.1", "continued-as-new.2"), 3).asked
    assert whole is not None
    assert len(whole.history) == 4
    asked = await reruns.run(await _third(then), Changes(settings={"generation.history_turns": now}))
    assert asked.history == whole.history[4 - shown :]


@pytest.mark.parametrize(
    ("then", "changes", "shown"),
    [
        (1, {}, 2),
        (0, {}, 0),
        (1, {"generation.history_turns": 6}, 4),
    ],
)
async def test_a_turn_in_which_no_model_was_asked_is_shown_what_the_run_remembered(
    reruns: _Reruns, then: int, changes: dict[str, Any], shown: int
) -> None:
    """Where the change has one asked now: as many turns as the plan says, or the change."""
    third = await _third(then)
    unasked = tuple(each for each in third.steps if each.activity not in ("generate_answer", "review_answer"))
    assert len(third.before) == 4
    asked = await reruns.run(third.model_copy(update={"steps": unasked}), Changes(settings=changes))
    assert asked.history == third.before[4 - shown :]


async def test_turns_that_this_history_does_not_hold_are_not_made_up(reruns: _Reruns) -> None:
    """Where it remembers other messages, or fewer, than the model was shown, a larger number is refused; and it is no
    setting that could have made a fault."""
    third, more = await _third(1), Changes(settings={"generation.history_turns": 6})
    number = "generation.history_turns"
    assert number in [part.name for part in parts_of(third)]
    for before in ((), third.before[:2]):
        unknown = third.model_copy(update={"before": before})
        with pytest.raises(
            InvalidRequest, match=r"history_turns: what came before the 2 messages that turn 3 was shown"
        ):
            await reruns.bench.run(unknown, more)
        assert number not in [part.name for part in parts_of(unknown)]
    assert history_of(third, Changes(settings={number: 1})) == third.before[2:]


async def test_what_a_run_remembers_is_what_its_model_was_shown() -> None:
    """In every recorded history: carried on, told by the audit, or said in the run itself."""
    seen = 0
    for path in recorded("*"):
        for found in await from_files(sorted(path.parent.glob(path.name)), data_converter):
            for turn in tell(found).turns:
                if turn.asked is not None and turn.plan is not None and turn.plan.generation.history_turns:
                    shown = 2 * turn.plan.generation.history_turns
                    assert turn.before[-shown:] == turn.asked.history, (turn.conversation, turn.turn)
                    seen += bool(turn.asked.history)
    assert seen > 10


@pytest.fixture
def two_snapshots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """The ids of the recorded one and of today's, which holds the same document with another answer."""
    base = KnowledgeBase(tmp_path / "kb", HashEmbedder())
    old = base.build([write(tmp_path / "old", returns__en=RETURNS_EN)]).snapshot.id
    later = RETURNS_EN.replace("30 days", "90 days")
    new = base.build([write(tmp_path / "new", returns__en=later)]).snapshot.id
    assert base.current() is not None
    assert base.current().id == new != old  # type: ignore[union-attr]
    monkeypatch.setattr(RerunParts, "knowledge", lambda _parts: base)
    return old, new


async def test_the_recorded_snapshot_is_searched_and_not_the_current(
    held: Evidence, two_snapshots: tuple[str, str]
) -> None:
    """Unless the change names another."""
    old, new = two_snapshots
    request = RetrieveKnowledge(
        turn=TurnKey(conversation="conv-1", turn=1, tenant="default"), text="How long for shoes bought online?",
        language="en",
    )  # fmt: skip
    async with AsyncExitStack() as stack:
        parts = RerunParts(held, stack)
        for changes, snapshot, said in (
            (Changes(settings={"knowledge.threshold": 0.0}), old, "within 30 days"),
            (Changes(snapshot=new, settings={"knowledge.threshold": 0.0}), new, "within 90 days"),
        ):
            search = await parts.step("retrieve_knowledge", changes, tenant="default", snapshot=old)
            found = await search(request)
            assert found.snapshot == snapshot
            assert any(said in passage.text for passage in found.passages)


async def test_a_rerun_names_the_snapshot_of_its_turn(
    reruns: _Reruns, turn: Turn, two_snapshots: tuple[str, str]
) -> None:
    """The model is asked with what stands in that one."""
    old, new = two_snapshots
    turn = turn.model_copy(update={"snapshot": old})
    everything = {"knowledge.passages": 9, "knowledge.threshold": 0.0}
    for changes, said in (
        (Changes(settings=everything), "within 30 days"),
        (Changes(snapshot=new, settings=everything), "within 90 days"),
    ):
        asked = await reruns.run(turn, changes)
        assert reruns.ran[:2] == ["retrieve_knowledge", "generate_answer"]
        assert any(said in passage.text for passage in asked.passages)


async def test_another_model_takes_the_place_of_the_recorded_one(turn: Turn) -> None:
    """Named by alias, by name or by its digest; without that the recorded one stays."""
    assert turn.plan is not None
    other = ModelPlan(alias="large", name="r1", digest="e" * 64, task_queue="gpu", languages=("en",), context=512)
    models = {"large": other, "small": turn.plan.model}
    for named in ("large", "r1", f"r1@{'e' * 12}"):
        plan = rerun_plan(turn.plan, Changes(model=named), models, "queue")
        assert plan.model == other.model_copy(update={"task_queue": "queue"})
    kept = rerun_plan(turn.plan, Changes(), models, "queue").model
    assert kept == turn.plan.model.model_copy(update={"task_queue": "queue"})
