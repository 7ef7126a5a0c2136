# SPDX-License-Identifier: Apache-2.0
"""Settings: precedence, strict reading, and what `set` accepts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbx.errors import NotFoundError, UserError
from sbx.store import settings as own
from sbx.store.paths import SETTINGS, Paths
from sbx.store.settings import CATALOGUE, Settings, Source, load_settings, set_value, unset_value
from tests.kit.installation import ROOT


@pytest.fixture
def where(tmp_path: Path) -> Paths:
    return Paths(
        state=tmp_path / "state",
        config=tmp_path / "config",
        cache=tmp_path / "cache",
        runtime=tmp_path / "run",
    )


def write(where: Paths, text: str) -> Path:
    where.config.mkdir(mode=0o700, exist_ok=True)
    path = where.config / SETTINGS
    path.write_text(text)
    return path


def test_without_a_file_every_key_has_its_default(where: Paths) -> None:
    for setting in load_settings(where, {}).all():
        assert (setting.value, setting.source) == (setting.key.default, Source.DEFAULT)
    assert not where.config.exists()


def test_a_variable_wins_over_the_file_and_the_file_over_the_default(where: Paths) -> None:
    set_value(where, "sandbox.cpus", "3")
    assert load_settings(where, {}).get("sandbox.cpus").source is Source.OVERRIDE
    assert load_settings(where, {}).number("sandbox.cpus") == 3
    in_force = load_settings(where, {"SBX_CPUS": "5"}).get("sandbox.cpus")
    assert (in_force.value, in_force.source) == (5, Source.ENV)
    assert load_settings(where, {"SBX_CPUS": ""}).number("sandbox.cpus") == 3


def test_unset_returns_to_the_default(where: Paths) -> None:
    set_value(where, "cli.confirmRemove", "no")
    assert load_settings(where, {}).flag("cli.confirmRemove") is False
    assert unset_value(where, "cli.confirmRemove") is True
    assert unset_value(where, "cli.confirmRemove") is False
    assert load_settings(where, {}).flag("cli.confirmRemove") is True


def test_the_file_is_private_and_says_its_version(where: Paths) -> None:
    set_value(where, "sandbox.memory", "2g")
    path = where.config / SETTINGS
    assert json.loads(path.read_text()) == {"version": 1, "settings": {"sandbox.memory": "2g"}}
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"settings": {}}', '{"version": 2, "settings": {}}',
     '{"version": 1, "settings": []}', '{"version": 1, "settings": {"a": null}}',
     '{"version": 1, "settings": {}, "more": 1}'],
)  # fmt: skip
def test_a_malformed_file_is_an_error_that_names_it(where: Paths, text: str) -> None:
    path = write(where, text)
    with pytest.raises(UserError, match="cannot read settings file") as caught:
        load_settings(where, {})
    assert str(path) in caught.value.message
    assert caught.value.hint is not None
    with pytest.raises(UserError):
        set_value(where, "sandbox.cpus", "1")
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("key", "value"),
    [("cli.confirmRemove", "true"), ("cli.confirmRemove", 1), ("sandbox.cpus", "4"),
     ("sandbox.cpus", -1),
     ("sandbox.cpus", True), ("machine.accel", "hvf"), ("sandbox.memory", "lots"),
     ("sandbox.disk", 20)],
)  # fmt: skip
def test_a_wrong_stored_value_is_an_error_with_a_command_that_helps(
    where: Paths, key: str, value: object
) -> None:
    write(where, json.dumps({"version": 1, "settings": {key: value}}))
    with pytest.raises(UserError) as caught:
        load_settings(where, {})
    assert caught.value.hint == f"Run: sbx settings unset {key}"
    assert unset_value(where, key) is True
    load_settings(where, {})


def test_an_unknown_stored_key_can_be_unset(where: Paths) -> None:
    write(where, '{"version": 1, "settings": {"of.tomorrow": "x"}}')
    with pytest.raises(UserError, match=r"unknown setting `of\.tomorrow`"):
        load_settings(where, {})
    assert unset_value(where, "of.tomorrow") is True
    load_settings(where, {})


@pytest.mark.parametrize(
    ("key", "text"),
    [("cli.confirmRemove", "maybe"), ("sandbox.cpus", "-1"), ("sandbox.cpus", "two"),
     ("sandbox.cpus", "٣"),
     ("sandbox.disk", "20x"), ("sandbox.disk", "-1g"), ("machine.accel", "KVM"),
     ("output.jsonCompat", "x")],
)  # fmt: skip
def test_set_refuses_what_the_key_does_not_take(where: Paths, key: str, text: str) -> None:
    with pytest.raises(UserError, match="invalid value") as caught:
        set_value(where, key, text)
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("Use ")


def test_a_wrong_variable_is_named_in_the_error() -> None:
    with pytest.raises(UserError, match="variable SBX_ACCEL") as caught:
        Settings({}, {"SBX_ACCEL": "fast"}).text("machine.accel")
    assert "auto, kvm, tcg" in (caught.value.hint or "")


def test_an_unknown_key_is_not_found(where: Paths) -> None:
    for act in (lambda: own.find_key("no.such"), lambda: unset_value(where, "no.such")):
        with pytest.raises(NotFoundError, match="unknown setting"):
            act()


def test_case_of_a_key_does_not_matter(where: Paths) -> None:
    assert set_value(where, "CLI.confirmremove", "off").key.name == "cli.confirmRemove"


def test_every_default_is_a_value_that_the_key_takes() -> None:
    for key in CATALOGUE:
        assert own.parse(key, own.show(key.default)) == key.default
        assert key.description
        assert not key.description.endswith(".")


@given(text=st.text(max_size=30))
def test_parse_of_any_text_is_a_value_or_a_user_error(text: str) -> None:
    for key in CATALOGUE:
        try:
            value = own.parse(key, text)
        except UserError:
            continue
        assert own.parse(key, own.show(value)) == value


def test_the_document_lists_every_key() -> None:
    text = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    for key in CATALOGUE:
        (line,) = [line for line in text.splitlines() if line.startswith(f"| `{key.name}` |")]
        assert f"| {key.type} |" in line
        assert key.description in line
        assert (f"`{key.env_var}`" in line) is bool(key.env_var)
        assert all(f"`{choice}`" in line for choice in key.choices)


@pytest.mark.parametrize("text", ['["docker.io/", "ghcr.io/me/"]', "docker.io/, ghcr.io/me/"])
def test_a_list_is_typed_as_json_or_with_commas(where: Paths, text: str) -> None:
    set_value(where, "kit.allowedSources", text)
    assert load_settings(where, {}).texts("kit.allowedSources") == ("docker.io/", "ghcr.io/me/")
    shown = own.show(load_settings(where, {}).get("kit.allowedSources").value)
    assert json.loads(shown) == ["docker.io/", "ghcr.io/me/"]


@pytest.mark.parametrize("text", ['["a", 1]', '{"a": 1}', "[", '[["a"]]'])
def test_a_list_of_something_else_is_refused(where: Paths, text: str) -> None:
    if text.startswith("["):
        with pytest.raises(UserError, match="allowedSources"):
            set_value(where, "kit.allowedSources", text)
    write(where, json.dumps({"version": 1, "settings": {"kit.allowedSources": {"a": 1}}}))
    with pytest.raises(UserError):
        load_settings(where, {})


def test_an_empty_list_allows_nothing(where: Paths) -> None:
    set_value(where, "kit.allowedSources", "[]")
    assert load_settings(where, {}).texts("kit.allowedSources") == ()


def test_a_proxy_is_checked_and_its_password_is_never_shown() -> None:
    key = own.find_key("proxy.sandbox")
    with pytest.raises(UserError, match="kept in a file"):
        own.parse(key, "http://me:hunter2@proxy.example:3128")
    with pytest.raises(UserError, match="no PAC file"):
        own.parse(key, "pac+ftp://proxy.example/x.pac")
    assert own.parse(key, "pac+http://wpad.example/x") == "pac+http://wpad.example/x"
    assert own.parse(key, "socks5h://proxy.example") == "socks5h://proxy.example"
    variables = {"DOCKER_SANDBOXES_PROXY": "http://me:hunter2@proxy.example:3128"}
    assert Settings({}, variables).text("proxy.sandbox") == "http://proxy.example:3128"
    with pytest.raises(UserError, match="exception"):
        own.parse(own.find_key("no_proxy"), "127.1")
