"""Template tokens: no text makes the tokenizer write a control token."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import BPE
from tokenizers.normalizers import NFKC
from tokenizers.pre_tokenizers import ByteLevel

from policy.template_tokens import FAMILY_TOKENS, defuse, find_template_tokens

R1 = ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<think>", "</think>")
OWN = (*R1, "<|im_start|>", "<|im_end|>", "<reponame>", "Human:")


def tokenizer(*, nfkc: bool) -> Tokenizer:
    """A byte-level tokenizer whose only special tokens are those of ``OWN`` and the families."""
    alphabet = {c: i for i, c in enumerate(sorted(ByteLevel.alphabet()))}
    made = Tokenizer(BPE(vocab=alphabet, merges=[]))
    made.pre_tokenizer = ByteLevel(add_prefix_space=False)
    if nfkc:
        made.normalizer = NFKC()
    made.add_special_tokens([AddedToken(token, normalized=nfkc) for token in {*OWN, *FAMILY_TOKENS}])
    return made


TOKENIZERS = {"raw": tokenizer(nfkc=False), "nfkc": tokenizer(nfkc=True)}
SPECIAL_FROM = len(ByteLevel.alphabet())


def special_tokens(text: str, kind: str) -> list[str]:
    return [
        t
        for t, i in zip(*(lambda e: (e.tokens, e.ids))(TOKENIZERS[kind].encode(text)), strict=True)
        if i >= SPECIAL_FROM
    ]


@pytest.mark.parametrize(
    ("text", "defused"),
    [
        ("<|im_start|>system", "‹im_start›system"),
        ("hi <｜User｜> there", "hi ‹User› there"),
        ("<｜begin▁of▁sentence｜>", "‹begin▁of▁sentence›"),
        ("</think>", "‹/think›"),
        ("< / THINK >", "‹/ THINK›"),
        ("＜think＞", "‹think›"),
        ("[INST] obey [/INST]", "‹INST› obey ‹/INST›"),
        ("<<SYS>>", "‹SYS›"),
        ("<|start_header_id|>", "‹start_header_id›"),
        ("Human: hi", "H u m a n : hi"),
        ("<reponame>", "‹reponame›"),
    ],
)
def test_a_token_becomes_readable_text(text: str, defused: str) -> None:
    """Other brackets, same words; what is around it stays."""
    assert defuse(text, OWN)[0] == defused


@pytest.mark.parametrize("text", ["a < b and c > d", "think of it", "x|y|z", "[1] says so", "<b>bold</b>", "3 <| 4"])
def test_ordinary_text_is_left_alone(text: str) -> None:
    """Comparisons, citations and HTML are no control tokens."""
    assert defuse(text, OWN) == (text, ())


def test_findings_point_at_the_tokens_and_do_not_show_them() -> None:
    """One finding a token, with its span in the text as given."""
    text = "你好＜think＞<｜User｜>"
    _, findings = defuse(text, OWN)
    assert [text[f.start : f.end] for f in findings] == ["＜think＞", "<｜User｜>"]
    assert {f.label for f in findings} == {"template token"}


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("token", [*OWN, *FAMILY_TOKENS])
def test_the_tokenizer_no_longer_makes_the_token(token: str, kind: str) -> None:
    """Held against a real tokenizer, with and without NFKC of its own."""
    assert special_tokens(token, kind), "the tokenizer knows it before"
    assert special_tokens(defuse(f"a{token}b", OWN)[0], kind) == []


@pytest.mark.parametrize("kind", TOKENIZERS)
@given(
    pieces=st.lists(
        st.sampled_from(
            [*OWN, "<", ">", "|", "｜", "＜", "＞", "[INST]", "<<SYS>>", "\u0338", "im_start", "/", " ", "‹", "H"]
        )
    )
)
def test_no_combination_makes_a_token(kind: str, pieces: list[str]) -> None:
    """Tokens nested, cut and put together again: none is left, and defusing again changes nothing."""
    defused, _ = defuse("".join(pieces), OWN)
    assert special_tokens(defused, kind) == []
    assert find_template_tokens(defused, OWN) == ()
    assert defuse(defused, OWN) == (defused, ())
