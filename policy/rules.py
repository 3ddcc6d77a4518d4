"""The rules of a policy, as they stand under ``policies`` in ``temporal.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from dialogue.messages import MAX_MESSAGE_CHARACTERS
from dialogue.steps import Action
from policy.personal_data import Kind

__all__ = [
    "ORDER",
    "InputAction",
    "InputRules",
    "OutputRules",
    "PolicyRules",
    "SpanAction",
    "TextKind",
    "Texts",
    "WholeAction",
]

InputAction = Literal["pass", "mask", "refuse"]
WholeAction = Literal["pass", "regenerate", "template", "human", "block"]
"""What can be done about an answer as a whole."""
SpanAction = Literal["pass", "mask", "regenerate", "template", "human", "block"]
"""What can be done about a stretch of an answer."""
ORDER: tuple[Action, ...] = ("pass", "mask", "regenerate", "template", "human", "refuse", "block")
"""All actions, mildest first."""


class _Rules(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class InputRules(_Rules):
    """What is done about what stands in a message."""

    word_level_1: InputAction = "mask"
    """Words of level 1."""
    word_level_2: InputAction = "mask"
    """Words of level 2; the finding is recorded."""
    word_level_3: InputAction = "refuse"
    """Words of level 3."""
    personal_data: dict[Kind, InputAction] = {}
    """By kind; a kind that is not named is masked."""
    template_tokens: Literal["mask", "refuse"] = "mask"
    """The model's own control tokens in a message; ``mask`` rewrites them so that they are plain text."""

    def of_kind(self, kind: Kind) -> InputAction:
        return self.personal_data.get(kind, "mask")


class OutputRules(_Rules):
    """What is done about what a review finds in an answer."""

    unsupported_claim: SpanAction = "regenerate"
    """A number, date or name that stands in no passage and not in the question."""
    citation_unsupported: SpanAction = "regenerate"
    """A citation whose passage does not support its sentence."""
    no_citation: WholeAction = "regenerate"
    """Passages were given and none is cited."""
    repetition: WholeAction = "regenerate"
    """The answer repeats itself."""
    wrong_language: WholeAction = "regenerate"
    """The answer is in another language than was asked."""
    empty: WholeAction = "regenerate"
    """Nothing was answered."""
    cut_off: WholeAction = "regenerate"
    """The answer ended because it reached its longest length."""
    template_tokens: SpanAction = "regenerate"
    """The model's control tokens stand in the answer."""
    reasoning_leak: SpanAction = "regenerate"
    """Tags of the reasoning stand in the answer."""
    word_level_1: SpanAction = "mask"
    """Words of level 1."""
    word_level_2: SpanAction = "mask"
    """Words of level 2; the finding is recorded."""
    word_level_3: SpanAction = "block"
    """Words of level 3."""
    personal_data_new: SpanAction = "mask"
    """Personal data that stands neither in the question nor in the passages."""
    personal_data: dict[Kind, SpanAction] = {}
    """By kind, where one is treated otherwise than ``personal_data_new`` says."""

    def of_kind(self, kind: Kind) -> SpanAction:
        return self.personal_data.get(kind, self.personal_data_new)


_DEFAULT_TEXTS: dict[str, dict[str, str]] = {
    "refusal": {
        "en": "I'm sorry, I can't help with this message as it is written. Please put it differently, and I'll "
        "gladly try.",
        "zh": "很抱歉，这条消息我无法处理。请换一种说法，我很乐意继续帮您。",
    },
    "fallback": {
        "en": "I'm sorry, I couldn't find an answer I can rely on. Please ask in other words, or contact our "
        "support team.",
        "zh": "很抱歉，我没有找到可靠的答案。您可以换个说法再问一次，或联系人工客服。",
    },
    "blocked": {
        "en": "I'm sorry, I can't show this answer. Please ask in other words, or contact our support team.",
        "zh": "很抱歉，这个回答暂时不能显示。您可以换个说法再问一次，或联系人工客服。",
    },
    "failed": {
        "en": "I'm sorry, something went wrong on our side and your question was not answered. Please try again in "
        "a moment.",
        "zh": "很抱歉，我们这边出了点问题，没能回答您的问题。请稍后再试。",
    },
    "cancelled": {
        "en": "Stopped, as you asked. You can go on whenever you like.",
        "zh": "已按您的要求停止。您可以随时继续提问。",
    },
    "waiting": {
        "en": "A colleague is looking at your question. The answer will appear here.",
        "zh": "同事正在查看您的问题，答复会显示在这里。",
    },
}

TextKind = Literal["refusal", "fallback", "blocked", "failed", "cancelled", "waiting"]


class Texts(_Rules):
    """What people are told when there is no answer, by language."""

    refusal: dict[str, str] = Field(default_factory=dict, validate_default=True)
    """The message was refused."""
    fallback: dict[str, str] = Field(default_factory=dict, validate_default=True)
    """No answer was good enough."""
    blocked: dict[str, str] = Field(default_factory=dict, validate_default=True)
    """There is an answer that may not be shown."""
    failed: dict[str, str] = Field(default_factory=dict, validate_default=True)
    """The machinery failed."""
    cancelled: dict[str, str] = Field(default_factory=dict, validate_default=True)
    """The person cancelled the turn."""
    waiting: dict[str, str] = Field(default_factory=dict, validate_default=True)
    """A person has to look at the answer first."""

    @field_validator("*", mode="after")
    @classmethod
    def _over_the_defaults(cls, value: dict[str, str], info: Any) -> dict[str, str]:
        for language, text in value.items():
            if not text.strip():
                raise ValueError(f"the text for {language!r} is empty; write one or leave the language out")
        return {**_DEFAULT_TEXTS[info.field_name], **value}


class PolicyRules(_Rules):
    """A policy. Everything has a default: ``{}`` is a whole one without word lists."""

    words: tuple[Path, ...] = ()
    """Word lists, relative to ``temporal.yaml``: one word, level and category a line, tabs between them.

    Levels: 1 mask, 2 mask and record, 3 refuse, 0 allow although a shorter listed word stands in it.
    """
    input: InputRules = InputRules()
    """What is done about messages."""
    output: OutputRules = OutputRules()
    """What is done about answers."""
    texts: Texts = Texts()
    """What people are told when there is no answer."""
    fail: Literal["closed", "open"] = "closed"
    """When the review itself fails: ``closed`` withholds the answer, ``open`` lets it pass."""
    human_timeout: float = Field(default=86_400, gt=0)
    """Seconds that a turn waits for a person before the fallback text is sent."""
    max_characters: int = Field(default=MAX_MESSAGE_CHARACTERS, ge=1)
    """The longest message, where it is less than the tenant's own ``max_characters``."""

    @field_validator("words", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return (value,) if isinstance(value, (str, Path)) else value
