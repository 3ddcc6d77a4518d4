"""A tenant's policy: built once from its rules, asked at the input step and at the review."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import ValidationError

from dialogue.faults import MessageTooLong, PolicyFault
from dialogue.steps import Action, Finding
from policy.answer_checks import leaks, whole_answer
from policy.language import detect
from policy.masking import MASK, mask, replace_spans
from policy.normalise import Normalised, normalise
from policy.personal_data import KINDS, PersonalDatum, find_personal_data, personal_data_stretches
from policy.rules import ORDER, PolicyRules, TextKind
from policy.template_tokens import defused_form, find_template_tokens, token_stretches
from policy.words import ListedWord, WordList

__all__ = ["InputCheck", "Policy", "PolicyRules", "ReviewVerdict", "check_rules"]

ReviewVerdict = Literal["pass", "mask", "regenerate", "template", "human", "block"]


@dataclass(frozen=True, slots=True)
class InputCheck:
    """What became of a message. ``text`` is normalised, defused and masked; spans point at the original."""

    text: str
    findings: tuple[Finding, ...]
    decision: Literal["pass", "mask", "refuse"]
    language: str


@dataclass(frozen=True, slots=True)
class _Found:
    """A finding with its span in the clean text and what is written there instead."""

    finding: Finding
    start: int
    end: int
    replacement: str


class Policy:
    """Immutable. ``content`` is its rules and words as canonical JSON, ``digest`` the SHA-256 of that, hex."""

    def __init__(self, rules: PolicyRules, words: WordList) -> None:
        self.rules = rules
        self._words = words
        self.content = _content(rules, words)
        self.digest = hashlib.sha256(self.content.encode()).hexdigest()

    @classmethod
    def build(cls, rules: PolicyRules | Mapping[str, Any], base_folder: Path) -> Policy:
        """Reads the word lists, relative to ``base_folder``. Raises PolicyFault naming file:line or field."""
        checked = rules if isinstance(rules, PolicyRules) else check_rules(rules)
        return cls(checked, WordList.load(*(base_folder / path for path in checked.words)))

    @classmethod
    def from_content(cls, content: str) -> Policy:
        """The policy whose ``content`` was kept, so that an old answer can be judged by its own rules."""
        kept = json.loads(content)
        words = WordList(ListedWord(*word) for word in kept["words"])
        return cls(check_rules(kept["rules"]), words)

    def check_input(self, text: str, template_tokens: Sequence[str] = ()) -> InputCheck:
        """Findings in the order of their spans in ``text`` as it came.

        Raises MessageTooLong beyond ``max_characters``.
        """
        if len(text) > self.rules.max_characters:
            raise MessageTooLong(
                f"the message has {len(text)} characters, {self.rules.max_characters} are allowed; shorten it",
                field="text",
            )
        normalised = normalise(text)
        found = [
            *self._template_tokens(normalised, template_tokens),
            *self._input_words(normalised),
            *self._input_personal_data(normalised),
        ]
        changes = [(f.start, f.end, f.replacement) for f in found if f.finding.action != "pass"]
        findings = tuple(sorted((f.finding for f in found), key=_by_span))
        decision = _sternest(finding.action for finding in findings)
        return InputCheck(
            text=replace_spans(normalised.text, changes),
            findings=findings,
            decision=cast("Literal['pass', 'mask', 'refuse']", decision),
            language=detect(normalised.text),
        )

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
        """Findings in the order of their spans in ``answer``.

        ``claims`` are findings of the rules ``unsupported_claim``, ``citation_unsupported`` and
        ``no_citation``, made elsewhere; their action is set here. A ``quoted`` answer is made of passages, so
        its language, its repeats and its length are theirs.
        """
        normalised = normalise(answer)
        findings = [
            *whole_answer(answer, expected_language, finish_reason, template_tokens, self.rules.output, quoted=quoted),
            *self._output_words(normalised),
            *self._new_personal_data(normalised, question, passages_text),
            *(self._judged(claim) for claim in claims),
        ]
        return tuple(sorted(findings, key=_by_span))

    def check_flowing(self, text: Normalised, begin: int, template_tokens: Sequence[str] = ()) -> tuple[Finding, ...]:
        """What ``check_output`` finds in a part of an answer, from ``begin`` in its clean text on, in order.

        What only a whole answer has is left to the review; all personal data is taken for new.
        """
        original_begin = text.starts[begin] if begin < len(text.starts) else len(text.original)
        findings = [
            *leaks(text.original, template_tokens, self.rules.output, original_begin),
            *self._output_words(text, begin),
            *(self._output_datum(text, datum) for datum in find_personal_data(text.text, begin)),
        ]
        return tuple(sorted(findings, key=_by_span))

    def stretches(self, text: Normalised, begin: int, template_tokens: Sequence[str] = ()) -> Iterator[tuple[int, int]]:
        """Spans of the clean text, from ``begin`` on, that must be judged whole.

        One that what follows may still change or complete ends beyond the clean text. Of what passes in any case
        there are none.
        """
        output = self.rules.output
        if {output.template_tokens, output.reasoning_leak} != {"pass"}:
            yield from token_stretches(text, begin, template_tokens)
        if {output.word_level_1, output.word_level_2, output.word_level_3} != {"pass"}:
            yield from self._words.stretches(text, begin)
        if any(output.of_kind(kind) != "pass" for kind in KINDS):
            yield from personal_data_stretches(text.text, begin)

    @property
    def words_with_marks(self) -> bool:
        """Whether a listed word begins with a mark that joins what stands before it."""
        return self._words.beginnings.with_marks

    def verdict(self, findings: Iterable[Finding]) -> ReviewVerdict:
        """The sternest action among the findings; ``pass`` where there are none."""
        sternest = _sternest(finding.action for finding in findings)
        return "block" if sternest == "refuse" else sternest

    def mask(self, answer: str, findings: Iterable[Finding]) -> str:
        """The answer with the spans of findings whose action is ``mask`` covered."""
        return mask(answer, (finding for finding in findings if finding.action == "mask"))

    def cover(self, reasoning: str) -> str:
        """The reasoning with every listed word and personal datum covered whose action is not ``pass``: it is shown
        beside an answer that stands, and nobody judges it by itself."""
        found = self.check_flowing(normalise(reasoning), 0)
        return mask(reasoning, (finding for finding in found if finding.action != "pass"))

    def text(self, kind: TextKind, language: str) -> str:
        """The text of that kind; English where there is none in ``language``."""
        texts: dict[str, str] = getattr(self.rules.texts, kind)
        return texts.get(language) or texts["en"]

    def _template_tokens(self, text: Normalised, tokens: Sequence[str]) -> Iterator[_Found]:
        action = self.rules.input.template_tokens
        for start, end in find_template_tokens(text.text, tokens):
            finding = _finding("template_tokens", "template token", text.span(start, end), action)
            yield _Found(finding, start, end, defused_form(text.text[start:end], tokens))

    def _input_words(self, text: Normalised) -> Iterator[_Found]:
        for match in self._words.find(text):
            action: Action = getattr(self.rules.input, f"word_level_{match.level}")
            span = text.span(match.start, match.end)
            yield _Found(_word_finding(match.level, match.category, span, action), match.start, match.end, MASK)

    def _input_personal_data(self, text: Normalised) -> Iterator[_Found]:
        for datum in find_personal_data(text.text):
            action = self.rules.input.of_kind(datum.kind)
            finding = _finding("personal_data", datum.kind, text.span(datum.start, datum.end), action)
            yield _Found(finding, datum.start, datum.end, MASK)

    def _output_words(self, answer: Normalised, begin: int = 0) -> Iterator[Finding]:
        for match in self._words.find(answer, begin):
            action: Action = getattr(self.rules.output, f"word_level_{match.level}")
            yield _word_finding(match.level, match.category, answer.span(match.start, match.end), action)

    def _new_personal_data(self, answer: Normalised, question: str, passages_text: str) -> Iterator[Finding]:
        data = find_personal_data(answer.text)
        if not data:
            return
        known = {datum.key for text in (question, passages_text) for datum in find_personal_data(normalise(text).text)}
        for datum in data:
            if datum.key not in known:
                yield self._output_datum(answer, datum)

    def _output_datum(self, answer: Normalised, datum: PersonalDatum) -> Finding:
        span = answer.span(datum.start, datum.end)
        return _finding("personal_data_new", datum.kind, span, self.rules.output.of_kind(datum.kind))

    def _judged(self, claim: Finding) -> Finding:
        if claim.rule not in ("unsupported_claim", "citation_unsupported", "no_citation"):
            raise PolicyFault(f"claims: {claim.rule!r} is no rule about claims", field="claims")
        return claim.model_copy(update={"action": getattr(self.rules.output, claim.rule)})


def check_rules(rules: Mapping[str, Any]) -> PolicyRules:
    """The rules of a YAML mapping. Raises PolicyFault naming the key, what is wrong and what is allowed."""
    try:
        return PolicyRules.model_validate(rules)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            message = f"{field}: no such rule; {_allowed_keys(first['loc'])}"
        else:
            message = f"{field}: {first['msg'].removeprefix('Value error, ')} (it is {first['input']!r})"
        raise PolicyFault(message, field=field) from error


def _allowed_keys(place: tuple[int | str, ...]) -> str:
    model: Any = PolicyRules
    for part in place[:-1]:
        model = model.model_fields[part].annotation
    return f"there are {', '.join(model.model_fields)}"


def _content(rules: PolicyRules, words: WordList) -> str:
    kept = {
        "rules": rules.model_dump(mode="json", exclude={"words"}),
        "words": [[word.word, word.level, word.category] for word in words.words],
    }
    return json.dumps(kept, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _finding(rule: str, label: str, span: tuple[int, int], action: Action) -> Finding:
    return Finding(rule=rule, label=label, start=span[0], end=span[1], action=action)


def _word_finding(level: int, category: str, span: tuple[int, int], action: Action) -> Finding:
    return Finding(
        rule=f"word_level_{level}",
        label=f"word level {level}",
        start=span[0],
        end=span[1],
        action=action,
        level=level,
        note=category,
    )


def _by_span(finding: Finding) -> tuple[int, int, str, str]:
    return finding.start, finding.end, finding.rule, finding.label


def _sternest(actions: Iterable[Action]) -> Action:
    return ORDER[max(map(ORDER.index, actions), default=0)]
