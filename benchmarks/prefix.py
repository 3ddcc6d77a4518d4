"""What a conversation saves because the beginning of its prompts is in the cache already.

One conversation, its prompts built as a turn's are: the history grows, the question and its passage stand last. Two
engines of one row, each prompt asked of both: one is asked nothing else, the other something unrelated before each, so
that its row holds nothing that helps.
"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmarks.engine import prepared, start_engine
from benchmarks.figures import spread

if TYPE_CHECKING:
    from model_runtime.engine_client import ProcessEngine

__all__ = ["run", "table"]

HELP = Path(__file__).resolve().parent.parent / "examples" / "help"
TURNS, QUICK_TURNS = 16, 6
ANSWER_TOKENS = 70
WIDTHS = (256, 512, 1024, 2048)
Prompt = tuple[int, ...]


async def run(*, quick: bool = False) -> dict[str, Any]:
    """A row a turn: tokens of its prompt and how many of them were reused, milliseconds to the first token with and
    without; ``ratio`` over the turns that reused any."""
    prompts, unrelated = _prompts(QUICK_TURNS if quick else TURNS)
    rows: list[dict[str, Any]] = []
    async with AsyncExitStack() as stack:
        warm, cold = [await start_engine(prepared(), 1, stack, widths=WIDTHS) for _ in range(2)]
        for number, prompt in enumerate(prompts):
            await _first_token(cold, f"other-{number}", unrelated)
            without, _ = await _first_token(cold, f"cold-{number}", prompt)
            with_it, reused = await _first_token(warm, f"warm-{number}", prompt)
            rows.append(
                {
                    "turn": number + 1,
                    "prompt_tokens": len(prompt),
                    "reused_tokens": reused,
                    "cold_ms": round(without, 1),
                    "warm_ms": round(with_it, 1),
                }
            )
    ratios = [row["cold_ms"] / row["warm_ms"] for row in rows if row["reused_tokens"]]
    return {
        "model": prepared().name,
        "turns": rows,
        "reused_share": round(sum(r["reused_tokens"] for r in rows) / sum(r["prompt_tokens"] for r in rows), 2),
        "ratio": spread(ratios) if ratios else None,
    }


def _prompts(turns: int) -> tuple[list[Prompt], Prompt]:
    """Those of a conversation, turn by turn; and one that has nothing in common with them."""
    from dialogue.messages import ChatMessage
    from dialogue.steps import Passage
    from model_runtime.prompt import build_prompt
    from model_runtime.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(prepared())
    asked = yaml.safe_load((HELP / "questions.yaml").read_text("utf-8"))["questions"]
    questions = [one["question"] for one in asked if one["lang"] == "en"]
    words = tokenizer.encode("\n".join(file.read_text("utf-8") for file in sorted((HELP / "en").glob("*.md"))))
    history: list[ChatMessage] = []
    prompts: list[Prompt] = []
    for number in range(turns):
        said = tokenizer.decode(words[number * ANSWER_TOKENS :][:ANSWER_TOKENS])
        passage = Passage(
            id=f"p{number}", document="d", title="Help", section="", language="en", text=said, start=0,
            end=len(said), score=1.0,
        )  # fmt: skip
        question = questions[number % len(questions)]
        built = build_prompt(
            tokenizer=tokenizer,
            question=question,
            language="en",
            passages=[passage],
            history=history,
            context=WIDTHS[-1],
            max_new_tokens=64,
        )
        prompts.append(built.ids)
        history += [ChatMessage(role="user", content=question), ChatMessage(role="assistant", content=said)]
    return prompts, words[-600:]


async def _first_token(engine: ProcessEngine, name: str, prompt: Prompt) -> tuple[float, int]:
    """Milliseconds, and how many of the prompt's tokens were reused."""
    from model_runtime.protocol import GenerationRequest, Sampling

    began = time.perf_counter()
    request = GenerationRequest(name, prompt, sampling=Sampling(max_new_tokens=1, watch=False))
    events = [event async for event in engine.submit(request)]
    return 1000 * (time.perf_counter() - began), events[-1].reused


def table(result: dict[str, Any]) -> Table:
    shown = Table("turn", title=f"{result['model']}, one conversation", title_style="", title_justify="left",
                  box=SIMPLE_HEAD)  # fmt: skip
    for column in ("prompt tokens", "reused", "first token, ms", "without reuse, ms"):
        shown.add_column(column, justify="right")
    for row in result["turns"]:
        shown.add_row(
            str(row["turn"]),
            str(row["prompt_tokens"]),
            str(row["reused_tokens"]),
            f"{row['warm_ms']:.0f}",
            f"{row['cold_ms']:.0f}",
        )
    return shown
