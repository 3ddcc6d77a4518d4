"""Incident review on a real site: real model, real index, real audit, and nothing written by looking at it."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dialogue.faults import InvalidRequest, KnowledgeMissing
from records.signing import Signer
from replay import token_runs
from replay.bundle import pack, read_bundle
from replay.bundling import gather
from replay.changes import Changes
from replay.diff import compare
from replay.evidence import Evidence, evidence
from replay.histories import live
from replay.rerun import Bench, bench
from replay.samples import sampled
from replay.shown import audit_of, prompt_of
from replay.story import tell, turn_of
from replay.turns import Turn
from replay.why import Fault, parts_of, why
from tests.replay.left import Left, left_by, stream_of
from tests.replay.watched import Watched
from tests.support.site import Site

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("site"), pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
async def held(demo_site: Site) -> AsyncIterator[Evidence]:
    async with evidence(demo_site.settings) as found:
        yield found


@pytest.fixture(scope="module")
async def turn(demo_site: Site) -> Turn:
    """The second of the demo conversation: found, generated and reviewed."""
    return turn_of(tell(await live(demo_site.client, demo_site.conversation)), 2)


@pytest.fixture(scope="module")
async def reruns(held: Evidence) -> AsyncIterator[Bench]:
    """On a server of its own, as the command has it."""
    async with bench(held) as made:
        yield made


@pytest.fixture(scope="module")
async def left(demo_site: Site, held: Evidence, turn: Turn) -> Callable[[], Awaitable[Left]]:
    return partial(left_by, held, demo_site.token_log, turn)


async def test_the_exact_prompt_and_the_row_are_shown(held: Evidence, turn: Turn) -> None:
    """The prompt with its special tokens, out of the try's record; the row's hash is the history's receipt."""
    prompt = await prompt_of(held, turn)
    assert "<|im_start|>" in prompt
    assert turn.question in prompt
    assert turn.passages[0].text.strip()[:40] in prompt
    shown = await audit_of(held, turn)
    assert shown.row is not None
    assert (shown.matches, shown.row.output_text) == (True, turn.answer)
    forged = turn.model_copy(update={"audit_hash": "0" * 64})
    assert (await audit_of(held, forged)).matches is False


