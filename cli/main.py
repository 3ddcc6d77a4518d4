"""The entry point of ``parley``: finds the command, and turns what goes wrong into a line and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

from cyclopts import App, CycloptsError, Group, Parameter

from cli.ending import FAILED, INTERRUPTED, code_of, end, line_of

__all__ = ["COMMANDS", "app", "main", "run"]

COMMANDS: tuple[tuple[str, str, str, str], ...] = (
    ("Run", "up", "cli.up_command:up", "Start everything on this machine and keep it running."),
    ("Run", "demo", "cli.demo_command:demo", "Start everything and hold a conversation of three turns."),
    ("Run", "worker", "cli.worker_command:worker", "Serve one worker pool."),
    ("Run", "gateway", "cli.gateway_command:gateway", "Serve the gateway."),
    ("Run", "codec", "cli.codec_command:codec", "Serve the codec server of the Temporal Web UI and CLI."),
    ("Run", "prepare", "cli.prepare_command:prepare", "Prepare the models and the knowledge base, once."),
    ("Talk", "chat", "cli.chat_command:chat", "Talk in a conversation."),
    ("Talk", "ask", "cli.ask_command:ask", "Ask one question."),
    ("Talk", "transcript", "cli.transcript_command:transcript", "Show the turns of a conversation."),
    ("Talk", "cancel", "cli.cancel_command:cancel", "Cancel the turn that is being answered."),
    ("Talk", "feedback", "cli.feedback_command:feedback", "Say what you thought of an answer."),
    ("Look after", "reviews", "cli.reviews_command:app", "Decide on turns that wait for a person."),
    ("Look after", "replay", "cli.replay_command:app", "Review an incident: find, show, verify, compare, rerun."),
    ("Look after", "kb", "cli.kb_command:app", "Add, list, search and remove documents."),
    ("Look after", "model", "cli.model_command:app", "Bring in, build, promote and roll back models."),
    ("Look after", "intents", "cli.intents_command:app", "Check an intents file."),
    (
        "Look after",
        "audit",
        "cli.audit_command:app",
        "Prove the audit whole, export it, forget users.",
    ),
    ("Look after", "keys", "cli.keys_command:app", "Make, list and revoke API keys; sign caller tokens; rotate."),
    ("Look after", "config", "cli.config_command:app", "Check, show and describe temporal.yaml."),
    ("Look after", "tls", "cli.tls_command:app", "Make certificates to try TLS out."),
    ("Look after", "doctor", "cli.doctor_command:app", "Check this installation: each line ok, or what to do."),
    ("Look after", "version", "cli.version_command:version", "Show the versions of Parley and what it stands on."),
)
"""Heading, name, where it is, what it does. A command's module is imported when it is called, not before."""

app = App(
    name="parley",
    help="Durable conversations with a model of your own.",
    result_action="return_value",
    version_flags=[],
)
_HEADINGS = {
    heading: Group(heading, sort_key=place) for place, heading in enumerate(dict.fromkeys(c[0] for c in COMMANDS))
}
for _heading, _name, _where, _help in COMMANDS:
    app.command(_where, name=_name, help=_help, group=_HEADINGS[_heading])


@app.meta.default
def _launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    config: Annotated[Path | None, Parameter(help="The settings; else PARLEY_CONFIG, else ./temporal.yaml.")] = None,
) -> object:
    if config is not None:
        # commands and the processes they start read it from here
        os.environ["PARLEY_CONFIG"] = str(config.absolute())
    return app(tokens, exit_on_error=False, print_error=False)


def run(arguments: Sequence[str]) -> int:
    """Runs one command and gives its exit code; faults are told on standard error."""
    try:
        result = app.meta(list(arguments), exit_on_error=False, print_error=False, result_action="return_value")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else FAILED if ended.code else 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `parley … | head`: the reader has seen enough
        return FAILED
    except Exception as error:
        _tell(error)
        return code_of(error)
    return result if isinstance(result, int) else 0


def _tell(error: Exception) -> None:
    line = line_of(error)
    if line is None:
        traceback.print_exception(error)
        return
    print(line, file=sys.stderr)
    if isinstance(error, CycloptsError):
        command = " ".join(error.command_chain or ())
        print(f"See `{' '.join(filter(None, ('parley', command)))} --help`.", file=sys.stderr)


def main() -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        # answers hold any character; a terminal that cannot show one shows a question mark
        stream.reconfigure(errors="replace")  # pyright: ignore[reportAttributeAccessIssue]
    end(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
