"""``parley model pull``: models are brought in from an address or a hub."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from cli.options import Json
from cli.registry import By

if TYPE_CHECKING:
    from model_runtime.pull import Pulled, Source
    from settings.schema import Settings

__all__ = ["pull"]


def pull(
    source: str,
    /,
    *,
    name: Annotated[str | None, Parameter(help="What a prepared model is called here; else as its manifest.")] = None,
    by: By = None,
    json: Json = False,
) -> None:
    """Bring a model in. Broken off, the same command goes on where it was.

    A prepared model is published to the registry. A checkpoint is put below the data folder, to be built from.

    Parameters
    ----------
    source
        An address below which there is a manifest.json, or owner/name@revision of a hub.
    """
    from cli.progress import byte_bar
    from model_runtime.hub import PUBLIC_HUB
    from model_runtime.pull import parse_source
    from model_runtime.pull import pull as pull_model
    from model_runtime.registry_index import check_name
    from settings.layout import Layout
    from settings.load import load

    settings = load()
    if name is not None:
        check_name(name)
    asked = parse_source(source, settings.pull.hub or os.environ.get("HF_ENDPOINT", "").strip() or PUBLIC_HUB)
    with byte_bar(str(asked)) as told:
        pulled = pull_model(
            asked,
            Layout.of(settings).checkpoints,
            token=_token(settings, asked),
            parallel=settings.pull.parallel,
            told=told,
        )
    if pulled.manifest is None:
        _tell_checkpoint(asked, pulled, json=json)
    else:
        _publish(settings, pulled, name or pulled.manifest.name, by, json=json)


def _token(settings: Settings, source: Source) -> str | None:
    """A hub's own variable is for hubs: it is not shown to any address somebody types."""
    from cli.registry import token

    variables = ("PARLEY_MODEL_TOKEN", "HF_TOKEN") if source.repo else ("PARLEY_MODEL_TOKEN",)
    return token(settings.pull.token_file, "pull.token_file", *variables)


def _tell_checkpoint(source: Source, pulled: Pulled, *, json: bool) -> None:
    from cli.console import print_json, print_line
    from cli.registry import short

    if json:
        print_json(pulled)
        return
    for file, why in pulled.left_out:
        print_line(f"  left out  {file}: {why}")
    print_line(f"{source} is {pulled.folder} · commit {short(pulled.commit)} · {pulled.bytes / 1e6:.0f} MB")
    print_line(f"Build it: parley model build {pulled.folder} --name {source.repo.partition('/')[2]}")


def _publish(settings: Settings, pulled: Pulled, name: str, by: str | None, *, json: bool) -> None:
    from cli.console import print_json, print_line
    from cli.registry import open_registry, short, who

    published = open_registry(settings).publish(name, pulled.folder, by=who(by), take=True)
    shutil.rmtree(pulled.folder, ignore_errors=True)
    if json:
        print_json(published)
        return
    there = "is published" if published.new else "was there already"
    print_line(f"{name}@{short(published.digest)} {there} · {pulled.bytes / 1e6:.0f} MB")
    print_line(f"Use it: parley model promote {name}@{short(published.digest)} prod")
