"""``parley audit``: prove that the audit is whole, take rows out of it, forget a user, check a receipt."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from cli.options import Json, Tenant

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncEngine

    from dialogue.messages import TextFile
    from dialogue.receipt import Receipt
    from records.audit import AuditLog
    from records.protection import Protection
    from records.signing import Verifier
    from settings.schema import Settings

__all__ = ["app"]

app = App(name="audit", help="Prove that the audit is whole, export it, forget a user, check receipts.")
receipt = App(name="receipt", help="Check the receipts that replies carry.")
app.command(receipt)

BROKEN = 1


@dataclass(frozen=True, slots=True)
class _Records:
    settings: Settings
    engine: AsyncEngine
    audit: AuditLog
    protection: Protection | None


@asynccontextmanager
async def _opened() -> AsyncIterator[_Records]:
    """The records of the site; their tables are made where nobody did so yet."""
    from records.audit import AuditLog
    from records.database import connect_database, migrate
    from records.protection import open_protection
    from records.signing import Signer
    from settings.layout import Layout
    from settings.load import load

    settings = load()
    layout = Layout.of(settings)
    layout.data.mkdir(parents=True, exist_ok=True)
    url = layout.database_url(settings.records.database)
    await migrate(url)
    engine = connect_database(url)
    try:
        protection = open_protection(settings, engine)
        keys = protection.keys if protection else None
        yield _Records(settings, engine, AuditLog(engine, keys, signer=Signer.open(settings)), protection)
    finally:
        await engine.dispose()


@app.command
async def verify(
    *, tenant: Annotated[str | None, Parameter(help="Its chain alone; else every tenant's.")] = None, json: Json = False
) -> int:
    """Hold every row against the chain of hashes and the signed checkpoints.

    Names each row that was changed, removed, put in or moved, and exits with 1 if there is one. Rows that the retention
    removed are not missed where that is signed. Needs no data key: the chain runs over what is stored.
    """
    from dataclasses import asdict

    from cli.console import print_json, print_line

    async with _opened() as records:
        problems = await records.audit.verify(tenant)
        count = await records.audit.count(tenant)
    if json:
        print_json({"rows": count, "problems": [asdict(problem) for problem in problems]})
    else:
        for problem in problems:
            print_line(f"{problem.kind}: {problem.message}")
        print_line(f"{count} rows: {'whole' if not problems else f'{len(problems)} problems'}.")
    return BROKEN if problems else 0


@app.command
async def export(
    file: Annotated[Path, Parameter(name="FILE")],
    /,
    *,
    tenant: Tenant = "default",
    user: Annotated[str | None, Parameter(help="Rows of this user alone.")] = None,
    since: Annotated[str | None, Parameter(help="From this day or moment on (ISO 8601; without a zone: UTC).")] = None,
    until: Annotated[str | None, Parameter(help="Before this day or moment.")] = None,
    json: Json = False,
) -> int:
    """Write rows to FILE in clear, CSV or Parquet by its name, and keep that it was done.

    What is damaged is named and left empty, a row that cannot be shown is named and left out, and the rest is written;
    it exits with 1 then.

    Parameters
    ----------
    file
        Ends with .csv or .parquet, and is not there yet.
    """
    from dataclasses import asdict

    from cli.connected import known_tenant
    from cli.console import print_json, print_line
    from records.audit_exports import AuditExports

    async with _opened() as records:
        known_tenant(records.settings, tenant)
        exports = AuditExports(records.engine, records.audit)
        moments = {"since": _moment("since", since), "until": _moment("until", until)}
        written = await exports.write(file, tenant, user=user, **moments)
    if written is None:
        print_json({"rows": 0}) if json else print_line("There are no such rows; nothing was written.")
        return 0
    done, count, damaged = written
    if json:
        print_json({"rows": count, "damaged": damaged, **(asdict(done) if done else {})})
        return BROKEN if damaged else 0
    for line in damaged:
        print_line(line, error=True)
    if done is None:
        print_line("None of these rows can be shown; nothing was written.")
    else:
        print_line(f"{file}: {count} rows, positions {done.first} to {done.last}, SHA-256 {done.digest}.")
    return BROKEN if damaged else 0


@app.command
async def accept(
    *,
    tenant: Tenant = "default",
    yes: Annotated[bool, Parameter(negative="", help="Do it; without it is only shown what would be.")] = False,
    json: Json = False,
) -> None:
    """Sign where a tenant's rows begin, once you know why those before them are gone.

    The retention signs what it removes, where that was whole. What an older Parley's removed is not signed, and nothing
    but your word tells it from rows that somebody else took away.
    """
    from cli.connected import known_tenant
    from cli.console import print_json, print_line
    from records.audit_tails import sign_tail
    from records.signing import Signer

    async with _opened() as records:
        known_tenant(records.settings, tenant)
        signer = Signer.open(records.settings)
        tail = await sign_tail(records.engine, signer, tenant, sign=yes)
    if json:
        print_json({"tenant": tenant, "removed": tail.position if tail else None, "signed": yes and tail is not None})
    elif tail is None:
        print_line(f"{tenant}: nothing is to be signed.")
    else:
        since = f"{tail.timestamp:%Y-%m-%d %H:%M}Z"
        done = f"Signed with {signer.id}." if yes else "Nothing was signed: add --yes."
        print_line(f"{tenant}: the rows up to position {tail.position} are gone, it says since {since}. {done}")


@app.command
async def forget(
    user: Annotated[str, Parameter(name="USER")],
    /,
    *,
    tenant: Tenant = "default",
    yes: Annotated[bool, Parameter(negative="", help="Do it; without it is only shown what would be.")] = False,
    json: Json = False,
) -> None:
    """Destroy a user's data keys: what they and we said opens nowhere any more. Rows and histories stay verifiable.

    Their running conversations are ended, because nothing can be added to what cannot be read. Processes that run may
    remember a key for encryption.cache_seconds.

    Parameters
    ----------
    user
        As messages name them.
    """
    from dataclasses import asdict

    from cli.connected import known_tenant, known_user
    from cli.console import print_json
    from cli.forgetting import end_conversations, told, would_be
    from dialogue.faults import SettingsFault
    from knowledge_base.terms import terms
    from records.audit_exports import AuditExports
    from records.audit_words import AuditWords
    from records.forgetting import forget_user

    async with _opened() as records:
        known_tenant(records.settings, tenant)
        known_user(user)
        if records.protection is None:
            raise SettingsFault(
                "encryption.provider: is none: the texts of this site stand in clear, and no key's end reaches them. "
                "Name a provider; what is written from then on can be forgotten.",
                field="encryption.provider",
            )
        keys, exports = records.protection.keys, AuditExports(records.engine, records.audit)
        if not yes:
            await would_be(records.engine, keys, exports, tenant, user, json=json)
            return
        ended, not_ended = await end_conversations(
            records.settings, records.protection, await keys.workflows_of(tenant, user)
        )
        words = AuditWords(records.engine, terms, keys)
        done = await forget_user(records.engine, keys, words, exports, tenant, user)
    if json:
        print_json({**asdict(done), "ended": ended, "not_ended": not_ended})
    else:
        told(user, done, ended, not_ended)


@receipt.command(name="verify")
def verify_receipt(
    file: Annotated[Path, Parameter(name="FILE")],
    /,
    *,
    key: Annotated[Path | None, Parameter(help="The site's public key (PEM); else that of this installation.")] = None,
    question: Annotated[str | None, Parameter(help="Hold this question against it, exactly as it was sent.")] = None,
    attached: Annotated[
        tuple[Path, ...],
        Parameter(
            name="--file", negative="", help="A file that came with the question, under its name; in their order."
        ),
    ] = (),
    answer: Annotated[str | None, Parameter(help="Hold this answer against it; else the one in FILE.")] = None,
    json: Json = False,
) -> None:
    """Hold a receipt against the site's public key. Needs no server and no database.

    Parameters
    ----------
    file
        A receipt, or a reply that carries one, as JSON.
    """
    from cli.console import print_json, print_line
    from dialogue.faults import InvalidRequest
    from records.signing import check_receipt

    if attached and question is None:
        raise InvalidRequest("file: a file came with a question. Give that too, with --question.", field="file")
    found, said = _receipt_in(file)
    answered, files = said if answer is None else answer, [_attached(path) for path in attached]
    check_receipt(found, _public_keys(key), question=question, files=files, answer=answered)
    if json:
        print_json(found.model_dump(mode="json"))
        return
    held = [name for name, text in (("question", question), ("answer", answered)) if text is not None]
    given = f"; {' and '.join(held)} as given" if held else ""
    print_line(
        f"It holds: turn {found.turn} of {found.conversation}, tenant {found.tenant}, audit row {found.audit_id}, "
        f"signed with {found.key}{given}."
    )


@receipt.command(name="key")
def public_key() -> None:
    """Print the public key of this site, for those who check its receipts."""
    from cli.console import print_line
    from records.signing import Signer
    from settings.load import load

    print_line(Signer.open(load()).public_pem().strip())


def _public_keys(key: Path | None) -> Verifier:
    from dialogue.faults import ReceiptInvalid
    from records.signing import Signer, Verifier
    from settings.load import load

    if key is None:
        return Signer.open(load())
    try:
        return Verifier.of_pem(key.read_bytes(), str(key))
    except OSError as error:
        raise ReceiptInvalid(f"key: {key} cannot be read ({error.strerror}). Name the file with the key.") from None


def _receipt_in(file: Path) -> tuple[Receipt, str | None]:
    """With the answer that stands beside it. Raises ReceiptInvalid."""
    import json

    from pydantic import ValidationError

    from dialogue.faults import ReceiptInvalid
    from dialogue.receipt import Receipt

    try:
        given = json.loads(file.read_text("utf-8"))
        if isinstance(given, dict) and "parley" in given:  # an OpenAI completion
            given = given["parley"]
        beside = given["receipt"] if isinstance(given, dict) and "receipt" in given else given
        answer = given.get("answer") if beside is not given else None
        if isinstance(beside, str):  # gRPC-Web's is the text that was signed over
            beside = json.loads(beside)
        return Receipt.model_validate(beside), answer if isinstance(answer, str) else None
    except OSError as error:
        why = error.strerror or "it cannot be read"
    except (ValueError, ValidationError):
        why = "it is no receipt, nor a reply with one"
    raise ReceiptInvalid(f"{file}: {why}. Give the JSON of a reply as the gateway sent it.")


def _attached(path: Path) -> TextFile:
    """As a message brings it. Raises InvalidRequest."""
    from pydantic import ValidationError

    from dialogue.faults import InvalidRequest
    from dialogue.messages import TextFile

    try:
        return TextFile(name=path.name, text=path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        why = error.strerror or "it cannot be read"
    except (UnicodeDecodeError, ValidationError):
        why = "it is no text that a message can bring"
    raise InvalidRequest(f"file: {path}: {why}.", field="file")


def _moment(field: str, given: str | None) -> datetime | None:
    """Raises InvalidRequest."""
    from datetime import UTC, datetime

    from dialogue.faults import InvalidRequest

    if given is None:
        return None
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        raise InvalidRequest(
            f"{field}: {given[:40]!r} is no moment. Write it as 2026-11-30 or 2026-11-30T14:00.", field=field
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
