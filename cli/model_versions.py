"""``parley model list``, ``show`` and ``verify``: what the registry holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cli.options import Json

if TYPE_CHECKING:
    from model_runtime.build_record import BuildRecord
    from model_runtime.model_store import ModelManifest
    from model_runtime.registry_index import Index, Model

__all__ = ["list_", "show", "verify"]


def list_(*, json: Json = False) -> None:
    """List the versions and their aliases, the newest first."""
    from cli.console import output, print_json, print_line
    from cli.registry import open_registry, short
    from cli.tables import rows
    from settings.load import load

    registry = open_registry(load())
    found = _versions(registry.index())
    if json:
        print_json(found)
        return
    if not found:
        print_line(f"{registry.where} holds no model yet: `parley model build SOURCE --name NAME`.")
        return
    lines = [
        (
            each["name"],
            short(each["digest"]),
            each["method"],
            f"{each['bytes'] / 1e6:.0f} MB",
            each["at"],
            each["by"],
            ", ".join(each["aliases"]),
        )
        for each in found
    ]
    output().print(rows(("name", "digest", "method", "size", "published", "by", "aliases"), lines, right=(3,)))


def _versions(index: Index) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name, model in sorted(index.models.items()):
        for digest, version in sorted(model.versions.items(), key=lambda each: each[1].at, reverse=True):
            if version.removing:
                continue
            found.append(
                {
                    "name": name,
                    "digest": digest,
                    "method": version.method,
                    "bytes": version.bytes,
                    "by": version.by,
                    "at": version.at,
                    "aliases": _aliases_at(model, digest),
                }
            )
    return found


def _aliases_at(model: Model, digest: str) -> list[str]:
    return sorted(alias for alias, kept in model.aliases.items() if kept.digest == digest)


def show(version: str, /, *, json: Json = False) -> None:
    """Show one version: its files, how it was built, what was measured, and the history of its model's aliases.

    Parameters
    ----------
    version
        NAME@ALIAS or NAME@DIGEST; 8 digits of it are enough.
    """
    from cli.console import print_json
    from cli.registry import open_registry, parse
    from settings.load import load

    registry, reference = open_registry(load()), parse(version)
    index = registry.index()
    digest = index.resolve(reference)
    manifest, record = registry.manifest(reference.name, digest), registry.record(reference.name, digest)
    model = index.model(reference.name)
    if json:
        print_json(
            {
                "name": reference.name,
                "digest": digest,
                "aliases": _aliases_at(model, digest),
                "published": model.versions[digest],
                "manifest": manifest,
                "build": record,
                "history": {alias: kept.moves for alias, kept in sorted(model.aliases.items())},
            }
        )
    else:
        _print_version(reference.name, digest, model, manifest, record)


def _print_version(name: str, digest: str, model: Model, manifest: ModelManifest, record: BuildRecord | None) -> None:
    from cli.console import output
    from cli.registry import short
    from cli.tables import rows

    published, console = model.versions[digest], output()
    lines = [
        ("model", name),
        ("digest", digest),
        ("aliases", ", ".join(_aliases_at(model, digest)) or "none"),
        ("published", f"{published.at} by {published.by}"),
        (
            "held as",
            f"{manifest.method} · {manifest.bytes_after / 1e6:.0f} MB, {manifest.bytes_before / 1e6:.0f} as bf16",
        ),
        ("source", f"{manifest.source} · sha256 {short(manifest.source_digest)}…"),
        ("built with", ", ".join(f"{package} {version}" for package, version in manifest.built_with.items())),
        *_measured(record),
    ]
    console.print(rows(("", ""), lines))
    files = [(f"{file.bytes:,}", short(file.sha256), each) for each, file in sorted(manifest.files.items())]
    console.print()
    console.print(rows(("bytes", "sha256", "file"), files, right=(0,)))
    moves = [
        (move.at, alias, move.how, short(move.digest), " · ".join(filter(None, (move.by, move.reason))))
        for alias, kept in sorted(model.aliases.items())
        for move in reversed(kept.moves)
    ]
    if moves:
        console.print()
        console.print(rows(("when", "alias", "how", "digest", "by"), moves))


def _measured(record: BuildRecord | None) -> list[tuple[str, str]]:
    if record is None or record.quality is None:
        return [("quality", "not measured")]
    lines = [(str(name), str(value)) for name, value in record.quality.items()]
    return [*lines, ("gate", record.gate or "not decided")]


def verify(version: str | None = None, /, *, json: Json = False) -> int:
    """Read every byte of a version, or of all versions, and compare it with the manifest.

    The exit code is 1 where something differs.

    Parameters
    ----------
    version
        NAME@ALIAS or NAME@DIGEST; without it all of them.
    """
    from cli.console import print_json, print_line
    from cli.progress import byte_bar
    from cli.registry import open_registry, parse, short
    from dialogue.faults import ModelCorrupt, UnsafeModel
    from settings.load import load

    registry = open_registry(load())
    index = registry.index()
    if version is not None:
        reference = parse(version)
        wanted = [(reference.name, index.resolve(reference))]
    else:
        wanted = [(each["name"], each["digest"]) for each in _versions(index)]
    found: list[dict[str, Any]] = []
    for name, digest in wanted:
        problem = None
        try:
            with byte_bar(f"{name}@{short(digest)}") as told:
                registry.verify(name, digest, told)
        except (ModelCorrupt, UnsafeModel) as fault:
            problem = fault.message
        found.append({"name": name, "digest": digest, "ok": problem is None, "problem": problem})
        if not json:
            print_line(f"{name}@{short(digest)}  {'ok' if problem is None else problem}")
    if json:
        print_json(found)
    return 0 if all(each["ok"] for each in found) else 1
