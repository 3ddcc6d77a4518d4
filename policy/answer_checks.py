"""The checks that look at an answer as a whole: empty, cut off, repeating, in another language, leaking."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from dialogue.steps import Action, Finding
from policy.language import wrong_language
from policy.repetition import find_repetition
from policy.rules import OutputRules
from policy.template_tokens import find_template_tokens

__all__ = ["leaks", "whole_answer"]

_REASONING = re.compile(r"[<＜]\s*/?\s*think(?:ing)?\s*[>＞]", re.IGNORECASE)


def whole_answer(
    answer: str,
    expected_language: str,
    finish_reason: str,
    template_tokens: Sequence[str],
    rules: OutputRules,
    *,
    quoted: bool,
) -> Iterator[Finding]:
    """Findings of these checks; one about the whole answer spans all of it."""

    def about(rule: str, label: str, start: int = 0, end: int = len(answer)) -> Finding:
        action: Action = getattr(rules, rule)
        return Finding(rule=rule, label=label, start=start, end=end, action=action)

    if not any(map(str.isalnum, answer)):
        yield about("empty", "no words")
    yield from leaks(answer, template_tokens, rules)
    if quoted:
        return
    if finish_reason == "length":
        yield about("cut_off", "longest length reached", len(answer), len(answer))
    repetition = find_repetition(answer)
    if repetition:
        yield about("repetition", repetition.sign.replace("_", " "), repetition.start, repetition.end)
    elif finish_reason == "repetition":
        yield about("repetition", "stopped while repeating")
    if finish_reason == "wrong_language" or wrong_language(answer, expected_language):
        yield about("wrong_language", f"not {expected_language}")


def leaks(answer: str, template_tokens: Sequence[str], rules: OutputRules, begin: int = 0) -> Iterator[Finding]:
    """Control tokens and tags of the reasoning in ``answer[begin:]``."""
    for start, end in find_template_tokens(answer, template_tokens, begin):
        if _REASONING.search(answer, start, end):
            rule, label, action = "reasoning_leak", "reasoning tag", rules.reasoning_leak
        else:
            rule, label, action = "template_tokens", "template token", rules.template_tokens
        yield Finding(rule=rule, label=label, start=start, end=end, action=action)
