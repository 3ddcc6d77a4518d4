"""What a reply looks like."""

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from cli.console import WIDTH, plain
from cli.tables import citation_line, duration, reply_view, steps_table
from cli.transcript_command import transcript_view
from dialogue.steps import Citation
from dialogue.turn import Reply, StepRecord, Transcript, TurnSummary

CITATION = Citation(
    number=1,
    document="en/returns.md",
    title="Returns and refunds",
    section="Online orders",
    start=412,
    end=498,
    quote="You have 30 days from delivery.",
    support=0.9,
)
STEPS = (
    StepRecord(step="receive_input", pool="dialogue", milliseconds=4, result="en · 12 tokens · clean"),
    StepRecord(
        step="generate_answer", pool="gpu", try_number=2, attempt=3, milliseconds=1900, result="38 tokens · stop"
    ),
    StepRecord(step="review_answer", pool=None, result="skipped: refused by policy", skipped=True),
)


def reply(**changed: object) -> Reply:
    return Reply.model_validate(
        {
            "conversation": "conv-1",
            "turn": 1,
            "message_id": "m",
            "tenant": "default",
            "state": "done",
            "answer": "You have 30 days. [1]",
            "language": "en",
            "verdict": "pass",
            "citations": (CITATION,),
            "steps": STEPS,
            "workflow_id": "conv-1",
            "run_id": "r",
            "received_at": 0.0,
            **changed,
        }
    )


def drawn(view: object, width: int = WIDTH) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=width, markup=False, highlight=False).print(view)
    return [line.rstrip() for line in file.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, "0 ms"), (4.4, "4 ms"), (999.4, "999 ms"), (1900, "1.9 s"), (59_900, "59.9 s"), (125_000, "2 min 5 s")],
)
def test_durations_read_in_the_unit_that_fits(milliseconds, text):
    """Milliseconds under a second, seconds under a minute, minutes above."""
    assert duration(milliseconds) == text


def test_a_citation_names_title_section_document_and_span():
    """The line can be found in the document; without a section there is no section sign."""
    assert citation_line(CITATION) == "[1] Returns and refunds § Online orders (en/returns.md:412-498)"
    bare = CITATION.model_copy(update={"section": ""})
    assert citation_line(bare) == "[1] Returns and refunds (en/returns.md:412-498)"


def test_each_step_is_a_line_with_its_try_and_attempt():
    """The third attempt of the second try reads 2.3; a skipped step has no time and says why."""
    lines = drawn(steps_table(STEPS))
    assert lines[0].split() == ["step", "pool", "try.attempt", "time", "result"]
    assert lines[2].split() == ["generate_answer", "gpu", "2.3", "1.9", "s", "38", "tokens", "·", "stop"]
    assert lines[3].split() == ["review_answer", "—", "skipped:", "refused", "by", "policy"]
    assert len(lines) == 4


@pytest.mark.parametrize("width", [60, 80, WIDTH])
def test_nothing_is_wider_than_the_screen(width):
    """Long results and Chinese answers wrap; nothing is lost."""
    long = StepRecord(step="retrieve_knowledge", pool="dialogue", result="passages · " * 30)
    lines = drawn(reply_view(reply(answer="退货期限为三十天。" * 20, steps=(*STEPS, long))), width)
    assert max(map(cell_len, lines)) <= width
    assert "".join(lines).replace(" ", "").count("退货期限为三十天。") >= 19


def test_a_reply_shows_answer_citations_steps_and_trace():
    """The brackets of citations are text, not markup, and a conversation's link fits one line."""
    trace = "http://127.0.0.1:8233/namespaces/default/workflows/conv-01JDEZ5V8WJ2Q8Y9T0K3M4N5P6"
    lines = drawn(reply_view(reply(), trace=trace))
    assert lines[0] == "parley  You have 30 days. [1]"
    assert lines[1].strip() == citation_line(CITATION)
    assert any(trace in line for line in lines)


def test_a_reply_that_waits_says_where_a_person_decides():
    """The command is there to copy."""
    lines = drawn(reply_view(reply(state="waiting", verdict="human", tenant="acme")))
    assert any("parley reviews show conv-1 1 --tenant acme" in line for line in lines)


def test_an_answer_cannot_drive_the_terminal():
    """Escape sequences, carriage returns and direction overrides are taken out; text, tabs and lines stay."""
    assert plain("a\x1b[2Jb\rc\x9bd‮e\tf\n文") == "a[2Jbcde\tf\n文"
    lines = drawn(reply_view(reply(answer="one\x1b]0;title\x07two")))
    assert "\x1b" not in "".join(lines)


def test_a_transcript_shows_each_turn_and_what_became_of_it():
    """Questions, answers, verdicts; what is no longer carried is counted."""
    turns = (
        TurnSummary(
            turn=3,
            message_id="m",
            text_digest="d",
            question="退货?",
            answer="30 天。",
            verdict="pass",
            intent="return_item",
            confidence=0.914,
        ),
        TurnSummary(
            turn=4, message_id="n", text_digest="e", question="?", answer="…", verdict="human", state="waiting"
        ),
    )
    text = "\n".join(drawn(transcript_view(Transcript(conversation="c", tenant="acme", older=2, turns=turns))))
    assert "2 older turns" in text
    assert "退货?" in text
    assert "turn 3 · return_item 0.91 · pass" in text
    assert "turn 4 · out of scope · waiting" in text
