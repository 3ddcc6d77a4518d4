"""Text to token ids and back, without torch or transformers.

Reads ``tokenizer.json`` (the tokenizers library), ``tokenizer_config.json`` and ``chat_template.jinja`` of a
prepared model folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dialogue.faults import ModelCorrupt, ModelMissing

if TYPE_CHECKING:
    from tokenizers import Tokenizer as _Tokenizer

__all__ = ["Detokenizer", "Tokenizer", "defuse"]

_REPLACEMENT = "\ufffd"
_LONGEST_PENDING = 16


class Tokenizer:
    """A model's tokenizer and chat template. Safe to share between threads."""

    def __init__(self, inner: _Tokenizer, config: dict[str, Any], template: str | None) -> None:
        self._inner = inner
        self._config = config
        self._template = template

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Raises :class:`ModelMissing` where there is no ``tokenizer.json``, :class:`ModelCorrupt` on a bad one."""
        from tokenizers import Tokenizer as Inner

        path = Path(folder) / "tokenizer.json"
        if not path.is_file():
            raise ModelMissing(f"{path} is missing: delete its folder and run `parley prepare`")
        try:
            inner = Inner.from_str(path.read_text("utf-8"))
            config_path = path.with_name("tokenizer_config.json")
            config = json.loads(config_path.read_text("utf-8")) if config_path.is_file() else {}
        except Exception as error:  # the tokenizers library raises bare Exception
            raise ModelCorrupt(
                f"{path} cannot be read ({error}): delete its folder and run `parley prepare`"
            ) from error
        template_path = path.with_name("chat_template.jinja")
        template = template_path.read_text("utf-8") if template_path.is_file() else config.get("chat_template")
        return cls(inner, config, template)

    def encode(self, text: str, *, special: bool = False) -> tuple[int, ...]:
        """Token ids; ``special`` adds what the tokenizer puts around a bare text, such as a begin token."""
        return tuple(self._inner.encode(text, add_special_tokens=special).ids)

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """The text of ``ids``; bytes that are no UTF-8 become U+FFFD."""
        return self._inner.decode(list(ids), skip_special_tokens=skip_special)

    def count(self, text: str) -> int:
        """How many tokens ``text`` has."""
        return len(self._inner.encode(text, add_special_tokens=False).ids)

    def token_id(self, token: str) -> int | None:
        """The id of a token by its exact string, ``None`` where the vocabulary has none."""
        return self._inner.token_to_id(token)

    @property
    def vocabulary(self) -> int:
        return self._inner.get_vocab_size()

    def special_strings(self) -> tuple[str, ...]:
        """Strings that mean something to the template: never to be let through from a person or a document."""
        added = {token.content for token in self._inner.get_added_tokens_decoder().values()}
        return tuple(sorted({*added, "<think>", "</think>"}, key=len, reverse=True))

    def detokenizer(self) -> Detokenizer:
        """A fresh incremental decoder."""
        return Detokenizer(self)

    def apply_chat_template(self, messages: Iterable[dict[str, str]], *, add_generation_prompt: bool = True) -> str:
        """The prompt text of ``messages`` (``role``, ``content``), through the model's own template."""
        from jinja2 import TemplateError

        try:
            return self._compiled.render(
                messages=list(messages), add_generation_prompt=add_generation_prompt, **self._names
            )
        except TemplateError as error:
            raise ModelCorrupt(f"the model's chat template fails ({error}): give the model another one") from error

    @cached_property
    def _compiled(self) -> Any:
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        if not self._template:
            raise ModelMissing("the model folder has no chat_template.jinja: put its template there")
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["raise_exception"] = _raise_exception
        environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
        return environment.from_string(self._template)

    @property
    def _names(self) -> dict[str, str]:
        names = {}
        for name in ("bos_token", "eos_token", "pad_token", "unk_token"):
            token = self._config.get(name)
            names[name] = token.get("content", "") if isinstance(token, dict) else (token or "")
        return names


def _raise_exception(message: str) -> None:
    from jinja2 import TemplateError

    raise TemplateError(message)


class Detokenizer:
    """Decodes token by token. A character whose bytes are not all there yet is held back, never shown as U+FFFD.

    What it gives, joined, equals decoding all ids at once, less an incomplete character at the very end. The two
    offsets are those of text-generation-inference: text is taken as the difference of two decodings with the same
    start, because a token's text may depend on the one before it.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._start = 0
        self._read = 0

    def feed(self, ids: Iterable[int]) -> str:
        """The text that became certain."""
        return "".join(self._feed_one(one) for one in ids)

    def flush(self) -> str:
        """What is left at the end, without an incomplete character."""
        text = self._new_text().rstrip(_REPLACEMENT)
        self._start = self._read = len(self._ids)
        return text

    def _feed_one(self, id_: int) -> str:
        self._ids.append(id_)
        text = self._new_text()
        pending = len(self._ids) - self._read
        if not text or (text.endswith(_REPLACEMENT) and pending < _LONGEST_PENDING):
            return ""
        self._start, self._read = self._read, len(self._ids)
        if self._start > 4 * _LONGEST_PENDING:  # keeps memory constant however long the answer is
            del self._ids[: self._start]
            self._read -= self._start
            self._start = 0
        return text

    def _new_text(self) -> str:
        window = self._ids[self._start :]
        known = self._tokenizer.decode(window[: self._read - self._start])
        return self._tokenizer.decode(window)[len(known) :]


def defuse(text: str, special: Iterable[str]) -> str:
    """``text`` in which none of the ``special`` strings stands any more: a space is put after their first sign."""
    for token in special:
        if token:
            text = text.replace(token, f"{token[0]} {token[1:]}")
    return text
