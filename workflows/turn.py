"""A turn: the six steps, in order. Whatever becomes of it, the last step leaves one audit row."""

from __future__ import annotations

import asyncio

from temporalio.exceptions import ActivityError, is_cancelled_exception

from workflows import ladder, steps
from workflows.progress import Decision, TurnInProgress

__all__ = ["take_turn"]


async def take_turn(turn: TurnInProgress) -> None:
    """Runs ``turn`` to its reply. A step that is not needed is recorded as skipped, with the reason.

    Cancelling this task cancels the turn, up to the last step: an answer on its way out is not called back.
    """
    turn.state = "running"
    try:
        if turn.cancelled:  # while it waited for its turn
            raise asyncio.CancelledError
        await steps.receive_input(turn)
        await steps.recognise_intent(turn)
        await steps.retrieve_knowledge(turn)
        await ladder.generate_answer(turn)  # 4 and 5, review_answer, as often as the ladder says
        await steps.wait_for_a_person(turn)
    except asyncio.CancelledError:
        turn.decision = Decision("cancelled", note=turn.cancelled)
    except ActivityError as error:
        if is_cancelled_exception(error):
            turn.decision = Decision("cancelled", note=turn.cancelled)
        else:
            turn.decision = Decision("failed", note=steps.why_failed(error))
    await steps.return_answer(turn)
    turn.state = "done"
