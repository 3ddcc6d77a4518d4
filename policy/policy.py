"""A tenant's policy: built once from its rules, asked at the input step and at the review."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dialogue.steps import Finding
from policy.rules import PolicyRules

__all__ = ["InputCheck", "Policy", "PolicyRules", "ReviewVerdict"]

ReviewVerdict = Literal["pass", "mask", "regenerate", "template", "human", "block"]


@dataclass(frozen=True, slots=True)
class InputCheck:
    """What became of a message. ``text`` is normalised, defused and masked; spans point at the original."""

    text: str
    findings: tuple[Finding, ...]
    decision: Literal["pass", "mask", "refuse"]
    language: str


class Policy:
    """Immutable; ``digest`` (sha256, hex) names its rules and the content of its word lists."""

    digest: str
    content: str
    rules: PolicyRules

    @classmethod
    def build(cls, rules: PolicyRules | dict[str, Any], base_folder: Path) -> Policy:
        """Reads the word lists, relative to ``base_folder``. Raises PolicyFault naming file:line or field."""
        raise NotImplementedError

    @classmethod
    def from_content(cls, content: str) -> Policy:
        """The policy whose ``content`` was kept: an old digest can be judged again."""
        raise NotImplementedError

    def check_input(self, text: str, template_tokens: Sequence[str] = ()) -> InputCheck:
        """Raises MessageTooLong beyond ``max_characters``."""
        raise NotImplementedError

    def check_output(
        self,
        answer: str,
        *,
        question: str,
        passages_text: str,
        expected_language: str,
        finish_reason: str,
        template_tokens: Sequence[str] = (),
        claims: Iterable[Finding] = (),
        quoted: bool = False,
    ) -> tuple[Finding, ...]:
        """Findings in order of their spans; ``claims`` get the action their rule has here."""
        raise NotImplementedError

    def verdict(self, findings: Iterable[Finding]) -> ReviewVerdict:
        """The sternest action among the findings."""
        raise NotImplementedError

    def mask(self, answer: str, findings: Iterable[Finding]) -> str:
        """The answer with the spans of findings whose action is ``mask`` covered."""
        raise NotImplementedError

    def text(
        self,
        kind: Literal["refusal", "fallback", "blocked", "failed", "cancelled", "waiting"],
        language: str,
    ) -> str:
        """The tenant's text of that kind; English where the language has none."""
        raise NotImplementedError
