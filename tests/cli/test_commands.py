"""The command line: help everywhere, clear errors, exit codes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cli.main import COMMANDS, app, run
from dialogue.faults import UnknownConversation, unknown_conversation
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
ALL = [name for _, name, _, _ in COMMANDS]
BELOW = ["kb add", "kb list", "kb search", "kb remove", "reviews list", "reviews show", "reviews resolve"]
BELOW += ["model build", "model pull", "model list", "model show", "model verify", "model promote"]
BELOW += ["model rollback", "model gc"]
BELOW += ["keys create", "keys list", "keys revoke", "keys token"]
BELOW += [f"replay {name}" for name in ("find", "show", "verify", "diff", "whatif", "scan", "to-test", "fork")]
BELOW += ["intents check", "config check", "config show", "config schema"]


@pytest.fixture
def settings_file(tmp_path, monkeypatch):
    """A temporal.yaml of its own, with a data folder of its own and an address at which nothing answers."""
    file = tmp_path / "temporal.yaml"
    file.write_text(
        f"temporal: {{address: '127.0.0.1:{free_port()}'}}\n"
        f"gateway: {{port: {free_port()}}}\n"
        f"intents: {{file: {ROOT / 'examples/help/intents.yaml'}}}\n"
    )
    monkeypatch.setenv("PARLEY_CONFIG", str(file))
    return file


def parley(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        **options,
    )


@pytest.mark.parametrize("command", ["", *ALL, *BELOW])
def test_every_command_explains_itself(command, capsys):
    """--help prints the usage and ends with 0."""
    assert run([*command.split(), "--help"]) == 0
    assert f"Usage: parley {command}".strip() in capsys.readouterr().out


def test_help_imports_no_command_and_nothing_heavy():
    """The list of commands is shown without loading any of them, so that it is there at once."""
    code = """
import sys
from cli.main import run
assert run(["--help"]) == 0
heavy = {"temporalio", "torch", "pydantic", "starlette", "structlog", "sqlalchemy", "faiss"} & set(sys.modules)
commands = [name for name in sys.modules if name.startswith("cli.") and name.endswith("_command")]
assert not heavy and not commands, (heavy, commands)
"""
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    for name in ALL:
        assert name in ended.stdout


def test_each_command_is_where_the_table_says():
    """No name without a module behind it."""
    for name in ALL:
        assert app[name] is not None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nope"], 'Unknown command "nope"'),
        (["kb", "lst"], 'Did you mean "list"?'),
        (["ask"], "QUESTION requires an argument"),
        (["transcript", "conv-1", "--tennant", "a"], "--tennant"),
        (["reviews", "resolve", "conv-1", "1", "--by", "me"], "exactly one of --approve, --edit TEXT and --reject"),
        (["reviews", "resolve", "conv-1", "0", "--by", "me", "--reject"], "turn: "),
        (["feedback", "conv-1", "1", "--score", "7"], "score: "),
        (["feedback", "conv-1", "1", "--score", "many"], "--score"),
        (["ask", "hi", "--tenant", "nobody"], "there is no tenant 'nobody' in"),
        (["ask", "hi", "--user", "two words"], "user: "),
        (["worker", "nope"], "there is no pool 'nope'; there are dialogue, gpu"),
        (["kb", "add"], "paths: name at least one"),
        (["kb", "add", "/no/such/file.md"], "/no/such/file.md: no such file"),
        (["--config", "/no/such/temporal.yaml", "ask", "hi"], "/no/such/temporal.yaml"),
        (["intents", "check", "/no/such/intents.yaml"], "/no/such/intents.yaml: no such file"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(arguments, said, settings_file, capsys):
    """What is wrong is named; no traceback, nothing on standard output."""
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert said in err
    assert "Traceback" not in err
    assert out == ""
    told = [line for line in err.splitlines() if not line.startswith("See `parley")]
    assert len(told) == 1


def test_without_a_server_the_line_says_how_to_get_one(settings_file, capsys):
    """Exit code 1: nothing is wrong with the question."""
    assert run(["ask", "hi"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("temporal.address: no Temporal server answers at 127.0.0.1:")
    assert "parley up" in err
    assert len(err.splitlines()) == 1


def test_a_fault_is_told_in_its_own_words(settings_file, capsys, monkeypatch):
    """A foreign conversation gets not one word more than an unknown one."""

    async def refuse(settings: object, **_: object) -> None:
        raise unknown_conversation("conv-1")

    monkeypatch.setattr("cli.connected.conversations", refuse)
    assert run(["transcript", "conv-1"]) == 2
    assert capsys.readouterr().err == "conversation conv-1 belongs to no tenant you may read.\n"
    assert issubclass(UnknownConversation, Exception)


def test_config_is_read_from_the_file_named(settings_file, tmp_path, monkeypatch, capsys):
    """--config stands anywhere on the line and wins over PARLEY_CONFIG."""
    other = tmp_path / "other.yaml"
    other.write_text("tenants: {acme: {}}\n")
    assert run(["ask", "hi", "--config", str(other), "--tenant", "nobody"]) == 2
    assert "there are acme" in capsys.readouterr().err
    assert os.environ["PARLEY_CONFIG"] == str(other)
    monkeypatch.setenv("PARLEY_CONFIG", str(settings_file))


def test_versions_are_listed_as_text_and_as_json(capsys):
    """What a bug report needs."""
    assert run(["version"]) == 0
    assert "temporalio" in capsys.readouterr().out
    assert run(["version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["python"].startswith("3.11")


def test_intents_check_counts_sentences(settings_file, capsys):
    """Without a file it checks the configured one; --json holds the same counts."""
    assert run(["intents", "check"]) == 0
    assert "everything is right" in capsys.readouterr().out
    assert run(["intents", "check", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["intents"]["return_item"]["zh"] >= 5


def test_the_process_ends_with_the_code_and_all_output(settings_file):
    """Through the real entry point, which leaves the interpreter without taking it down."""
    ended = parley("version", "--json")
    assert ended.returncode == 0
    assert json.loads(ended.stdout)["parley"]
    ended = parley("kb", "add", "/no/such/file")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("paths: /no/such/file: no such file")


def test_ctrl_c_ends_quietly_with_130():
    """No traceback, whatever the command was doing."""
    code = """
