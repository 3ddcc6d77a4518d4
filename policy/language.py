"""Which language a text is in, by its scripts, its function words and the letters that only one language has.

Made for short messages in English and Chinese, and good enough to notice that an answer is in another language.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import cache

from policy.folding import is_ideograph

__all__ = ["UNDETERMINED", "detect", "function_words_in", "wrong_language"]

UNDETERMINED = "und"

_SCRIPTS = {
    "HANGUL": "ko",
    "CYRILLIC": "ru",
    "ARABIC": "ar",
    "HEBREW": "he",
    "GREEK": "el",
    "THAI": "th",
    "DEVANAGARI": "hi",
}
_HAN_PER_WORD = 1.6
"""Chinese words have about so many characters."""
_ZH_PARTICLES = re.compile(r"[的了吗嗎呢吧我你您他她们們这這那哪怎么麼什请請问問是不没沒有在和把被就都要]")
_FUNCTION_WORDS = {
    "en": "the a an of to and in is are was were be it that this i you my your we our they he she what "
    "how do does did can could would will for with on at from by not have has had please where "
    "when why which who or but if me im there any about as",
    "de": "der die das den dem des ein eine einen und ist sind war nicht ich du sie wir ihr mein meine "
    "mit von zu zum zur für auf wie was kann bitte wo wann warum oder aber wenn es im auch noch "
    "nach bei",
    "fr": "le la les un une des du de et est sont je tu vous nous il elle mon ma mes ne pas que qui "
    "pour avec sur dans comment où quand pourquoi ou mais si ce cette au aux en se votre puis",
    "es": "el la los las un una unos de del y es son yo tú usted mi mis que para con en por cómo dónde "
    "cuándo qué o pero si se su al lo está puedo puede como",
    "it": "il lo la i gli le un una di del della e è sono io tu mio mia non che per con in come dove "
    "quando perché o ma se al alla si posso può questo",
    "pt": "o a os as um uma de do da dos das e é são eu você meu minha não que para com em por como "
    "onde quando ou mas se ao na posso pode está",
    "nl": "de het een en is zijn ik je u wij mijn niet dat die voor met op hoe wat kan waar wanneer "
    "waarom of maar als te van in er aan ook",
}
_OWN_LETTERS = {"de": "äöüß", "fr": "àâçèêëîïôœùû", "es": "ñ¿¡áíóú", "pt": "ãõçáâê", "it": "òìèù", "nl": "ë"}
_NOT_PROSE = re.compile(r"```.*?```|`[^`]*`|https?://\S+|\S+@\S+|\[(?:citation:)?\d+\]|█+", re.DOTALL)
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")


@cache
def _script(character: str) -> str:
    """``han``, ``kana``, ``latin`` or another script's name in Unicode, by the character's name."""
    if is_ideograph(character):
        return "han"
    name = unicodedata.name(character, "")
    if name.startswith(("HIRAGANA", "KATAKANA")):
        return "kana"
    return "latin" if name.startswith("LATIN") else name.partition(" ")[0]


def detect(text: str) -> str:
    """ISO 639-1 code of the language most of ``text`` is in; ``und`` where nothing tells.

    Latin words inside a Chinese sentence leave it Chinese. Latin text that shows no language of its own is
    taken for English when it is plain ASCII.
    """
    units = _units(text)
    if not units:
        return UNDETERMINED
    language, _ = max(units.items(), key=lambda item: (item[1], item[0]))
    return _latin_language(text) if language == "latin" else language


def wrong_language(answer: str, expected: str) -> bool:
    """Whether ``answer`` is in another language than ``expected``.

    Code, addresses, citations and masks do not count, and a few Latin words (names, an abbreviation) are at
    home in every language.
    """
    prose = _NOT_PROSE.sub(" ", answer)
    found = detect(prose)
    if UNDETERMINED in (found, expected) or found == expected:
        return False
    units = _units(prose)
    if set(units) == {"latin"} and units["latin"] <= 3:
        return False
    return not (found in _FUNCTION_WORDS and expected in _FUNCTION_WORDS and units["latin"] < 5)


def function_words_in(text: str) -> int:
    """How many of its words are grammar: particles of Chinese, function words of the Latin language it is most like.

    Names and numbers have none. A script that belongs to one language (Hangul, kana, Cyrillic …) counts by its words.
    """
    language = detect(text)
    if language == "zh":
        return len(_ZH_PARTICLES.findall(text.replace("有限", "")))  # 有限公司 is a name's end
    if language in _FUNCTION_WORDS:
        known = _function_words(language)
        return sum(word.replace("’", "'").partition("'")[0] in known for word in _WORD.findall(text.casefold()))
    return len(_WORD.findall(text))


def _units(text: str) -> dict[str, float]:
    """How much of each language the scripts show, in words; ``latin`` stands for all written so."""
    words = Counter[str]()
    characters = Counter[str]()
    for word in _WORD.findall(text):
        scripts = Counter(map(_script, word))
        characters.update(scripts)
        words.update(script for script in scripts if script not in ("han", "kana"))
    units: dict[str, float] = {}
    for script, count in words.items():
        name = "latin" if script == "latin" else _SCRIPTS.get(script)
        if name:
            units[name] = units.get(name, 0) + count
    han, kana = characters["han"], characters["kana"]
    if kana and kana * 5 >= han:
        units["ja"] = (han + kana) / _HAN_PER_WORD
    elif han:
        particles = len(_ZH_PARTICLES.findall(text))
        units["zh"] = (han + 1) / _HAN_PER_WORD + min(particles, 3) / 2
    return units


def _latin_language(text: str) -> str:
    lowered = text.casefold()
    words = [word.replace("’", "'") for word in _WORD.findall(lowered)]
    scores = {language: _score(words, lowered, language) for language in _FUNCTION_WORDS}
    best = max(scores.values())
    plain = all(c.isascii() for c in lowered if c.isalpha() and _script(c) == "latin")
    if best == 0 and not plain:
        return UNDETERMINED
    if scores["en"] == best or (best < 2 and plain):
        return "en"
    return max(scores, key=lambda language: scores[language])


def _score(words: list[str], lowered: str, language: str) -> float:
    known = _function_words(language)
    return sum(w.partition("'")[0] in known for w in words) + 0.5 * sum(
        c in _OWN_LETTERS.get(language, "") for c in lowered
    )


@cache
def _function_words(language: str) -> frozenset[str]:
    return frozenset(_FUNCTION_WORDS[language].split())
