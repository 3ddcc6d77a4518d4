"""The terms that lexical search compares: stemmed English words, Chinese characters and their pairs."""

from __future__ import annotations

import functools
import re

from knowledge_base.text import CJK, fold

__all__ = ["is_stop_word", "terms"]

_RUN = re.compile(rf"(?P<han>[{CJK}]+)|(?P<word>[a-z\u00df-\u024f]+(?:['’][a-z]+)?|\d+(?:[.,]\d+)*)")
_POSSESSIVE = re.compile(r"['’]s?$")

_FUNCTION_WORDS = """
a an the and or but if of to in on at by for with from as into about than then so that this these those it its
is are was were be been being am do does did doing done have has had having can could will would shall should may
might must not no i me my mine we us our you your he him his she her they them their what which who whom whose
when where why how there here some any also just very much many too please s t re ve ll d m don
"""
_ENGLISH_STOP = frozenset(_FUNCTION_WORDS.split())
# Question words and particles: they stand in most questions and say nothing of their subject.
_CHINESE_STOP = re.compile(
    "为什么|是什么|什么时候|什么样|什么|怎么样|怎么办|怎么|怎样|如何|是否|哪一个|哪一|哪些|哪个|哪里|哪儿|哪种|哪|谁|"
    "多少|多久|多长时间|几个|几天|请问|可以|能不能|可不可以|有没有|是不是|会不会|我们|你们|他们|她们|它们|我|你|您|他|她|它|"
    "的|了|吗|呢|吧|啊|呀|是|在|和|与|及|或|把|被|就|都|也|还|又|要|想|能|会|这|那|个|之|于|以|对|从|到|为|有"
)


def is_stop_word(word: str) -> bool:
    """Whether a folded English word is one that says nothing of a text's subject."""
    return word in _ENGLISH_STOP


def terms(text: str) -> list[str]:
    """The text's terms in order, repeated as often as they stand in it."""
    found: list[str] = []
    words: list[str] = []
    for run in _RUN.finditer(fold(text)):
        if run["han"]:
            for piece in _CHINESE_STOP.sub(" ", run["han"]).split():
                found.extend(piece)
                found.extend(piece[i : i + 2] for i in range(len(piece) - 1))
        else:
            word = _POSSESSIVE.sub("", run["word"]).replace(",", "")
            if word not in _ENGLISH_STOP:
                words.append(word)
    return found + _stemmer().stemWords(words)


@functools.cache
def _stemmer():  # noqa: ANN202 - PyStemmer has no types
    import Stemmer

    return Stemmer.Stemmer("english")
