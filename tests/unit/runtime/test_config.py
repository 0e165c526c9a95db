"""The configuration: layers, origins, and what is said about keys that are not there."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, SecretStr

from elanus.model.limits import table
from elanus.runtime import config_sources
from elanus.runtime.config import Config
from elanus.runtime.config_report import MASK, as_json, as_yaml, rows, shown
from elanus.runtime.config_section import Section
from elanus.runtime.config_sources import ConfigError, Flag, environment_name, known_keys, load


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return tmp_path / "elanus.yaml"


def problems(file: Path | None = None, environment: dict[str, str] | None = None) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as raised:
        load(file, environment)
    return raised.value.problems


def test_each_layer_wins_over_the_one_below(written: Path) -> None:
    written.write_text("proxy: {port: 1, maxFieldNum: 2, maxShardNum: 3}\n")
    environment = {"ELANUS_PROXY__PORT": "11", "ELANUS_PROXY__MAXFIELDNUM": "12"}
    loaded = load(
        written, environment, [Flag("--port", "proxy.port", 21), Flag("--data", "localStorage.path", None)]
    )
    proxy = loaded.config.proxy
    assert (proxy.port, proxy.max_field_num, proxy.max_shard_num, proxy.max_dimension) == (21, 12, 3, 32768)
    assert loaded.origins == {
        "proxy.port": "--port",
        "proxy.maxFieldNum": "ELANUS_PROXY__MAXFIELDNUM",
        "proxy.maxShardNum": f"{written}:1",
    }
    assert loaded.warnings == ()


def test_without_any_layer_the_defaults_are_in_force() -> None:
    assert load().config == Config()


def test_keys_may_be_dotted_and_of_any_case(written: Path) -> None:
    written.write_text("datanode.segment.insertbufsize: 5\nlog:\n  Level: debug\n")
    config = load(written).config
    assert config.data_node.segment.insert_buf_size == 5
    assert config.log.level == "debug"


@pytest.mark.parametrize("text", ["", "# nothing\n", "proxy:\n", "proxy:\n  port:\n", "---\n"])
def test_a_key_without_a_value_is_not_set(written: Path, text: str) -> None:
    written.write_text(text)
    assert load(written).origins == {}


def test_an_unknown_key_names_the_nearest_known_one_and_its_line(written: Path) -> None:
    written.write_text("proxy:\n  port: 1\n  maxFieldNumber: 5\n")
    assert problems(written) == (
        f"unknown configuration key proxy.maxFieldNumber ({written}:3); did you mean proxy.maxFieldNum?",
    )


def test_a_key_in_the_wrong_section_is_found_by_its_last_part(written: Path) -> None:
    written.write_text("maxVarCharLength: 5\n")
    assert "did you mean proxy.maxVarCharLength?" in problems(written)[0]


def test_an_unknown_variable_of_the_environment_is_an_error() -> None:
    assert problems(environment={"ELANUS_PROXY__PRT": "1"}) == (
        "unknown configuration key proxy.prt (ELANUS_PROXY__PRT); did you mean proxy.port?",
    )


def test_all_problems_are_said_at_once(written: Path) -> None:
    written.write_text("proxy: 3\nno: {such: key}\n")
    found = problems(written)
    assert len(found) == 2
    assert "proxy" in found[0]
    assert "is a section" in found[0]
    assert "no.such" in found[1]


@pytest.mark.parametrize(
    "key",
    ["common.bloomFilterSize", "credential.mine.apikey", "etcd.endpoints", "builtinRoles.roles.r.privileges"],
)
def test_a_key_of_milvus_without_a_meaning_here_is_a_warning(written: Path, key: str) -> None:
    written.write_text(f"{key}: 5\n")
    loaded = load(written)
    assert loaded.config == Config()
    assert loaded.warnings == (
        f"{key} ({written}:1) is ignored: a key of Milvus that has no meaning in elanus",
    )


def test_the_metrics_port_of_milvus_is_our_management_port(written: Path) -> None:
    written.write_text("common: {MetricsPort: 9092}\n")
    assert load(written).config.management.port == 9092


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "proxy: {port: 70000}",
            "proxy.port ({file}:1) cannot be 70000: it should be less than or equal to 65535",
        ),
        ("log:\n  level: loud", "log.level ({file}:2) cannot be 'loud': it should be 'debug', 'info'"),
        ("rootCoord: {dmlChannelNum: [1]}", "rootCoord.dmlChannelNum ({file}:1) cannot be [1]"),
    ],
)
def test_a_value_that_cannot_be_right_is_named_with_its_place(written: Path, text: str, says: str) -> None:
    written.write_text(text)
    assert problems(written)[0].startswith(says.format(file=written))


@pytest.mark.parametrize("text", ["proxy: {port: 1", "- a\n- b\n", "proxy: {port: 1, port: 2}", "a: &x [*x"])
def test_a_file_that_is_no_configuration_is_refused_with_its_name(written: Path, text: str) -> None:
    written.write_text(text)
    assert str(written) in problems(written)[0]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "No such file" in problems(tmp_path / "none.yaml")[0]


def test_a_single_underscore_is_told_about_but_kubernetes_services_are_not() -> None:
    loaded = load(None, {"ELANUS_PROXY_PORT": "1", "ELANUS_CACHE": "x"})
    assert loaded.warnings == ("ELANUS_PROXY_PORT is ignored; proxy.port is set by ELANUS_PROXY__PORT",)
    assert load(None, {"ELANUS_PROXY_PORT": "tcp://10.0.0.1:19530"}).warnings == ()


@given(st.sampled_from(sorted(known_keys())), st.data())
def test_every_key_that_is_a_number_can_be_set_from_the_environment(key: str, data: st.DataObject) -> None:
    default = next(row.default for row in rows(load()) if row.key == key)
    if not isinstance(default, int | float):
        return
    value = max(1, int(default) - data.draw(st.integers(0, 1)))
    loaded = load(None, {environment_name(key): str(value)})
    row = next(row for row in rows(loaded) if row.key == key)
    assert (row.value, row.origin) == (value, environment_name(key))


def test_every_key_has_a_meaning_and_reads_as_documented() -> None:
    for key, info in known_keys().items():
        assert info.description, key
        assert info.description.endswith("."), key


def test_every_limit_of_the_protocol_that_has_a_key_can_be_set() -> None:
    keys = {limit.key: limit for limit in table() if limit.key}
    assert set(keys) <= set(known_keys())
    loaded = load(None, {environment_name(key): "7" for key in keys})
    limits = loaded.config.protocol_limits
    assert {getattr(limits, limit.name) for limit in keys.values()} == {7}
    assert Config().protocol_limits == type(limits)()


def test_the_yaml_report_is_a_configuration_file_that_gives_the_same(written: Path) -> None:
    loaded = load(None, {"ELANUS_LOG__LEVEL": "debug", "ELANUS_LOCALSTORAGE__PATH": "/some: where"})
    written.write_text(as_yaml(rows(loaded)))
    assert load(written).config == loaded.config
    assert "from ELANUS_LOG__LEVEL" in written.read_text()


def test_the_json_report_has_every_key() -> None:
    table = yaml.safe_load(as_json(rows(load())))
    assert [row["key"] for row in table] == list(known_keys())


def test_a_secret_is_neither_reported_nor_quoted_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Vault(Section):
        password: SecretStr = Field(SecretStr(""), max_length=8, description="A secret.")

    class WithVault(Config):
        vault: Vault = Vault()

    monkeypatch.setattr(config_sources, "Config", WithVault)
    caches = (config_sources.known_keys, config_sources.canonical_by_lower)
    for cached in caches:
        cached.cache_clear()
    try:
        report = as_yaml(rows(load(None, {"ELANUS_VAULT__PASSWORD": "hunter2"})))
        assert "hunter2" not in report
        assert MASK in report
        said = problems(environment={"ELANUS_VAULT__PASSWORD": "correct horse"})[0]
        assert "vault.password" in said
        assert "correct horse" not in said
    finally:
        for cached in caches:
            cached.cache_clear()
    assert shown(SecretStr("")) == ""
