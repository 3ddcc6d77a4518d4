"""``parley replay``: incident review. Each command is in a file of its own, imported when it is called."""

from __future__ import annotations

from cyclopts import App

__all__ = ["app"]

app = App(
    name="replay",
    help="Review an incident: find, show, verify, compare and rerun recorded turns.\n\n"
    "Exit codes: 0 as recorded · 3 something differs · 4 something could not be checked · 2 the request cannot be "
    "used · 1 it failed.",
)
app.command("cli.replay_find:find", name="find", help="Find turns in the audit.")
app.command("cli.replay_show:show", name="show", help="Show a conversation, or one turn with all that is recorded.")
app.command("cli.replay_verify:verify", name="verify", help="Prove a recording: same commands, same tokens.")
app.command("cli.replay_diff:diff", name="diff", help="Compare two turns step by step.")
app.command("cli.replay_whatif:whatif", name="whatif", help="Run a turn again with something changed.")
app.command("cli.replay_scan:scan", name="scan", help="Verify many histories at once.")
app.command("cli.replay_to_test:to_test", name="to-test", help="Write a regression test from a turn.")
app.command("cli.replay_fork:fork", name="fork", help="Set a conversation back to before a turn.")
