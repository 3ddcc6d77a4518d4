"""Each mistake is one line: where, what, the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from dialogue.faults import SettingsFault
from settings.load import load
from tests.settings.conftest import Lines, Load

BAD = [
    # keys
    ("generation:\n  laddder: {}", ":2: generation.laddder: no such setting. Did you mean generation.ladder?"),
    ("log:\n  level: info\ngatewey: {}", ":3: gatewey: no such setting. Did you mean gateway?"),
    ("port: 8088", ":1: port: no such setting. Did you mean gateway.port?"),
    ("log: {zzz: 1}", ":1: log.zzz: no such setting. There are: level, format"),
    (
        "records:\n  retention: {archive: 30, payloads: 7}",
        (
            ":2: records.retention.payloads: must be at least as long as archive, which is 30 days: "
            "a history is not readable without its payloads"
        ),
    ),
    (
        "records:\n  retention: {audit: 90}",
        (
            ":2: records.retention.audit: must be at least as long as archive, which is for good: "
            "models and snapshots are kept for what the rows name, and a rerun needs try records"
        ),
    ),
    ("records:\n  token_log_days: 3", ":2: records.token_log_days: was renamed. It is now records.retention.token_log"),
    (
        "generation:\n  ladder:\n    empty:\n      - temprature: 1",
        (
            ":4: generation.ladder.empty[0].temprature: no such setting. "
            "Did you mean generation.ladder.empty[0].temperature?"
        ),
    ),
    (
        "generation:\n  ladder:\n    emptty: []",
        ":3: generation.ladder.emptty: no such setting. Did you mean generation.ladder.empty?",
    ),
    (
        "steps:\n  generate_answer:\n    retry:\n      initial_intervall: 1",
        (
            ":4: steps.generate_answer.retry.initial_intervall: no such setting. "
            "Did you mean steps.generate_answer.retry.initial_interval?"
        ),
    ),
    ("steps: {generate: {}}", ":1: steps.generate: no such setting. Did you mean steps.generate_answer?"),
    ("gateway:\n  1: x", ":2: gateway.1: 1 is no name. Write it in quotes"),
    (
        "tenants:\n  'two words': {}",
        ":2: tenants.two words: 'two words' is no name. Use letters, digits and . _ : @ + - only",
    ),
    ("gateway:\n  port: 1\n  host: x\n  port: 2", ":4: gateway.port: given twice, first on line 2. Keep one"),
    ("log: {level: info, level: debug}", ":1: log.level: given twice, first on line 1. Keep one"),
    # types and values
    ("gateway:\n  port: eighty", ":2: gateway.port: must be a whole number, but is 'eighty'"),
    ("gateway:\n  port: 70000", ":2: gateway.port: must be at most 65535, but is 70000"),
    ("gateway:\n  port: true", ":2: gateway.port: must be a number, but is true"),
    ("gateway:\n  port:", ":2: gateway.port: is empty. Give it a value, or take the line away"),
    ("gateway:", ":1: gateway: is empty. Give it a setting, or take the line away"),
    ("gateway: 8088", ":1: gateway: must be a mapping, one `name: value` a line, but is 8088"),
    ("model:\n  rows: 1.5", ":2: model.rows: must be a whole number, but is 1.5"),
    ("model:\n  name: 7", ":2: model.name: must be text (write it in quotes), but is 7"),
    ("model:\n  languages: [en, no]", ":2: model.languages[1]: must be text (write it in quotes), but is false"),
    ("model:\n  languages: en", ":2: model.languages: must be a list, but is 'en'"),
    ("model:\n  widths:\n    - 64\n    - wide", ":4: model.widths[1]: must be a whole number, but is 'wide'"),
    ("model:\n  widths: [64, 32]", ":2: model.widths: must be ascending numbers of at least 16"),
    ("model:\n  device: gpu", ":2: model.device: must be cpu, cuda or cuda:N, but is 'gpu'"),
    ("model:\n  engine: openai", ":2: model.engine: openai needs base_url, the server's address; give it beside this"),
    (
        "models:\n  big:\n    engine: openai",
        ":3: models.big.engine: openai needs base_url, the server's address; give it beside this",
    ),
    (
        "model:\n  base_url: http://gpu:8000",
        ":2: model.base_url: is for engine: openai, and engine is transformers; take one of them away",
    ),
    (
        "model:\n  engine: openai\n  base_url: gpu:8000",
        (
            ":3: model.base_url: must be http://host:port or https://host:port, without a name or password, "
            "but is 'gpu:8000'"
        ),
    ),
    (
        "model:\n  engine: openai\n  base_url: http://gpu\n  api_key_env: A KEY",
        ":4: model.api_key_env: must be the name of an environment variable, but is 'A KEY'",
    ),
    (
        "model:\n  engine: openai\n  base_url: http://gpu\n  api_key_env: KEY\n  api_key_file: key",
        ":5: model.api_key_file: is given beside api_key_env; give one of them",
    ),
    ("model:\n  engine: sglang", ":2: model.engine: must be one of transformers, vllm, openai, but is 'sglang'"),
    (
        "model:\n  engine: vllm\n  quantization: int4",
        (
            ":3: model.quantization: vLLM reads no int4 of ours; take bf16, or checkpoint for a folder as it was "
            "published, quantized (GPTQ, AWQ, FP8) or not"
        ),
    ),
    (
        "model:\n  quantization: checkpoint",
        ":2: model.quantization: checkpoint is for engine: vllm; take one of the others",
    ),
    (
        "model:\n  vllm: {tensor_parallel_size: 2}",
        ":2: model.vllm: is for engine: vllm, and engine is transformers; take one of them away",
    ),
    (
        "model:\n  quantization: int88",
        (
            ":2: model.quantization: must be one of fp32, bf16, int8, int4, gptq, awq, checkpoint, but is 'int88'. "
            "Did you mean int8?"
        ),
    ),
    (
        "tenants: {a: {stream: opn}}",
        ":1: tenants.a.stream: must be one of gated, after-review, open, but is 'opn'. Did you mean open?",
    ),
    ("knowledge:\n  threshold: .nan", ":2: knowledge.threshold: must be a finite number, but is nan"),
    ("temporal:\n  address: here", ":2: temporal.address: must be host:port, but is 'here'"),
    (
        "temporal: {dev_server: {start: perhaps}}",
        ":1: temporal.dev_server.start: must be true or false, but is 'perhaps'",
    ),
    (
        "records:\n  database: mysql://root:secret@h/x",
        ":2: records.database: must be sqlite or begin with postgresql+asyncpg://",
    ),
    (
        "records:\n  token_log: redis+tls://:secret@h",
        ":2: records.token_log: must be sqlite or begin with redis:// or rediss://",
    ),
    ("pools:\n  gpu:\n    slots: 3", ":2: pools.gpu.serves: is missing. Give it a value"),
    ("tenants:\n  1: {}", ":2: tenants.1: 1 is no name. Write it in quotes"),
    # impossible pairs
    (
        (
            "pools:\n  all:\n    serves: [workflows, receive_input, recognise_intent, retrieve_knowledge, "
            "generate_answer, review_answer]"
        ),
        ":1: pools: return_answer is served by no pool; let exactly one pool serve it",
    ),
    (
        (
            "pools:\n  a: {serves: [workflows, recognise_intent, retrieve_knowledge, review_answer, return_answer]}\n"
            "  b: {serves: [receive_input, generate_answer]}"
        ),
        ":3: pools.b.serves: receive_input must be served by the pool that serves workflows",
    ),
    (
        "tenants:\n  acme:\n    policy: strict",
        ":3: tenants.acme.policy: there is no policy 'strict' under policies",
    ),
    (
        "generation:\n  ladder:\n    empty:\n      - model: big",
        ":4: generation.ladder.empty[0].model: there is no model 'big' under models",
    ),
    (
        "generation:\n  max_new_tokens: 2048",
        ":2: generation.max_new_tokens: 2048 leaves no room for a prompt in model.widths, whose last is 1024",
    ),
    (
        "steps:\n  generate_answer:\n    heartbeat: 400",
        ":3: steps.generate_answer.heartbeat: must be shorter than start_to_close, 300",
    ),
    (
        "steps:\n  review_answer:\n    schedule_to_close: 3",
        ":3: steps.review_answer.schedule_to_close: must be at least as long as start_to_close, 15",
    ),
    (
        "steps: {return_answer: {retry: {maximum_interval: 0.01}}}",
        ":1: steps.return_answer.retry.maximum_interval: must be at least initial_interval, 0.05",
    ),
    (
        "temporal:\n  address: temporal.prod:7233",
        (
            ":2: temporal.address: temporal.prod is another machine; for a server there set "
            "temporal.dev_server.start: false"
        ),
    ),
    (
        "temporal:\n  dev_server: {start: false}\n  tls: {client_cert: a.pem}",
        ":3: temporal.tls: client_cert and client_key are given together or not at all",
    ),
    (
        "temporal:\n  tls: {}\n  dev_server: {start: false}\n  api_key_env: A\n  api_key_file: b",
        ":5: temporal.api_key_file: is given beside api_key_env; give one of them",
    ),
    (
        "temporal:\n  api_key_env: A",
        ":2: temporal.api_key_env: would be sent in clear; give temporal.tls beside it ({} is enough)",
    ),
    (
        "records:\n  token_log: redis://h\n  redis_tls: {ca: a.pem}",
        ":3: records.redis_tls: is for a token_log that begins with rediss://",
    ),
    (
        "records:\n  token_log: rediss://h\n  redis_tls: {cert: a.pem}",
        ":3: records.redis_tls: cert and key are given together or not at all",
    ),
    (
        "tenants:\n  a:\n    limits: {max_body: 2000000}",
        ":3: tenants.a.limits.max_body: must be at most gateway.max_body, 1000000",
    ),
    (
        "gateway:\n  trusted_proxies: [proxy.internal]",
        ":2: gateway.trusted_proxies[0]: must be an address or a network such as 10.0.0.0/8",
    ),
    (
        "gateway:\n  cors: [https://shop.example/page]",
        ":2: gateway.cors[0]: must be * or a scheme with a host, as in https://shop.example",
    ),
    ("gateway:\n  port: 7233", ":2: gateway.port: 7233 is also the port of temporal.address"),
    *(
        (
            f"gateway:\n  host: '{host}'",
            (
                f":2: gateway.host: other machines reach {host}, and access.mode is open; set access.mode: keys, or "
                "access.trust_network: true where you trust whoever reaches it"
            ),
        )
        for host in ("0.0.0.0", "::", "192.0.2.1", "parley.example")  # noqa: S104 nothing is bound
    ),
    (
        "access:\n  oidc: {issuer: 'https://login.example', audience: parley}",
        ":2: access.oidc: is for mode: keys, and mode is open; take one of them away",
    ),
    (
        "access:\n  mode: keys\n  oidc: {issuer: 'http://login.example', audience: parley}",
        ":3: access.oidc.issuer: must be an https:// address without a name or password",
    ),
    (
        "access:\n  mode: keys\n  oidc: {issuer: 'https://login.example', audience: parley, jwks_uri: 'https://a:b@h'}",
        ":3: access.oidc.jwks_uri: must be an https:// address without a name or password",
    ),
    (
        "encryption:\n  provider: vault",
        ":1: encryption.key: names the key of the provider vault; give it",
    ),
    (
        "encryption:\n  provider: attested\n  attested: {address: 'http://keys:8091'}",
        ":3: encryption.attested.service_key: is needed by the provider attested; give it",
    ),
    (
        "key_service:\n  enclaves:\n    codec: {product: 1}",
        ":3: key_service.enclaves.codec: must give mrenclave, mrsigner or both",
    ),
    (
        f"key_service:\n  enclaves:\n    codec: {{mrsigner: '{64 * 'a'}'}}",
        ":3: key_service.enclaves.codec: must give product too: mrsigner alone is everything of that signer",
    ),
    (
        "access:\n  mode: tokens",
        ":1: access.oidc: names the issuer of the tokens of mode: tokens; give it",
    ),
    (
        "encryption:\n  external:\n    store: local",
        ":3: encryption.external.store: stores ciphertext alone; set encryption.provider too",
    ),
    (
        "encryption:\n  provider: local\n  external:\n    store: s3",
        ":3: encryption.external.bucket: names the bucket of s3; give it",
    ),
    (
        "encryption:\n  vault:\n    address: http://vault.example",
        ":3: encryption.vault.address: must be an https:// address without a name or password",
    ),
    # YAML itself
    ("log: [1\ngateway: 2", ":2: is not YAML: while parsing a flow sequence expected ',' or ']', but got ':'"),
    (
        "a: 1\n\tb: 2",
        ":2: is not YAML: while scanning for the next token found character '\\t' that cannot start any token",
    ),
    ("- a\n- b", ":1: must hold settings, one `name: value` a line"),
    ("log: &a [*a]", ":1: refers to itself"),
]


@pytest.mark.parametrize(("text", "line"), BAD, ids=[line.split(": ")[1] for _, line in BAD])
def test_a_mistake_is_one_line_with_its_place(problems: Lines, text: str, line: str) -> None:
    """file:line, the setting, what is wrong, the way out; nothing else."""
    assert problems(text) == [f"temporal.yaml{line}"]


def test_all_mistakes_are_named_at_once_in_the_order_of_the_file(problems: Lines) -> None:
    """Unknown keys and wrong values together; variables come last."""
    found = problems("log:\n  levle: x\ngateway:\n  port: x\nmodel:\n  rows: 0\n", {"PARLEY_MODEL__ROW": "1"})
    assert [line.split(": ")[:2] for line in found] == [
        ["temporal.yaml:2", "log.levle"],
        ["temporal.yaml:4", "gateway.port"],
        ["temporal.yaml:6", "model.rows"],
        ["PARLEY_MODEL__ROW", "no such setting. Did you mean PARLEY_MODEL__ROWS?"],
    ]


def test_a_pair_in_two_places_names_both(problems: Lines) -> None:
    """Impossible pairs are all named as well."""
    found = problems("tenants:\n  a: {policy: x}\n  b: {policy: y}\n")
    assert [line.split(": ")[:2] for line in found] == [
        ["temporal.yaml:2", "tenants.a.policy"],
        ["temporal.yaml:3", "tenants.b.policy"],
    ]


ENVIRONMENT = [
    ({"PARLEY_GATEWAY__PORT": "80x"}, "PARLEY_GATEWAY__PORT: must be a whole number, but is '80x'"),
    ({"PARLEY_GATEWAY__PROT": "1"}, "PARLEY_GATEWAY__PROT: no such setting. Did you mean PARLEY_GATEWAY__PORT?"),
    ({"PARLEY_GATEWAY_PORT": "1"}, "PARLEY_GATEWAY_PORT: no such setting. Did you mean PARLEY_GATEWAY__PORT?"),
    ({"PARLEY_GATEWAY__PORT__X": "1"}, "PARLEY_GATEWAY__PORT__X: no such setting. Did you mean PARLEY_GATEWAY__PORT?"),
    ({"PARLEY_": "1"}, "PARLEY_: no such setting. docs/configuration.md lists them all"),
    ({"PARLEY_ZZZ": "1"}, "PARLEY_ZZZ: no such setting. docs/configuration.md lists them all"),
    (
        {"PARLEY_MODEL__LANGUAGES__0": "zh"},
        "PARLEY_MODEL__LANGUAGES__0: no such setting. Give the whole list to PARLEY_MODEL__LANGUAGES, as JSON",
    ),
    (
        {"PARLEY_MODEL__LANGUAGES": "[en"},
        'PARLEY_MODEL__LANGUAGES: is no JSON. Write it like ["en", "zh"] or {"key": 1}',
    ),
    ({"PARLEY_MODEL__LANGUAGES": "en"}, "PARLEY_MODEL__LANGUAGES: must be a list, but is 'en'"),
    (
        {"PARLEY_GATEWAY": '{"prot": 1}'},
        "PARLEY_GATEWAY: gateway.prot: no such setting. Did you mean gateway.port?",
    ),
    (
        {"PARLEY_TENANTS__DEFAULT__POLICY": "x"},
        "PARLEY_TENANTS__DEFAULT__POLICY: there is no policy 'x' under policies",
    ),
]


@pytest.mark.parametrize(("environ", "line"), ENVIRONMENT, ids=[next(iter(environ)) for environ, _ in ENVIRONMENT])
def test_a_mistake_in_the_environment_names_the_variable(problems: Lines, environ: dict[str, str], line: str) -> None:
    """Also where the file is right."""
    assert problems("gateway: {port: 1}", environ) == [line]


@pytest.mark.parametrize(
    "text",
    [
        "gateway: {host: 0.0.0.0}\naccess: {mode: keys}",
        "gateway: {host: 0.0.0.0}\naccess: {trust_network: true}",
        "gateway: {host: localhost}",
        "gateway: {host: 127.0.0.2}",
        "gateway: {host: '::1'}",
        "access: {mode: keys, oidc: {issuer: 'http://127.0.0.1:9000', audience: parley}}",
    ],
)
def test_a_gateway_that_others_reach_asks_for_keys_or_says_that_it_does_not(load_text: Load, text: str) -> None:
    """Open to this machine alone needs no word."""
    load_text(text)


def test_a_missing_file_says_where_it_was_sought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And how to name another."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsFault) as raised:
        load(environ={})
    assert raised.value.message == (
        f"temporal.yaml: no such file in {tmp_path}. Run parley in the folder that holds it, or name it with --config "
        "or PARLEY_CONFIG"
    )


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A folder, or bytes that are no UTF-8 (with the line)."""
    with pytest.raises(SettingsFault, match=r": cannot be read: Is a directory$"):
        load(tmp_path, {})
    file = tmp_path / "latin.yaml"
    file.write_bytes(b"log:\n  level: caf\xe9\n")
    with pytest.raises(SettingsFault) as raised:
        load(file, {})
    assert raised.value.message == f"{file}:2: is not UTF-8. Save the file as UTF-8"


def test_a_byte_order_mark_is_no_key(tmp_path: Path) -> None:
    """Editors on Windows write one."""
    file = tmp_path / "bom.yaml"
    file.write_text("\ufefflog: {level: debug}", encoding="utf-8")
    assert load(file, {}).log.level == "debug"


def test_a_password_is_not_repeated(problems: Lines) -> None:
    """A wrong address of a database or a Redis is refused without showing it."""
    assert "secret" not in "".join(problems("records: {database: 'mysql://root:secret@h/x'}"))
    assert "secret" not in "".join(problems("records: {token_log: 'valkey://:secret@h'}"))


def test_the_fault_names_its_field_and_holds_its_problems(tmp_path: Path) -> None:
    """For callers who want more than text."""
    file = tmp_path / "x.yaml"
    file.write_text("gateway: {port: x}")
    with pytest.raises(SettingsFault) as raised:
        load(file, {})
    assert raised.value.field == "gateway.port"
    assert [problem.place for problem in raised.value.details["problems"]] == [("gateway", "port")]
