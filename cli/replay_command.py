"""``parley replay``: incident review. Each command is in a file of its own, imported when it is called."""

from __future__ import annotations

from cyclopts import App

__all__ = ["app"]

_CODES = "Ends with 0 where all is as recorded, 3 where something differs, 4 where something could not be checked."
_FIND = "Find turns in the audit: from a complaint to the turn."
_PART = "with 4 where a history is not whole: standard error says what is missing or cannot be read."
_SHOW = f"""Show a conversation, or one turn with all that is recorded.

What can be shown is shown; ends {_PART}"""
_VERIFY = f"""Prove a recording: same commands, same tokens.

history-exact: the workflow code makes the recorded commands, with the recorded arguments. token-exact: the recorded
weights, prompt, seed and sampling give the recorded token ids. statistical: how often the recorded verdict comes up.
{_CODES}"""
_DIFF = f"""Compare two turns step by step, or a recorded one with itself run again.

Ends with 3 where they differ, {_PART}"""
_WHATIF = f"""Run a turn again with something changed, and compare.

Nothing is written: no audit row, no stream, no webhook. Steps that the change does not reach give what was recorded.
Ends with 3 where something comes out otherwise, {_PART}"""
_WHY = f"""Find what of a turn made its fault.

Passages, messages of the history and settings are taken away by delta debugging (ddmin), until the least is left
without which the fault goes. Ends with 4 where it stays whatever is taken away, and {_PART}"""
_AFFECTED = """List the answers that a faulty document, model or rule touched.

By the people concerned. Ends with 3 where one comes out otherwise today (--ask-again), with 4 where one could not be
checked."""
_SCAN = f"""Verify many histories at once.

Each run by itself: whether other runs of its conversation are missing, `show` and `verify` say. {_CODES}"""
_EXPORT = """Write an incident into one signed file.

It holds the histories of the whole chain, audit rows, prompts, try records, policies, stream and settings, in clear.
`show` and `verify` open it anywhere with --bundle. Ends with 4 where the site could not give all that belongs to it."""
_TO_TEST = """Write a regression test from a turn.

Its fixture holds the run's texts in clear: keep it where the conversation itself may lie."""
_FORK = """Set a conversation back to before a turn.

The turns from that one on stay in the audit and their numbers are not given again; the conversation no longer knows of
them. Who did it and why stands in the history."""

app = App(name="replay", help="Review an incident: find, show, verify, compare and rerun recorded turns.")
app.command("cli.replay_find:find", name="find", help=_FIND)
app.command("cli.replay_show:show", name="show", help=_SHOW)
app.command("cli.replay_verify:verify", name="verify", help=_VERIFY)
app.command("cli.replay_diff:diff", name="diff", help=_DIFF)
app.command("cli.replay_whatif:whatif", name="whatif", help=_WHATIF)
app.command("cli.replay_why:why", name="why", help=_WHY)
app.command("cli.replay_affected:affected", name="affected", help=_AFFECTED)
app.command("cli.replay_scan:scan", name="scan", help=_SCAN)
app.command("cli.replay_export:export", name="export", help=_EXPORT)
app.command("cli.replay_to_test:to_test", name="to-test", help=_TO_TEST)
app.command("cli.replay_fork:fork", name="fork", help=_FORK)
