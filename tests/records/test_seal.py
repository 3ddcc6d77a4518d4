"""A sealed text opens where it was sealed, under its key, as it was; and nowhere else."""

from __future__ import annotations

import random

import pytest

from dialogue.faults import SealBroken
from records.seal import OVERHEAD_BYTES, DataKey, new_key, place, seal, unseal

KEY = DataKey("k1", new_key())
WHERE = place("audit", "acme", "conv-1", 3, "input_text")


def test_a_text_comes_back() -> None:
    """Whatever it is; twice sealed it is never the same."""
    for text in (b"", b"\0", "退货要多久？😀".encode(), bytes(100_000)):
        sealed = seal(KEY, text, WHERE)
        assert unseal(KEY, sealed, WHERE) == text
        assert len(sealed) == len(text) + OVERHEAD_BYTES
        assert sealed != seal(KEY, text, WHERE)


def test_every_changed_bit_is_noticed() -> None:
    """In the nonce, the ciphertext, the tag and the form."""
    sealed = seal(KEY, b"thirty days", WHERE)
    for index in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[index // 8] ^= 1 << index % 8
        with pytest.raises(SealBroken):
            unseal(KEY, bytes(changed), WHERE)


def test_cut_extended_moved_or_under_another_key_it_is_noticed() -> None:
    """The message names the key and never the text."""
    sealed = seal(KEY, b"thirty days", WHERE)
    other = DataKey("k1", new_key())
    elsewhere = place("audit", "acme", "conv-1", 4, "input_text")
    cases = [(KEY, sealed[:n], WHERE) for n in range(len(sealed))]
    cases += [(KEY, sealed + b"\0", WHERE), (other, sealed, WHERE), (KEY, sealed, elsewhere)]
    for key, text, where in cases:
        with pytest.raises(SealBroken) as raised:
            unseal(key, text, where)
        assert "k1" in raised.value.message
        assert "thirty" not in raised.value.message


def test_different_places_are_never_the_same() -> None:
    """However their parts are cut."""
    chance = random.Random(7)
    parts = ["", "a", "\0", "a\0", "\0a", "b", "é"]
    seen: dict[bytes, tuple[str, ...]] = {}
    for _ in range(3000):
        chosen = tuple(chance.choices(parts, k=chance.randint(1, 4)))
        assert seen.setdefault(place(*chosen), chosen) == chosen
