"""What the replay commands have in common: which conversation is meant, and what is said of its problems."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from dialogue.faults import ParleyFault, RecordsUnavailable
    from records.archive import RunArchive
    from replay.bundle import Bundle
    from replay.chain import Chain, RecordedRun
    from replay.turns import Story, Turn
    from settings.schema import Settings

__all__ = [
    "DIFFERS",
    "UNCHECKED",
    "BundleFile",
    "Files",
    "Run",
    "SignerKey",
    "TurnNumber",
    "archive_of",
    "bundle_of",
    "chain_of",
    "recorded_turn",
    "tell_faults",
    "tell_problems",
]

DIFFERS, UNCHECKED = 3, 4
"""Exit codes: what was compared is not the same; something could not be compared, or only in part."""

Files = Annotated[
    tuple[Path, ...],
    Parameter(
        name="--file",
        negative="",
        help="A history exported by the Web UI or `temporal workflow show --output json`; once for each run.",
    ),
]
BundleFile = Annotated[
    Path | None,
    Parameter(name="--bundle", help="A bundle of `parley replay export`, in place of the server and the records."),
]
SignerKey = Annotated[
    Path | None, Parameter(name="--key", help="With --bundle: a public key (PEM) that must have signed it.")
]
Run = Annotated[
    str | None, Parameter(name="--run", help="This run alone; else the conversation's whole chain of runs.")
]
TurnNumber = Annotated[int | None, Parameter(name="--turn", help="The turn's number.")]


async def chain_of(settings: Settings, conversation: str | None, run: str | None, files: Sequence[Path]) -> Chain:
    """Of the server, or of the files where some are given; with ``run`` that one alone. Raises InvalidRequest and
    HistoryFault."""
    from dialogue.faults import InvalidRequest
    from replay.histories import from_files, history_files
    from replay.site import site_converter

    if not files:
        if conversation is None:
            raise InvalidRequest("conversation: name one, or give its exported history with --file.")
        return await _kept_chain(settings, conversation, run)
    paths = history_files(files)
    with _reading(len(paths)) as told:
        converter, namespace = site_converter(settings), settings.temporal.namespace
        chains = await from_files(paths, converter, namespace=namespace, told=told)
    named = [chain for chain in chains if conversation in (None, chain.workflow_id)]
    if len(named) != 1:
        held = ", ".join(chain.workflow_id for chain in chains[:5])
        raise InvalidRequest(f"conversation: the files hold {held}. Name one of them.", field="conversation")
    return named[0].only(run) if run else named[0]


async def _kept_chain(settings: Settings, conversation: str, run: str | None) -> Chain:
    """Of the server and the archive; where the server is away, of the archive alone."""
    from dataclasses import replace

    from dialogue.faults import NoSuchHistory
    from records.connection import connect
    from records.protected import protection_of
    from replay.histories import archived, live
    from replay.site import site_converter

    async with archive_of(settings) as (archive, unasked):
        with _reading() as told:
            try:
                client = await connect(settings.temporal, protection=protection_of(settings))
            except ConnectionError as error:
                if archive is None:
                    raise
                converter, namespace = site_converter(settings), settings.temporal.namespace
                chain = await archived(archive, conversation, run, converter, namespace, told=told)
                if not chain.runs:
                    raise
                return replace(chain, unasked=(NoSuchHistory(f"{error} Shown is what the archive has."),))
            chain = await live(client, conversation, run, archive=archive, told=told)
            return replace(chain, unasked=(*unasked, *chain.unasked))


@contextmanager
def _reading(of: int = 0) -> Iterator[Callable[[RecordedRun], None]]:
    """A bar while runs are read, ``of`` so many where that is known."""
    from cli.progress import share_bar

    with share_bar() as tell:
        runs, events = 0, 0

        def told(run: RecordedRun) -> None:
            nonlocal runs, events
            runs, events = runs + 1, events + len(run.events)
            tell(f"reading · {runs} runs · {events} events", runs / of if of else 0.0)

        yield told


def bundle_of(path: Path, key: Path | None, conversation: str | None, files: Sequence[Path]) -> Bundle:
    """Raises BundleBroken, and InvalidRequest for a file that cannot be opened or is of another conversation."""
    from dialogue.faults import InvalidRequest
    from records.signing import Verifier
    from replay.bundle import read_bundle

    if files:
        raise InvalidRequest("bundle: give either --bundle or --file, and not both.", field="bundle")
    keys = None
    if key is not None:
        try:
            keys = Verifier.of_pem(key.read_bytes(), str(key))
        except OSError as error:
            raise InvalidRequest(f"key: {key} cannot be opened ({error.strerror}).", field="key") from None
    bundle = read_bundle(path, keys)
    if conversation not in (None, bundle.manifest.conversation):
        raise InvalidRequest(
            f"conversation: {path} holds {bundle.manifest.conversation} and not {conversation}.", field="conversation"
        )
    return bundle


@asynccontextmanager
async def archive_of(settings: Settings) -> AsyncIterator[tuple[RunArchive | None, tuple[RecordsUnavailable, ...]]]:
    """``None``, and why, where the records are not there: what the server has is shown all the same."""
    from dialogue.faults import RecordsUnavailable
    from records.archive import RunArchive
    from replay.evidence import evidence

    async with AsyncExitStack() as stack:
        try:
            held = await stack.enter_async_context(evidence(settings))
        except RecordsUnavailable as fault:
            yield None, (fault,)
            return
        yield RunArchive(held.database, held.contents), ()


def tell_problems(chain: Chain, story: Story | None = None) -> int:
    """What is wrong with it, and with what its ``story`` tells, as :func:`tell_faults` does."""
    from replay.story import tell

    return _tell((story or tell(chain)).problems)


def tell_faults(faults: Sequence[ParleyFault]) -> int:
    """On standard error, a line each. The exit code for what is shown in spite of them."""
    return _tell([fault.message for fault in faults])


def _tell(lines: Sequence[str]) -> int:
    from cli.console import print_line

    for line in lines:
        print_line(line, error=True)
    return UNCHECKED if lines else 0


async def recorded_turn(
    settings: Settings, conversation: str | None, run: str | None, files: Sequence[Path], turn: int | None
) -> tuple[Turn, int]:
    """The turn, and the exit code for what is wrong with its history, which is told. Raises InvalidRequest and
    HistoryFault."""
    from replay.story import tell, turn_of

    chain = await chain_of(settings, conversation, run, files)
    story = tell(chain)
    code = tell_problems(chain, story)
    return turn_of(story, turn), code
