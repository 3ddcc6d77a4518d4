"""What a test written by ``parley replay to-test`` checks: its fixture replays, and today's policy judges its draft."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHistory
from temporalio.testing import ActivityEnvironment

from activities.review_answer import ReviewAnswerStep
from activities.stream_events import StreamEvents
from dialogue.faults import HistoryUnreadable, ModelFault
from dialogue.steps import ReviewedAnswer
from model_runtime.tokenizer import Tokenizer
from policy.policy import Policy
from replay.chain import Chain, RecordedRun
from replay.exact import HistoryExact, history_exact
from replay.quiet import no_token_log
from replay.story import tell, turn_of
from replay.turns import Turn
from settings.layout import Layout
from settings.schema import Settings

__all__ = ["Regression", "fixture_of"]


def fixture_of(run: RecordedRun, turn: Turn) -> dict[str, Any]:
    """The run with its payloads in clear, and which turn of it is meant."""
    return {"workflow_id": run.workflow_id, "turn": turn.turn, "history": run.history().to_json_dict()}


@dataclass(frozen=True)
class Regression:
    """A recorded turn and the run that holds it."""

    run: RecordedRun
    turn: Turn

    @classmethod
    def load(cls, fixture: Path) -> Regression:
        """Raises HistoryUnreadable."""
        try:
            held = json.loads(fixture.read_text("utf-8"))
            history = WorkflowHistory.from_json(held["workflow_id"], held["history"])
        except (ValueError, KeyError, TypeError) as error:
            raise HistoryUnreadable(f"{fixture}: it is no fixture of a turn ({error}). Write it anew.") from None
        run = RecordedRun(history.workflow_id, tuple(history.events), str(fixture))
        return cls(run, turn_of(tell(Chain(run.workflow_id, (run,))), held["turn"]))

    async def history(self) -> HistoryExact:
        """Whether today's workflow code makes the recorded commands; another wording of theirs is no fault."""
        return await history_exact(self.run, arguments=False)

    async def review(self, settings: Settings) -> ReviewedAnswer:
        """The recorded draft as today's policy of its tenant judges it; no model is needed.

        Raises PolicyFault, and HistoryUnreadable for a turn that was never reviewed.
        """
        asked = self.turn.review_asked
        if asked is None:
            raise HistoryUnreadable(f"turn: turn {self.turn.turn} was never reviewed: there is no draft to judge.")
        tenant = settings.tenants.get(self.turn.tenant)
        name = tenant.policy if tenant is not None else next(iter(settings.policies))
        policy = Policy.build(settings.policies[name], settings.resolve(Path()))
        step = ReviewAnswerStep(_Today(policy), _special(settings), StreamEvents(no_token_log()))  # type: ignore[arg-type]
        request = asked.model_copy(update={"policy": name, "policy_digest": policy.digest})
        return await ActivityEnvironment().run(step.review_answer, request)


class _Today:
    """One policy, whatever is asked for."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    async def by_digest(self, name: str, digest: str) -> Policy:
        return self._policy


def _special(settings: Settings) -> tuple[str, ...]:
    """The strings that no answer may hold; none where the model is not prepared, as in continuous integration."""
    try:
        return Tokenizer.load(Layout.of(settings).model(settings.model)).special_strings()
    except ModelFault:
        return ()
