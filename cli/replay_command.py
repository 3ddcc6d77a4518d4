"""``parley replay``: incident review. Each command is in a file of its own, imported when it is called."""

from __future__ import annotations

from cyclopts import App

__all__ = ["app"]

_CODES = "Ends with 0 where all is as recorded, 3 where something differs, 4 where something could not be checked."
_WHAT = (
    ("find", "cli.replay_find:find", "Find turns in the audit: from a complaint to the turn."),
    (
        "show",
        "cli.replay_show:show",
        "Show a conversation, or one turn with all that is recorded.\n\nEnds with 4 where the history is not whole: what "
        "can be shown is shown, and standard error says what is missing.",
    ),
    (
        "verify",
        "cli.replay_verify:verify",
        "Prove a recording: same commands, same tokens.\n\nhistory-exact: the workflow code makes the recorded commands, "
        "with the recorded arguments. token-exact: the recorded weights, prompt, seed and sampling give the recorded "
        f"token ids. statistical: how often the recorded verdict comes up. {_CODES}",
    ),
    ("diff", "cli.replay_diff:diff", "Compare two turns step by step.\n\nEnds with 3 where they differ."),
    (
        "whatif",
        "cli.replay_whatif:whatif",
        "Run a turn again with something changed, and compare.\n\nNothing is written: no audit row, no stream, no "
        "webhook. Steps that the change does not reach give what was recorded. Ends with 3 where something comes out "
        "otherwise.",
    ),
    ("scan", "cli.replay_scan:scan", f"Verify many histories at once.\n\n{_CODES}"),
    (
        "to-test",
        "cli.replay_to_test:to_test",
        "Write a regression test from a turn.\n\nIts fixture holds the run's texts in clear: keep it where the "
        "conversation itself may lie.",
    ),
    (
        "fork",
        "cli.replay_fork:fork",
        "Set a conversation back to before a turn.\n\nThe turns from that one on stay in the audit and their numbers are "
        "not given again; the conversation no longer knows of them. Who did it and why stands in the history.",
    ),
)

app = App(name="replay", help="Review an incident: find, show, verify, compare and rerun recorded turns.")
for _name, _where, _help in _WHAT:
    app.command(_where, name=_name, help=_help)
