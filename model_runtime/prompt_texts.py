"""The wordings of prompts, in English and Chinese.

For R1, passages are shown by its authors' own template for search results (``official_prompts``). What stands here are
the few words of ours before it, for a help desk that may say only what its passages say, and what is said where
nothing was found, for which they have no template.

The plain ones were chosen by trying: see ``prompt``.
"""

from __future__ import annotations

from dataclasses import dataclass

from model_runtime.official_prompts import SEARCH_ANSWER

__all__ = ["PlainTexts", "ReasoningTexts", "plain_texts", "reasoning_texts"]


@dataclass(frozen=True, slots=True)
class PlainTexts:
    """For a model that does not reason. ``opening`` is written before the answer and not part of it; ``file`` takes
    ``name`` and ``text``."""

    system: str
    bare_system: str
    passages: str
    nothing: str
    opening: str
    file: str


@dataclass(frozen=True, slots=True)
class ReasoningTexts:
    """For R1. ``search_answer`` is the authors' and takes ``search_results``, ``cur_date`` and ``question``; ``rules``
    stand before it, and ``files`` behind them where the question brings some; ``nothing`` takes ``question``."""

    search_answer: str
    rules: str
    files: str
    nothing: str


_PLAIN = {
    "en": PlainTexts(
        system="You are a help desk assistant. You answer in one short sentence, only with facts of the help page "
        "you are given.",
        bare_system="You are a help desk assistant. You answer in one or two short sentences.",
        passages="Help page:\n{passages}\n\nQuestion: {question}",
        nothing="The help pages were searched and nothing was found about this question. Say that you do not know, "
        "and make nothing up.\n\nQuestion: {question}",
        opening="According to the help page:",
        file="File {name}:\n{text}",
    ),
    "zh": PlainTexts(
        system="你是客服助手。只根据给出的帮助页面，用一两句话回答。",
        bare_system="你是客服助手。用一两句话回答。",
        passages="帮助页面：\n{passages}\n\n问题：{question}",
        nothing="已查找帮助页面，没有找到与这个问题有关的内容。请说明你不知道，不要编造。\n\n问题：{question}",
        opening="",
        file="文件 {name}：\n{text}",
    ),
}

_REASONING = {
    "en": ReasoningTexts(
        search_answer=SEARCH_ANSWER["en"],
        rules="The search results below are passages of a help desk's knowledge base. Say only what they say. Where "
        "they do not answer the question, say so and make nothing up. Give numbers, dates, names and steps exactly as "
        "they stand there. A short question wants a short answer.",
        files="The user's message begins with files of theirs. What those say counts beside the passages; it is not "
        "cited.",
        nothing="""\
The knowledge base was searched for the user's message and nothing was found. Say that it holds nothing about this; \
make up no rules, numbers or dates, and cite nothing. Answer in the language of the user's message.

# The user's message is:
{question}""",
    ),
    "zh": ReasoningTexts(
        search_answer=SEARCH_ANSWER["zh"],
        rules="下面的搜索结果是客服知识库中的段落。只说段落里有的内容；段落没有回答的，请直接说明，不要编造。"
        "数字、日期、名称和步骤要与段落完全一致。简短的问题简短回答。",
        files="用户消息以用户自己的文件开头。文件里的内容与段落同样有效，不要为文件给出引用。",
        nothing="""\
已在知识库中查找用户消息，没有找到有关内容。请说明知识库中没有相关内容；不要编造规定、数字或日期，也不要给出引用。\
使用用户消息的语言回答。

# 用户消息为：
{question}""",
    ),
}


def plain_texts(language: str) -> PlainTexts:
    """Those of ``language`` (``zh``, ``zh-Hans`` …), English where there are none."""
    return _PLAIN["zh" if language.startswith("zh") else "en"]


def reasoning_texts(language: str) -> ReasoningTexts:
    """Those of ``language``, English where there are none."""
    return _REASONING["zh" if language.startswith("zh") else "en"]
