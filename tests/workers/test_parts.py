"""What a worker builds is kept under the digests that answers will name, and one policy of retention has it all."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from records.payload_store import LocalPayloads
from settings.schema import EncryptionSettings, ExternalSettings, Settings
from workers.parts import Parts

INTENTS = Path(__file__).resolve().parents[2] / "examples" / "help" / "intents.yaml"


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    given = {
        "data": tmp_path,
        "intents": {"file": str(INTENTS)},
        "knowledge": {"embedding": {"languages": []}},
        "policies": {"default": {"words": [], "texts": {"refusal": {"en": "Not here."}}}},
    }
    sealed = EncryptionSettings(provider="local", external=ExternalSettings(store="local"))
    settings = Settings.model_validate(given).model_copy(update={"encryption": sealed})
    async with AsyncExitStack() as stack:
        yield await Parts.open(settings, stack)


async def test_what_an_answer_names_is_kept(parts: Parts) -> None:
    """The intents with their templates and sentences, the policies with their words and texts."""
    classifier = await parts.classifier()
    named = classifier.recognise("How long do I have to send back shoes?", "en").model
    intents = json.loads(await parts.contents.get(named))["intents"]
    assert intents == classifier.file.model_dump(mode="json")
    assert intents["templates"]
    policies = await parts.policies()
    policy = json.loads(await parts.contents.get(policies.current["default"].digest))
    assert policy["rules"]["texts"]["refusal"]["en"] == "Not here."
    assert policy["words"] == []


async def test_retention_reaches_the_payloads_outside(parts: Parts) -> None:
    """In the folder where the codec puts them."""
    assert parts.protection is not None
    assert parts.protection.external is not None
    (driver,) = parts.protection.external.drivers
    assert isinstance(driver, LocalPayloads)
    assert parts.retention._payloads is driver