import signal, sys, time
from cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests that run in the background inherit it ignored
def wait():
    print("waiting", flush=True)
    while True:  # one call that waits would miss a signal that comes just before it
        time.sleep(0.05)
main.app.command(wait)
sys.argv = ["parley", "wait"]
main.main()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "waiting\n"
        child.send_signal(signal.SIGINT)
        try:
            out, err = child.communicate(timeout=20)
        finally:
            child.kill()
    assert (child.returncode, out, err) == (130, "", "")


@pytest.mark.parametrize("setting", ["gateway.port", "temporal.address", "temporal.dev_server.ui_port"])
def test_up_names_the_process_that_has_a_port(setting, settings_file, tmp_path, monkeypatch, capsys):
    """Before anything is started: which port, who has it, which setting moves it."""
    holder = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=tmp_path,
    )
    try:
        assert holder.stdout is not None
        port = holder.stdout.readline().split("port ")[1].split()[0]
        value = f"127.0.0.1:{port}" if setting == "temporal.address" else port
        monkeypatch.setenv(f"PARLEY_{setting.upper().replace('.', '__')}", value)
        if setting != "temporal.dev_server.ui_port":
            monkeypatch.setenv("PARLEY_TEMPORAL__DEV_SERVER__UI_PORT", str(free_port()))
        assert run(["up"]) == 2
    finally:
        holder.kill()
        holder.communicate()
    err = capsys.readouterr().err
    assert err.startswith(f"port {port} is taken by pid {holder.pid} (")
    assert "http.server" in err
    assert err.endswith(f"Stop it or set {setting}.\n")
    assert not (tmp_path / "var/logs").exists()


def test_a_second_up_says_that_one_runs_already(settings_file, tmp_path, capsys):
    """With its addresses, and the first goes on."""
    from cli.running import Running, only_one, running

    state = Running(os.getpid(), "http://127.0.0.1:1", "127.0.0.1:2", "http://127.0.0.1:3", {})
    with only_one(tmp_path / "var/run") as place:
        place.publish(state)
        assert run(["up"]) == 1
        assert running(tmp_path / "var/run") == state
    err = capsys.readouterr().err
    assert err.startswith(f"parley up runs already (pid {os.getpid()}): http://127.0.0.1:1, Web UI")
