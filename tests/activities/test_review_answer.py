"""The review repairs citations, withholds what no passage holds, and keeps the best supported candidate."""

from __future__ import annotations

from pathlib import Path

import pytest
from temporalio.testing import ActivityEnvironment

from activities.policies import Policies
from activities.review_answer import ReviewAnswerStep, without_echo
from activities.stream_events import StreamEvents
from dialogue.messages import TurnKey
from dialogue.steps import Candidate, Passage, ReviewAnswer, ReviewedAnswer
from policy.policy import Policy
from records.content import ContentStore
from records.database import connect_database, migrate
from records.token_log_sqlite import SqliteTokenLog

RETURNS = "Shoes and clothes bought online can be sent back within 30 days from delivery, in the original box."
LIMITS = "The daily transfer limit is 10,000 EUR. The limit starts again at midnight."


def _passage(number: int, text: str) -> Passage:
    return Passage(
        id=f"p{number}",
        document=f"en/{number}.md",
        title="T",
        section="S",
        language="en",
        text=text,
        start=100,
        end=100 + len(text),
        score=0.9,
    )


PASSAGES = (_passage(1, RETURNS), _passage(2, LIMITS))


@pytest.fixture
async def review(tmp_path: Path):
    """Reviews a whole request with the default policy."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'records.db'}"
    await migrate(url)
    database = connect_database(url)
    token_log = SqliteTokenLog(tmp_path / "log.db")
    policy = Policy.build({}, tmp_path)
    policies = Policies({"default": policy}, ContentStore(database))
    await policies.keep()
    step = ReviewAnswerStep(policies, ["<|im_end|>"], StreamEvents(token_log))

    async def run(
        answer: str, question: str = "How long may I take to send shoes back?", **more: object
    ) -> ReviewedAnswer:
        request = ReviewAnswer.model_validate(
            {
                "turn": TurnKey(conversation="c", turn=1, tenant="default"),
                "question": "How long may I take to send shoes back?",
                "language": "en",
                "answer": answer,
                "finish_reason": "stop",
                "passages": PASSAGES,
                "policy": "default",
                "policy_digest": policy.digest,
                **more,
            }
        )
        return await ActivityEnvironment().run(step.review_answer, request)

    yield run
    await token_log.close()
    await database.dispose()


async def test_a_supported_sentence_gets_the_citation_that_holds(review) -> None:
    """A wrong mark is replaced by the right one, and its span stands in the document."""
    reviewed = await review("Shoes can be sent back within 30 days from delivery [2].")
    assert reviewed.verdict == "pass"
    assert "[1]" in reviewed.answer
    assert "[2]" not in reviewed.answer
    (citation,) = reviewed.citations
    assert citation.document == "en/1.md"
    assert citation.quote == RETURNS[citation.start - 100 : citation.end - 100]


@pytest.mark.parametrize(
    "answer",
    [
        "Shoes can be sent back within 45 days from delivery.",
        "Shoes bought online can be sent back within 30 days from delivery to Martina Hofer in Vienna.",
        "The daily transfer limit is 20,000 EUR.",
        "Shoes bought online can be sent back for 10,000 EUR.",
    ],
)
async def test_an_invented_number_or_name_is_not_sent(review, answer: str) -> None:
    """What stands in no passage and not in the question asks for another try."""
    reviewed = await review(answer)
    assert reviewed.verdict == "regenerate"
    assert "unsupported_claim" in reviewed.reason


@pytest.mark.parametrize(
    ("answer", "finish", "rule"),
    [
        ("Shoes can be sent back within", "length", "cut_off"),
        ("", "stop", "empty"),
        ("Shoes can be sent back <|im_end|> within 30 days.", "stop", "template_tokens"),
        ("</think> Shoes can be sent back within 30 days from delivery.", "stop", "reasoning_leak"),
        ("鞋子三十天内可以退货。", "stop", "wrong_language"),
        ("I am happy to help you with that at any time.", "stop", "no_citation"),
    ],
)
async def test_what_must_not_be_shown_is_found(review, answer: str, finish: str, rule: str) -> None:
    """Each rule has its finding, and the verdict is never ``pass``."""
    reviewed = await review(answer, finish_reason=finish)
    assert rule in {finding.rule for finding in reviewed.findings}
    assert reviewed.verdict not in ("pass", "mask")


async def test_personal_data_that_nobody_gave_is_masked(review) -> None:
    """A phone number from nowhere is covered; one that the question holds is not."""
    number = "13812345678"
    reviewed = await review(f"Shoes can be sent back within 30 days from delivery, call {number}.")
    assert number not in reviewed.answer


async def test_the_best_supported_candidate_is_kept(review) -> None:
    """Of three, the one without an invention and with the most support."""
    answers = (
        "Shoes can be sent back within 99 days.",
        "Shoes and clothes bought online can be sent back within 30 days from delivery.",
        "You may do so within 30 days, I think, as far as anybody knows about such things.",
    )
    candidates = tuple(Candidate(answer=answer, finish_reason="stop") for answer in answers)
    reviewed = await review(answers[0], candidates=candidates)
    assert (reviewed.kept, reviewed.verdict) == (1, "pass")


async def test_a_quotation_is_not_held_against_itself(review) -> None:
    """Quoted passages pass with their citations."""
    reviewed = await review(f"From our documents:\n{LIMITS} [2]", quoted=True)
    assert reviewed.verdict == "pass"
    assert [citation.number for citation in reviewed.citations] == [2]


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ("Question: How long?\n\nAnswer: 30 days.", "30 days."),
        ("How long? 30 days.", "30 days."),
        ("问题：多少天？\n30天。", "多少天？\n30天。"),
        ("30 days.", "30 days."),
        ("How long?", ""),
        ("30 days.\n\nQuestion: And then?", "30 days."),
        ('"30 days.', "30 days."),
        ('"30 days."', "30 days."),
        ('The "box" rule.', 'The "box" rule.'),
    ],
)
def test_an_echo_of_the_question_is_no_answer(answer: str, shown: str) -> None:
    """It is taken away, so that what is left can be judged as the answer it is."""
    assert without_echo(answer, "How long?") == shown


async def test_a_heading_said_again_is_dropped(review) -> None:
    """The line is no sentence of the answer."""
    reviewed = await review("T, S\nShoes and clothes bought online can be sent back within 30 days from delivery.")
    assert reviewed.answer.startswith("Shoes and clothes")


async def test_what_a_file_says_is_supported(review) -> None:
    """A claim that stands in the asker's file holds, without a citation; one that stands nowhere does not."""
    files = [{"name": "lease.txt", "text": "The rent is 740 EUR. Call Ms Meyer at meyer@example.org.", "digest": ""}]
    answer = "The rent is 740 EUR. Write to meyer@example.org."
    assert (await review(answer, files=files)).verdict == "pass"
    assert (await review(answer)).verdict != "pass"
    assert (await review("The rent is 750 EUR.", files=files)).verdict != "pass"
