"""Shows an answer while it flows, and nothing of it that the review would mask or refuse.

What may be shown ends where something begins that what follows may still change: a listed word, a number, an
address, a control token, half of a character. Each finder tells the stretches of the text that it has to judge
whole (``Policy.stretches``); those still open end beyond the text. The text is cut where none of them is torn, and
what stands before the cut is judged, shown and forgotten but for a few characters of context. So the cut parts two
texts that no finder sees together, and the findings in both are those of the whole text.

What goes on without an end is not held without one: beyond ``LONGEST_HELD`` characters the gate stops. Digits,
letters and blanks may go on as long as they like, since from some length on they are in nothing that is sought; it
takes a text that is made to be held, such as a listed word's letter repeated a thousand times.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from dialogue.steps import Finding
from policy.masking import MASK, replace_spans
from policy.normalise import Normalised, normalise, settled
from policy.policy import Policy

__all__ = ["LONGEST_HELD", "StreamGate"]

LONGEST_HELD = 768
"""Characters held back at most: longer than the longest address (an e-mail's, 64 and 8 times 64 characters)."""

_CONTEXT = 48
"""Characters of the clean text before the cut that a finder may look back at: an order's number at 40."""


class StreamGate:
    """One text (the answer, or the reasoning) of one try, as it flows.

    The same feeds give the same pieces, on whatever machine they are fed.
    """

    def __init__(self, policy: Policy, template_tokens: Sequence[str] = ()) -> None:
        self._policy = policy
        self._tokens = tuple(template_tokens)
        self._context = ""  # clean, shown before
        self._held = ""
        self._masked_last = False
        self._stopped = False

    @property
    def stopped(self) -> bool:
        """Whether something was found whose action is sterner than ``mask``, or too much had to be held back.

        Nothing more of this text is ever shown.
        """
        return self._stopped

    def feed(self, text: str) -> str:
        """What may be shown now; empty while it is held back."""
        if self._stopped:
            return ""
        self._held += text
        window = self._context + self._held
        known = self._settled(window)
        shown = self._show(window[: max(known, len(self._context))], ended=False)
        if len(self._held) > LONGEST_HELD:
            self._stop()
        return shown

    def close(self) -> str:
        """The text has ended: what is still to be shown."""
        return "" if self._stopped else self._show(self._context + self._held, ended=True)

    def _settled(self, window: str) -> int:
        known = settled(window)
        if known == len(window) and self._policy.words_with_marks:
            return settled(window[:-1])  # the last character may turn out to be the first of a word
        return known

    def _show(self, window: str, *, ended: bool) -> str:
        """Judges and lets go what of the window's end no continuation changes."""
        text = normalise(window)
        first = len(self._context)
        begin = bisect_left(text.starts, first)
        stretches = sorted(self._policy.stretches(text, begin, self._tokens), reverse=True)
        cut = len(text.text) if ended else _cut(text, begin, stretches)
        end = text.starts[cut] if cut < len(text.text) else len(window)
        findings: Sequence[Finding] = ()
        if any(start < cut for start, _ in stretches):
            findings = [f for f in self._policy.check_flowing(text, begin, self._tokens) if f.end <= end]
        stern = [f.start for f in findings if f.action not in ("pass", "mask")]
        if stern:
            end = min(stern)
            for finding in reversed(findings):
                end = finding.start if finding.start < end < finding.end else end
        shown = self._masked(window[first:end], [(f.start - first, f.end - first) for f in findings if _masks(f, end)])
        self._held = self._held[end - first :]
        self._context = text.text[max(cut - _CONTEXT, 0) : cut]
        if stern:
            self._stop()
        return shown

    def _masked(self, text: str, spans: Sequence[tuple[int, int]]) -> str:
        """With its spans covered; where one begins right behind the last one shown, they are one mask."""
        shown = replace_spans(text, [(start, end, MASK) for start, end in spans])
        if self._masked_last and any(start == 0 for start, _ in spans):
            shown = shown.removeprefix(MASK)
        if text:
            self._masked_last = any(end == len(text) for _, end in spans)
        return shown

    def _stop(self) -> None:
        self._stopped = True
        self._held = self._context = ""


def _masks(finding: Finding, end: int) -> bool:
    return finding.action == "mask" and finding.end <= end


def _cut(text: Normalised, begin: int, stretches: Sequence[tuple[int, int]]) -> int:
    """The last place that tears no stretch, and no character that became several; the last stretches come first."""
    whole = len(text.text)
    parts = [(at - 1, at + 1) for at in range(begin + 1, whole) if text.starts[at] == text.starts[at - 1]]
    cut = whole
    for start, end in sorted((*stretches, *parts), reverse=True) if parts else stretches:
        # what ends with the text may still take a mark that joins its last character
        if start < cut < end or (cut == whole == end):
            cut = start
    return cut