async def test_the_recorded_generation_gives_the_same_tokens(
    held: Evidence, turn: Turn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On an engine started as the site's worker starts it, with nothing that could not be promised; that is told of
    each try before the engine is asked for it."""
    told: list[tuple[str, ...]] = []
    order: list[str] = []
    started = token_runs.site_engine

    @asynccontextmanager
    async def watched(evidence: Evidence, digest: str) -> AsyncIterator[Watched]:
        async with started(evidence, digest) as engine:
            yield Watched(engine, lambda request: order.append(f"asked {request.id}"))

    def beforehand(turn_number: int, try_number: int, why: tuple[str, ...]) -> None:
        told.append(why)
        order.append(f"told replay/{turn_number}/{try_number}/")

    monkeypatch.setattr(token_runs, "site_engine", watched)
    found = await token_runs.verify_tokens(held, [turn], beforehand)
    assert {each.state for each in found} == {"same"}, found
    for step in turn.of("generate_answer"):  # as a rule one; a poor answer is tried again, with several candidates
        assert step.generated is not None
        made = sum(each.tokens for each in found if each.try_number == step.try_number)
        assert made == step.generated.usage.completion_tokens
    assert told == [()] * len(turn.of("generate_answer"))
    assert len(order) >= 2 * len(told)
    before = ""
    for event in order:
        does, name = event.split()
        before = name if does == "told" else before
        assert before, order
        assert name.startswith(before), order


async def test_a_bundle_holds_what_the_site_has_of_the_turn(
    demo_site: Site, held: Evidence, turn: Turn, tmp_path: Path
) -> None:
    """Nothing is missing: the stream to its last event, the prompt and each try's record, in a file that is signed."""
    chain = await live(demo_site.client, demo_site.conversation)
    made = await gather(chain, held, version="1")
    assert made.manifest.absent == ()
    path = tmp_path / "incident.zip"
    path.write_bytes(pack(made.manifest, made.files, Signer([Ed25519PrivateKey.generate()])))
    bundle = read_bundle(path)
    for each in tell(chain).turns:
        kept = await stream_of(demo_site.token_log, each)
        assert json.loads(bundle.text(f"stream/turn-{each.turn}.json")) == [asdict(event) for event in kept]
        assert kept[-1].kind == "final"
    assert bundle.text(f"prompts/turn-{turn.turn}.txt") == await prompt_of(held, turn)
    drafts = [step.generated for step in turn.of("generate_answer")]
    assert drafts
    for draft in drafts:
        assert draft is not None
        assert bundle.text(f"contents/{draft.record}").encode() == await held.contents.get(draft.record)
        assert "prompt_ids" in json.loads(bundle.text(f"contents/{draft.record}"))


async def test_a_rerun_changes_what_depends_on_the_change_and_writes_nothing(
    left: Callable[[], Awaitable[Left]], turn: Turn, reruns: Bench
) -> None:
    """Another seed and temperature: generation and what follows; the steps before give what was recorded. Neither in
    the records nor in the token log is a row more."""
    before = await left()
    assert before.counts["interaction_logs"] == len(before.hashes) > 0
    assert before.counts["chunks"] > 0
    assert before.stream
    same = await reruns.run(turn, Changes(settings={"generation.max_seconds": 500.0}))
    assert (same.again, same.failures) == ((), ())
    assert compare(turn, same.turn).same
    assert await left() == before
    changes = Changes(settings={"generation.temperature": 1.5, "generation.seed": 4})
    other = await reruns.run(turn, changes)
    assert other.failures == ()
    assert other.again[0] == "generate_answer"
    assert set(other.again) <= {"generate_answer", "quote_passages", "review_answer", "return_answer"}
    found = compare(turn, other.turn)
    assert ("input.temperature", 0.2, 1.5) in {
        (f.path, f.a, f.b) for step in found.steps if step.activity == "generate_answer" for f in step.fields
    }
    assert other.turn.turn == turn.turn
    assert await left() == before


@pytest.mark.full
async def test_a_turn_that_is_run_again_whole_comes_out_the_same(
    left: Callable[[], Awaitable[Left]], turn: Turn, reruns: Bench
) -> None:
    """Each step by today's code, the model among them: what differs is where and when, and nothing is written."""
    before = await left()
    again = await reruns.run(turn, Changes(all_steps=True))
    assert list(again.again) == [step.activity for step in turn.steps]
    assert again.failures == ()
    assert await left() == before
    found = compare(turn, again.turn)
    assert found.same, found.first


async def test_another_policy_judges_again_without_the_model(
    left: Callable[[], Awaitable[Left]], turn: Turn, reruns: Bench, tmp_path: Path
) -> None:
    """Where the message reads the same under it, only input and review run again, and the verdict is the new one's."""
    said = next(word for word in re.findall(r"[a-z]{4,}", turn.answer) if word not in turn.question.lower())
    (tmp_path / "words.txt").write_text(f"{said}\t3\ttest\n")
    policy = tmp_path / "strict.yaml"
    policy.write_text(json.dumps({"words": [str(tmp_path / "words.txt")]}))
    before = await left()
    again = await reruns.run(turn, Changes(policy=str(policy)))
    assert await left() == before
    assert again.failures == ()
    assert "generate_answer" not in again.again
    assert {"receive_input", "review_answer"} <= set(again.again)
    assert again.turn.verdict == "block"


async def test_what_a_change_needs_and_is_not_there_is_said(turn: Turn, reruns: Bench) -> None:
    """Before anything is run."""
    with pytest.raises(KnowledgeMissing):
        await reruns.run(turn, Changes(snapshot="0" * 64))
    with pytest.raises(InvalidRequest, match="this site has no gpt-9"):
        await reruns.run(turn, Changes(model="gpt-9"))
    with pytest.raises(InvalidRequest, match="neither a file nor one of default"):
        await reruns.run(turn, Changes(policy="nobody.yaml"))
    with pytest.raises(InvalidRequest, match=r"generation\.temperature"):
        await reruns.run(turn, Changes(settings={"generation.temperature": 9}))


@pytest.mark.full
async def test_the_recorded_snapshot_is_searched_again(turn: Turn, reruns: Bench) -> None:
    """Fewer passages of the same snapshot; the best is still the first."""
    again = await reruns.run(turn, Changes(settings={"knowledge.passages": 1}))
    assert again.again[0] == "retrieve_knowledge"
    assert again.turn.snapshot == turn.snapshot
    assert [each.id for each in again.turn.passages] == [turn.passages[0].id]


@pytest.mark.full
async def test_samples_say_how_often_the_recorded_verdict_comes(turn: Turn, reruns: Bench) -> None:
    """Each with another seed; of a turn without a model nothing is sampled."""
    found = await sampled(reruns, turn, 3)  # side by side
    assert found.failed == 0, found.why
    assert (found.samples, sum(found.verdicts.values())) == (3, 3)
    assert found.low <= found.hits / 3 <= found.high
    greeting = turn.model_copy(update={"steps": turn.steps[:2]})
    assert (await sampled(reruns, greeting, 2)).state == "unchecked"


@pytest.mark.full  # a dozen generations
async def test_the_passages_behind_a_word_are_found(turn: Turn, reruns: Bench) -> None:
    """A word of the answer: without what is named, no rerun says it; put back, the recorded one does."""
    said = next(word for word in re.findall(r"[a-z]{4,}", turn.answer) if word not in turn.question.lower())
    found = await why(reruns, turn, Fault(word=said))
    assert (found.recorded.hits, found.recorded.samples) == (1, 1)
    assert found.least
    assert found.without is not None
    assert found.without.hits == 0
    assert set(found.least) <= set(parts_of(turn))


async def test_the_commands_find_and_show_on_a_site(demo_site: Site) -> None:
    """As typed: from a word of the complaint to the turn, its prompt and its row."""

    async def parley(*arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cli.main", "replay", *arguments,
            cwd=demo_site.repository, env=demo_site.environment,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        return out.decode()

    found = json.loads(await parley("find", "--text", "send back SHOES", "--verdict", "pass", "--json"))
    assert demo_site.conversation in {each["conversation"] for each in found}
    shown = await parley("show", demo_site.conversation, "--turn", "2", "--prompt", "--audit")
    assert "is the receipt's" in shown
    assert "same commands  ✓" in await parley("verify", demo_site.conversation)
