"""Defuses chat-template tokens that stand in a user's text, in a passage or in an answer.

A tokenizer turns ``<|im_start|>`` into the model's own control token wherever it stands, so a text that holds
one could speak in another role. Each is rewritten with other brackets: still readable, no token any more.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from dialogue.steps import Finding
from policy.masking import replace_spans
from policy.normalise import Normalised, is_plain, normalise

__all__ = ["FAMILY_TOKENS", "defuse", "defused_form", "find_template_tokens", "token_stretches"]

FAMILY_TOKENS = (
    "<s>",
    "</s>",
    "<unk>",
    "<pad>",
    "<bos>",
    "<eos>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<turn|>",
    "<|turn>",
    "[INST]",
    "[/INST]",
    "<<SYS>>",
    "<</SYS>>",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_CALLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "[gMASK]",
    "<sop>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
)
"""Tokens of the common families beside those of the shape ``<|...|>`` and the reasoning tags."""

_SHAPES = (
    r"<[|｜][^<>|｜‹›\n]{1,64}[|｜]>",  # ChatML, Llama 3, Phi, GLM, DeepSeek (full-width bars)
    r"<\s*+/?\s*+think(?:ing)?\s*+>",
)
_SHAPES_BEGUN = (
    r"<(?:[|｜](?:[^<>|｜‹›\n]{0,64}|[^<>|｜‹›\n]{1,64}[|｜]))?\Z",
    r"<\s*+/?\s*+(?:t(?:h(?:i(?:n(?:k(?:i(?:n(?:g)?)?)?)?)?)?)?\s*+)?\Z",
)
"""What may still become one of the shapes."""
_BRACKETS = "<>|｜[]{}"


def find_template_tokens(text: str, tokens: Sequence[str] = (), begin: int = 0) -> tuple[tuple[int, int], ...]:
    """Spans in ``text[begin:]`` of the given tokens, the families' and their forms before and after NFKC, in order."""
    pattern = _pattern(tuple(tokens))
    spans = {match.span() for match in pattern.finditer(text, begin)}
    if not is_plain(text):
        normalised = normalise(text)
        clean_begin = bisect_left(normalised.starts, begin)
        spans |= {normalised.span(*match.span()) for match in pattern.finditer(normalised.text, clean_begin)}
    return tuple(_apart(spans))


def token_stretches(text: Normalised, begin: int, tokens: Sequence[str] = ()) -> Iterator[tuple[int, int]]:
    """Spans in the clean text, from ``begin`` on, of what is a token before or after NFKC.

    What may still become one ends beyond the clean text.
    """
    pattern, begun = _pattern(tuple(tokens)), _begun(tuple(tokens))
    behind = len(text.text) + 1
    yield from (match.span() for match in pattern.finditer(text.text, begin))
    if open_end := begun.search(text.text, begin):
        yield open_end.start(), behind
    if is_plain(text.original):
        return
    original_begin = text.starts[begin] if begin < len(text.starts) else len(text.original)
    for match in pattern.finditer(text.original, original_begin):
        yield bisect_right(text.ends, match.start()), bisect_left(text.starts, match.end())
    if open_end := begun.search(text.original, original_begin):
        yield bisect_right(text.ends, open_end.start()), behind


def defuse(text: str, tokens: Sequence[str] = ()) -> tuple[str, tuple[Finding, ...]]:
    """``text`` without template tokens, and where they stood in it; otherwise unchanged.

    Defusing again changes nothing. Findings have the rule ``template_tokens`` and the action ``mask``.
    """
    spans = find_template_tokens(text, tokens)
    findings = tuple(
        Finding(rule="template_tokens", label="template token", start=start, end=end, action="mask")
        for start, end in spans
    )
    changes = [(start, end, defused_form(text[start:end], tokens)) for start, end in spans]
    return replace_spans(text, changes), findings


def defused_form(token: str, tokens: Sequence[str] = ()) -> str:
    """``<|im_start|>`` -> ``‹im_start›``; a token without brackets gets a space between its characters."""
    clean = normalise(token).text
    core = clean.strip(_BRACKETS).strip()
    inside = "".join(" " if c in _BRACKETS else c for c in core)
    if inside and inside != clean:
        written = f"‹{inside}›"
        if not find_template_tokens(written, tokens):
            return written
    spaced = " ".join(inside or clean)
    return f"‹{spaced}›" if find_template_tokens(spaced, tokens) else spaced


@lru_cache(maxsize=16)
def _pattern(tokens: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = sorted(_literal(tokens), key=lambda token: (-len(token), token))
    alternatives = (*map(re.escape, longest_first), *_SHAPES)
    return re.compile("|".join(alternatives), re.IGNORECASE)


@lru_cache(maxsize=16)
def _begun(tokens: tuple[str, ...]) -> re.Pattern[str]:
    """Matches where the text's end may go on to be a token."""
    alternatives = (*_SHAPES_BEGUN, rf"{_beginnings(_literal(tokens))}\Z")
    return re.compile("|".join(alternatives), re.IGNORECASE)


def _literal(tokens: tuple[str, ...]) -> set[str]:
    literal = {token for token in (*tokens, *FAMILY_TOKENS) if len(token.strip()) > 1}
    return literal | {unicodedata.normalize("NFKC", token) for token in literal}


def _beginnings(tokens: Iterable[str]) -> str:
    """A pattern of every beginning of every token: ``ab``, ``ac`` -> ``(?:a(?:b|c)?)``."""
    rests: dict[str, list[str]] = {}
    for token in tokens:
        rests.setdefault(token[0].lower(), []).append(token[1:])
    branches = [
        re.escape(first) + (f"{_beginnings(filter(None, rest))}?" if any(rest) else "")
        for first, rest in sorted(rests.items())
    ]
    return f"(?:{'|'.join(branches)})"


def _apart(spans: set[tuple[int, int]]) -> list[tuple[int, int]]:
    """Overlapping spans as one."""
    apart: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if apart and start < apart[-1][1]:
            apart[-1] = (apart[-1][0], max(apart[-1][1], end))
        else:
            apart.append((start, end))
    return apart
