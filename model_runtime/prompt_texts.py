"""The wordings of prompts, in English and Chinese.

R1's follow the form its authors use for search results: passages between ``[webpage X begin]`` and
``[webpage X end]``, citations as ``[citation:X]``, everything in the user's message and none in a system prompt
(README of deepseek-ai/DeepSeek-R1). The words are ours, for a help desk that may say only what its passages say.

The plain ones were chosen by trying: see ``prompt``.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PlainTexts", "ReasoningTexts", "plain_texts", "reasoning_texts"]


@dataclass(frozen=True, slots=True)
class PlainTexts:
    """For a model that does not reason. ``opening`` is written before the answer and not part of it."""

    system: str
    bare_system: str
    passages: str
    nothing: str
    opening: str


@dataclass(frozen=True, slots=True)
class ReasoningTexts:
    """For R1. ``passages`` takes ``passages``, ``notes`` and ``question``; ``nothing`` takes ``question``."""

    passages: str
    nothing: str
    today: str


_PLAIN = {
    "en": PlainTexts(
        system="You are a help desk assistant. You answer in one short sentence, only with facts of the help page "
        "you are given.",
        bare_system="You are a help desk assistant. You answer in one or two short sentences.",
        passages="Help page:\n{passages}\n\nQuestion: {question}",
        nothing="The help pages were searched and nothing was found about this question. Say that you do not know, "
        "and make nothing up.\n\nQuestion: {question}",
        opening="According to the help page:",
    ),
    "zh": PlainTexts(
        system="你是客服助手。只根据给出的帮助页面，用一两句话回答。",
        bare_system="你是客服助手。用一两句话回答。",
        passages="帮助页面：\n{passages}\n\n问题：{question}",
        nothing="已查找帮助页面，没有找到与这个问题有关的内容。请说明你不知道，不要编造。\n\n问题：{question}",
        opening="",
    ),
}

_REASONING = {
    "en": ReasoningTexts(
        passages="""\
# These passages of the knowledge base were found for the user's message:
{passages}
Each passage stands between [webpage X begin] and [webpage X end], where X is its number. At the end of a sentence, \
cite the passage it rests on as [citation:X]; where it rests on several, list them all, as in \
[citation:3][citation:5]. Put each citation where it belongs, never all of them at the end.
When you answer, keep to this:
{today}\
- Not every passage has to do with the question. Judge them, and use those that do.
- Say only what the passages say. Where they do not answer the question, say so and make nothing up.
- Give numbers, dates, names and steps exactly as they stand in the passages.
- A short question wants a short answer. Where the answer is long, structure it, in five points at most.
- Answer in the language of the user's message.

# The user's message is:
{question}""",
        nothing="""\
The knowledge base was searched for the user's message and nothing was found. Say that it holds nothing about this; \
make up no rules, numbers or dates, and cite nothing. Answer in the language of the user's message.

# The user's message is:
{question}""",
        today="- Today is {date}.\n",
    ),
    "zh": ReasoningTexts(
        passages="""\
# 以下是知识库中与用户消息有关的段落：
{passages}
每个段落位于[webpage X begin]与[webpage X end]之间，X是段落的编号。请在句末用[citation:X]标明该句所依据的段落；\
一句话依据多个段落时全部列出，例如[citation:3][citation:5]。引用要放在对应的句子后面，不要集中放在最后。
回答时请遵守：
{today}\
- 并非每个段落都与问题有关，请自行判断，只用有关的段落。
- 只说段落里有的内容；段落没有回答的，请直接说明，不要编造。
- 数字、日期、名称和步骤要与段落完全一致。
- 简短的问题简短回答；回答较长时分点说明，不超过五点。
- 使用用户消息的语言回答。

# 用户消息为：
{question}""",
        nothing="""\
已在知识库中查找用户消息，没有找到有关内容。请说明知识库中没有相关内容；不要编造规定、数字或日期，也不要给出引用。\
使用用户消息的语言回答。

# 用户消息为：
{question}""",
        today="- 今天是{date}。\n",
    ),
}


def plain_texts(language: str) -> PlainTexts:
    """Those of ``language`` (``zh``, ``zh-Hans`` …), English where there are none."""
    return _PLAIN["zh" if language.startswith("zh") else "en"]


def reasoning_texts(language: str) -> ReasoningTexts:
    """Those of ``language``, English where there are none."""
    return _REASONING["zh" if language.startswith("zh") else "en"]
