"""The decoder itself, written out: Llama, Qwen2 and Qwen3 over held weights and the row cache.

``prefill`` takes one sequence alone, a chunk at a time; ``decode`` takes one token of each of the first rows;
``replay`` takes several known tokens of one sequence as if each were a row of ``decode``, and so computes to the
last bit what those steps had computed. Every shape in ``prefill`` is given by the sequence itself; in ``decode``
the rows of one width attend together, over the places of their pool up to the last one in use. Attention of a single
query is two plain matrix products, with the queries grouped by key-value head: fused attention is made for long queries
and is several times slower for one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from model_runtime.architecture import Architecture, rope_frequencies
from model_runtime.cache import Place, Pool
from model_runtime.linear import Dense, Int4, Int8, Linear, load_linear

__all__ = ["Decoder"]


@dataclass(slots=True)
class _Layer:
    input_norm: Tensor
    qkv: Linear
    q_norm: Tensor | None
    k_norm: Tensor | None
    out: Linear
    output_norm: Tensor
    gate_up: Linear
    down: Linear


class Decoder:
    """``weights`` by their names in the prepared file, already on their device. All of them are copied: they may be a
    mapping of that file, and what becomes of it later must not reach a running engine."""

    def __init__(self, shape: Architecture, weights: dict[str, Tensor], dtype: torch.dtype) -> None:
        self.shape, self.dtype = shape, dtype
        table = load_linear(weights, ["model.embed_tokens"], dtype, lookup=True)
        if isinstance(table, Int4):
            raise TypeError("an int4 table cannot be looked up in")
        self._table: Dense | Int8 = table
        self._head: Linear = table if shape.tied else load_linear(weights, ["lm_head"], dtype)
        self._layers = [self._layer(weights, f"model.layers.{i}") for i in range(shape.layers)]
        self._norm = weights["model.norm.weight"].to(dtype, copy=True)
        self.device = self._norm.device
        self._scale = shape.head_dim**-0.5
        self._frequencies = torch.tensor(rope_frequencies(shape), dtype=torch.float32, device=self.device)
        self._turned = torch.empty(0, 2, shape.head_dim, dtype=dtype, device=self.device)

    def _layer(self, weights: dict[str, Tensor], name: str) -> _Layer:
        def norm(which: str) -> Tensor | None:
            found = weights.get(f"{name}.{which}.weight")
            return None if found is None else found.to(self.dtype, copy=True)

        attention = f"{name}.self_attn"
        return _Layer(
            input_norm=weights[f"{name}.input_layernorm.weight"].to(self.dtype, copy=True),
            qkv=load_linear(weights, [f"{attention}.{part}_proj" for part in "qkv"], self.dtype),
            q_norm=norm("self_attn.q_norm"),
            k_norm=norm("self_attn.k_norm"),
            out=load_linear(weights, [f"{attention}.o_proj"], self.dtype),
            output_norm=weights[f"{name}.post_attention_layernorm.weight"].to(self.dtype, copy=True),
            gate_up=load_linear(weights, [f"{name}.mlp.gate_proj", f"{name}.mlp.up_proj"], self.dtype),
            down=load_linear(weights, [f"{name}.mlp.down_proj"], self.dtype),
        )

    @torch.inference_mode()
    def prefill(self, ids: list[int], start: int, place: Place) -> Tensor:
        """Takes ``ids`` in at positions ``start``...; gives the logits after the last one, [vocabulary]."""
        return self._head(self._normed(self._take_in(ids, start, place)[-1:], self._norm))[0]

    @torch.inference_mode()
    def score(self, ids: list[int]) -> Tensor:
        """How likely each token is after those before it: natural logarithms, [len(ids) - 1], float32."""
        logits = self._head(self._normed(self._take_in(ids, 0, self.place(len(ids)))[:-1], self._norm))
        following = torch.tensor(ids[1:], device=self.device)[:, None]
        return logits.float().log_softmax(-1).gather(-1, following)[:, 0]

    def place(self, width: int) -> Place:
        """One for a sequence alone, beside any cache."""
        shape = (self.shape.layers, 1, self.shape.kv_heads, width, self.shape.head_dim)
        return Place(Pool(width, *(torch.zeros(shape, dtype=self.dtype, device=self.device) for _ in range(2))), 0)

    def _take_in(self, ids: list[int], start: int, place: Place) -> Tensor:
        """The last layer's output, [len(ids), hidden]."""
        pool = place.pool
        end = start + len(ids)
        x = self._table.rows(torch.tensor(ids, device=self.device))
        turn = self._rotation(end)[start:end]
        mask = None
        if start:
            position = torch.arange(end, device=self.device)
            mask = position[None, :] <= position[start:, None]
        for index, layer in enumerate(self._layers):
            q, k, v = self._qkv(layer, x, turn)
            keys, values = pool.keys[index, place.number], pool.values[index, place.number]
            keys[:, start:end] = k.transpose(0, 1)
            values[:, start:end] = v.transpose(0, 1)
            attended = functional.scaled_dot_product_attention(
                q.transpose(0, 1)[None],
                keys[None, :, :end],
                values[None, :, :end],
                attn_mask=mask,
                is_causal=mask is None,
                enable_gqa=True,
            )
            x = x + layer.out(attended[0].transpose(0, 1).reshape(len(ids), -1))
            x = x + self._mlp(layer, x)
        return x

    @torch.inference_mode()
    def decode(
        self, ids: list[int], lengths: list[int], places: Sequence[Place | None], *, whole: bool = False
    ) -> Tensor:
        """One step of the first ``len(ids)`` rows; gives their logits, [rows, vocabulary].

        ``lengths`` is how many tokens each row holds already: its new token's position. ``places`` is where each
        row stands; a row with ``None`` writes nothing and is to be ignored. ``whole``: attends over every place of a
        pool, not only up to the last one in use.
        """
        groups = [self._group(pool, lengths, places, whole=whole) for pool in _distinct(places)]
        x = self._table.rows(torch.tensor(ids, device=self.device))
        turn = self._rotation(max(lengths) + 1)[torch.tensor(lengths, device=self.device)]

        def attend(index: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            if groups[0].aligned:
                return self._attend(index, groups[0], q, k, v)
            attended = torch.zeros_like(q)
            for group in groups:
                asked = q.new_zeros((group.extent, *q.shape[1:]))
                asked[group.numbers] = q[group.rows]
                attended[group.rows] = self._attend(index, group, asked, k[group.rows], v[group.rows])[group.numbers]
            return attended

        return self._head(self._normed(self._through(x, turn, attend), self._norm))

    @torch.inference_mode()
    def replay(self, ids: list[int], start: int, place: Place, extent: int) -> Tensor:
        """Takes tokens in that were decoded before, at positions ``start``...; gives the logits after the last one.

        ``len(ids) <= extent``; what is lacking is filled up with rows that are thrown away.
        """
        count, shape, pool = len(ids), self.shape, place.pool
        held = torch.tensor([start + i if i < count else 0 for i in range(extent)], device=self.device)
        bias = self._bias(held, pool.width)
        x = self._table.rows(torch.tensor([*ids, *[0] * (extent - count)], device=self.device))
        turn = self._rotation(start + count)[held]

        def attend(index: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            keys, values = pool.keys[index, place.number], pool.values[index, place.number]
            keys[:, start : start + count] = k[:count].transpose(0, 1)
            values[:, start : start + count] = v[:count].transpose(0, 1)
            # copies, so that the products meet the very layout they meet in decode
            each = (extent, shape.kv_heads, pool.width, shape.head_dim)
            return self._attention(q, keys.expand(each).contiguous(), values.expand(each).contiguous(), bias)

        return self._head(self._normed(self._through(x, turn, attend), self._norm))[count - 1]

    def _through(self, x: Tensor, turn: Tensor, attend: Callable[[int, Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        """All layers over x [rows, hidden]; ``attend`` keeps a layer's keys and values and gives its attention."""
        for index, layer in enumerate(self._layers):
            q, k, v = self._qkv(layer, x, turn)
            x = x + layer.out(attend(index, q, k, v).reshape(x.shape[0], -1))
            x = x + self._mlp(layer, x)
        return x

    def _group(self, pool: Pool, lengths: list[int], places: Sequence[Place | None], *, whole: bool) -> _Group:
        mine = {row: place.number for row, place in enumerate(places) if place is not None and place.pool is pool}
        rows, numbers = list(mine), list(mine.values())
        extent = pool.places if whole else max(numbers) + 1
        held = [0] * extent
        for row, number in mine.items():
            held[number] = lengths[row]
        return _Group(
            pool=pool,
            extent=extent,
            rows=torch.tensor(rows, device=self.device),
            numbers=torch.tensor(numbers, device=self.device),
            positions=torch.tensor([lengths[row] for row in rows], device=self.device),
            bias=self._bias(torch.tensor(held, device=self.device), pool.width),
            aligned=rows == numbers == list(range(extent)) and extent == len(places),
        )

    def _bias(self, held: Tensor, width: int) -> Tensor:
        """[rows, 1, 1, width]: 0 up to each row's own position, minus infinity beyond."""
        hidden = torch.arange(width, device=self.device)[None, :] > held[:, None]
        return torch.zeros(hidden.shape, device=self.device).masked_fill_(hidden, float("-inf"))[:, None, None]

    def _attend(self, index: int, group: _Group, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Keeps the keys and values of the group's rows, and gives the attention of ``q`` [extent, heads, D]."""
        keys, values = group.pool.keys[index], group.pool.values[index]
        keys[group.numbers, :, group.positions] = k
        values[group.numbers, :, group.positions] = v
        return self._attention(q, keys[: group.extent], values[: group.extent], group.bias)

    def _attention(self, q: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        """q [rows, heads, D], keys and values [rows, kv heads, width, D] -> [rows, heads, D]."""
        shape = self.shape
        grouped = q.view(q.shape[0], shape.kv_heads, shape.group, shape.head_dim)
        scores = torch.matmul(grouped, keys.transpose(-1, -2)).float().mul_(self._scale).add_(bias)
        return torch.matmul(scores.softmax(-1).to(self.dtype), values).view(q.shape)

    def _qkv(self, layer: _Layer, x: Tensor, turn: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries [n, heads, D], keys and values [n, kv heads, D], rotated to their positions."""
        shape = self.shape
        qkv = layer.qkv(self._normed(x, layer.input_norm)).view(x.shape[0], -1, shape.head_dim)
        qk, v = qkv[:, : shape.heads + shape.kv_heads], qkv[:, shape.heads + shape.kv_heads :]
        if layer.q_norm is not None and layer.k_norm is not None:
            q, k = qk.split((shape.heads, shape.kv_heads), 1)
            qk = torch.cat([self._normed(q, layer.q_norm), self._normed(k, layer.k_norm)], 1)
        # the halves change places; that one of them changes its sign, too, is in the sines
        qk = qk * turn[:, 0, None] + qk.roll(shape.head_dim // 2, -1) * turn[:, 1, None]
        q, k = qk.split((shape.heads, shape.kv_heads), 1)
        return q.contiguous(), k, v

    def _mlp(self, layer: _Layer, x: Tensor) -> Tensor:
        gate, up = layer.gate_up(self._normed(x, layer.output_norm)).chunk(2, -1)
        return layer.down(functional.silu(gate) * up)

    def _normed(self, x: Tensor, weight: Tensor) -> Tensor:
        """RMS norm (Zhang and Sennrich 2019), in fp32 as the checkpoints were trained."""
        return functional.rms_norm(x.float(), weight.shape, None, self.shape.eps).to(self.dtype) * weight

    def _rotation(self, length: int) -> Tensor:
        """Cosine and sine of positions, the first half of the sines negated, [>= length, 2, head dim]; grown by
        doubling, values never change."""
        if self._turned.shape[0] < length:
            count = max(1024, 1 << (length - 1).bit_length())
            angles = torch.arange(count, dtype=torch.float32, device=self.device)[:, None] * self._frequencies
            cosines, sines = angles.cos(), angles.sin()
            turned = torch.cat([cosines, cosines, -sines, sines], -1).to(self.dtype)
            self._turned = turned.view(count, 2, self.shape.head_dim)
        return self._turned


@dataclass(slots=True)
class _Group:
    """The active ``rows`` of one width, at ``numbers`` among the first ``extent`` places of their pool. ``bias``
    [extent, 1, 1, width] hides what a place does not hold; ``aligned``: each row stands at its own number."""

    pool: Pool
    extent: int
    rows: Tensor
    numbers: Tensor
    positions: Tensor
    bias: Tensor
    aligned: bool


def _distinct(places: Sequence[Place | None]) -> list[Pool]:
    found = {place.pool.width: place.pool for place in places if place is not None}
    return [found[width] for width in sorted(found)]
