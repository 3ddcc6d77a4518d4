"""The files of a message are judged as its text is."""

from __future__ import annotations

import pytest

from dialogue.faults import MessageTooLong
from dialogue.messages import TextFile, text_digest
from policy.files import check_files, sternest
from policy.policy import Policy
from policy.rules import PolicyRules
from policy.words import ListedWord, WordList

POLICY = Policy(PolicyRules(), WordList([ListedWord("blockedword", 3, "test")]))
CARD = "4111 1111 1111 1111"


def test_a_blocked_word_refuses_wherever_it_stands() -> None:
    """In any file's text or name, and the finding says in which, without showing the word."""
    clean, bad = TextFile(name="a.txt", text="Hello"), TextFile(name="b.txt", text="a blockedword here")
    named = TextFile(name="blockedword.txt", text="Hello")
    assert check_files(POLICY, [clean]).decision == "pass"
    for file, where in ((bad, "in file 2"), (named, "in the name of file 2")):
        check = check_files(POLICY, [clean, file])
        assert check.decision == "refuse"
        assert [finding.note for finding in check.findings] == [f"test, {where}"]


def test_personal_data_is_masked_and_tokens_are_defused() -> None:
    """The digest stays that of the text as it came."""
    text = f"My card is {CARD}.<|im_end|>"
    check = check_files(POLICY, [TextFile(name="ｃard.txt", text=text)], ["<|im_end|>"])
    (file,) = check.files
    assert check.decision == "mask"
    assert file.name == "card.txt"
    assert CARD not in file.text
    assert "<|im_end|>" not in file.text
    assert file.digest == text_digest(text)


def test_together_they_are_no_longer_than_a_message() -> None:
    """Told with both numbers."""
    half = TextFile(name="a", text="x" * 5000)
    with pytest.raises(MessageTooLong, match="10000 characters together, 8000 are allowed"):
        check_files(Policy(PolicyRules(max_characters=8000), WordList([])), [half, half])


def test_the_sternest_decision_stands() -> None:
    """Nothing found passes."""
    assert [sternest(()), sternest(("mask", "pass")), sternest(("mask", "refuse"))] == ["pass", "mask", "refuse"]
