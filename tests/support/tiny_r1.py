"""A tiny model that really reasons as R1 does: trained on the spot, run by the real engine.

Two layers of Qwen2 with the special tokens and the chat template of R1's distills, taught the lessons of
``tiny_r1_texts`` until every token of them stands clear of the next likely one, so that bf16 and int8 say the same.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support import tiny_r1_texts
from tests.support.tiny_r1_texts import CLOSE, LESSONS, Lesson

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenizers import Tokenizer
    from torch import Tensor

__all__ = ["NAME", "build", "recipe"]

NAME = "tiny-r1"
BOS, EOS, USER, ASSISTANT = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' %}{{ m['content'] }}{% endif %}{% endfor %}"
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ '<｜User｜>' + m['content'] }}"
    "{% elif m['role'] == 'assistant' %}{{ '<｜Assistant｜>' + m['content'].split('</think>')[-1] + "
    "'<｜end▁of▁sentence｜>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\\n' }}{% endif %}"
)
MERGES, LONGEST = 900, 12
"""Tokens are learnt from questions, thinking and rings alone: what only answers hold stays cut within characters."""
HIDDEN, LAYERS, HEADS, KV_HEADS, INTERMEDIATE = 128, 2, 4, 2, 256
FORCED_ANSWER = {"en": "I stop here.", "zh": "我先说到这里。"}
"""What follows a closing tag that was put into endless thinking."""
BATCH_TOKENS = 512
STEPS, LEARNING_RATE = 900, 4e-3
"""About 30 seconds of one core."""
MARGIN = 2.0
"""The least distance, in logits, between the right token and the next likely one: far more than rounding moves."""


def recipe() -> str:
    """Digest of all that decides the weights: these sources and the libraries."""
    sources = [Path(file).read_bytes() for file in (__file__, str(tiny_r1_texts.__file__))]
    libraries = [f"{name} {version(name)}" for name in ("torch", "transformers", "tokenizers")]
    return hashlib.sha256(b"\0".join([*sources, *map(str.encode, libraries)])).hexdigest()[:16]


def build(cache: Path) -> Path:
    """The checkpoint's folder below ``cache``; built once, whichever process comes first."""
    from filelock import FileLock

    folder = cache / f"{NAME}-{recipe()}"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f".{NAME}.lock"):
        if not folder.is_dir():
            building = folder.with_suffix(".building")
            shutil.rmtree(building, ignore_errors=True)
            building.mkdir()
            _build(building)
            building.rename(folder)
    return folder


def _build(folder: Path) -> None:
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.set_num_threads(1)
    torch.manual_seed(1)
    tokenizer = _tokenizer()
    config = Qwen2Config(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=HIDDEN, intermediate_size=INTERMEDIATE,
        num_hidden_layers=LAYERS, num_attention_heads=HEADS, num_key_value_heads=KV_HEADS,
        max_position_embeddings=4096, tie_word_embeddings=True, attn_implementation="sdpa",
        bos_token_id=tokenizer.token_to_id(BOS), eos_token_id=tokenizer.token_to_id(EOS),
    )  # fmt: skip
    model = Qwen2ForCausalLM(config)
    _train(model, _examples(tokenizer))
    model.generation_config.temperature, model.generation_config.top_p = 0.6, 0.95
    model.generation_config.do_sample = True
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {"bos_token": BOS, "eos_token": EOS, "pad_token": EOS, "tokenizer_class": "LlamaTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(named, ensure_ascii=False), "utf-8")
    (folder / "chat_template.jinja").write_text(TEMPLATE, "utf-8")


def _tokenizer() -> Tokenizer:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=256 + MERGES,
        max_token_length=LONGEST,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [text for each in LESSONS for text in (each.question, each.thinking, each.ring)]
    tokenizer.train_from_iterator(texts, trainer)
    # as in R1's own file: the ends are special, the rest are words that the tokenizer never cuts
    tokenizer.add_tokens([AddedToken(name, special=name in (BOS, EOS), normalized=False) for name in
                          (BOS, EOS, USER, ASSISTANT, "<think>", "</think>")])  # fmt: skip
    return tokenizer


Example = tuple[list[int], int]
"""Token ids, and where the part begins that is learnt."""


def _examples(tokenizer: Tokenizer) -> list[Example]:
    """Each lesson whole, and cut off in the middle of its thinking with the closing tag put in."""

    def ids(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False).ids

    examples: list[Example] = []
    for each in LESSONS:
        prompt = ids(f"{BOS}{USER}{each.question}{ASSISTANT}<think>\n")
        made = ids(each.opening) + (ids(each.ring) * each.taught or ids(EOS))
        examples.append((prompt + made, len(prompt)))
        examples += _forced(each, prompt, ids)
    return examples


def _forced(each: Lesson, prompt: list[int], ids: Callable[[str], list[int]]) -> list[Example]:
    """Budget forcing: whatever was thought so far, the answer follows the closing tag."""
    if each.ring and each.answer:
        return []
    answer = each.answer or FORCED_ANSWER[each.language]
    thinking = ids(each.thinking + each.ring)
    if len(thinking) < 4 or each.name == "closed-empty":
        return []
    drawn = random.Random(each.question)
    cuts = {4, len(thinking) // 2, *(drawn.randrange(2, min(len(thinking), 100)) for _ in range(3))}
    return [(prompt + thinking[:cut] + ids(CLOSE + answer + EOS), len(prompt) + cut + len(ids(CLOSE))) for cut in cuts]


def _batches(examples: list[Example]) -> list[list[Example]]:
    """Of like lengths, about ``BATCH_TOKENS`` each."""
    batches: list[list[Example]] = []
    for example in sorted(examples, key=lambda example: len(example[0])):
        if not batches or (len(batches[-1]) + 1) * len(example[0]) > BATCH_TOKENS:
            batches.append([])
        batches[-1].append(example)
    return batches


def _tensors(batch: list[Example]) -> tuple[Tensor, Tensor]:
    """Ids and labels, [rows, width]; what is not learnt has the label -100."""
    import torch

    width = max(len(ids) for ids, _ in batch)
    ids = torch.zeros(len(batch), width, dtype=torch.long)
    labels = torch.full((len(batch), width), -100)
    for row, (made, start) in enumerate(batch):
        ids[row, : len(made)] = torch.tensor(made)
        labels[row, start : len(made)] = torch.tensor(made[start:])
    return ids, labels


def _train(model: Any, examples: list[Example]) -> None:
    """Raises RuntimeError where the lessons were not learnt."""
    import torch

    batches = [_tensors(batch) for batch in _batches(examples)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=STEPS, pct_start=0.1)
    drawn, order = random.Random(1), list[int]()
    for _ in range(STEPS):
        order = order or drawn.sample(range(len(batches)), len(batches))
        ids, labels = batches[order.pop()]
        loss = model(input_ids=ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    margin = min(_least_margin(model, *batch) for batch in batches)
    if margin < MARGIN:
        raise RuntimeError(f"the lessons were not learnt: the least margin is {margin:.2f} logits of {MARGIN}")


def _least_margin(model: Any, ids: Tensor, labels: Tensor) -> float:
    import torch

    with torch.no_grad():
        logits, wanted = model(input_ids=ids).logits[:, :-1], labels[:, 1:]
    chosen, right = logits[wanted >= 0], wanted[wanted >= 0][:, None]
    return (chosen.gather(1, right)[:, 0] - chosen.scatter(1, right, -1e9).amax(1)).min().item()


if __name__ == "__main__":
    sys.stdout.write(f"{build(Path(sys.argv[1]))}\n")
