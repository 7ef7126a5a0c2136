# SPDX-License-Identifier: Apache-2.0
"""The user's own indexes and mirrors: where they are looked for, and which rules they become."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from sbx.policy.hosts import Address, HostName
from sbx.policy.presets import Preset
from sbx.policy.ruleset import RuleSet
from sbx.store.mirrors import Machine, find_mirrors, mirror_rules
from tests.unit.policy.factories import to

BALANCED = RuleSet(preset=Preset.BALANCED)
ADDRESSES = {"pip.corp": "10.1.2.3", "npm.corp": "192.0.2.7", "out.example": "93.184.215.14"}


def resolve(name: HostName) -> list[Address]:
    return [ip_address(ADDRESSES[name])] if name in ADDRESSES else []


def machine(tmp_path: Path, files: dict[str, str], **environment: str) -> Machine:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Machine(home=tmp_path / "home", environment=environment, root=tmp_path / "root")


@pytest.mark.parametrize(
    ("file", "text", "tool", "where"),
    [
        ("root/etc/pip.conf", "[global]\nindex-url=https://x.corp/s", "pip", "x.corp:443"),
        ("home/.config/pip/pip.conf", "[global]\nindex-url=http://x.corp/s", "pip", "x.corp:80"),
        ("home/.pip/pip.conf", "[install]\nextra-index-url=https://x.corp/s", "pip", "x.corp:443"),
        ("home/.npmrc", "registry=https://u:p@x.corp:8443/n", "npm", "x.corp:8443"),
        ("root/etc/npmrc", "@a:registry=https://x.corp/", "npm", "x.corp:443"),
        ("root/etc/apt/sources.list", "deb http://x.corp/debian t main", "apt", "x.corp:80"),
        ("root/etc/apt/sources.list.d/a.list", "deb https://x.corp/d t main", "apt", "x.corp:443"),
        ("root/etc/apt/sources.list.d/a.sources", "Types: deb\nURIs: http://x.corp/", "apt",
         "x.corp:80"),
        ("home/.cargo/config.toml", '[registries.m]\nindex="sparse+https://x.corp/i/"', "cargo",
         "x.corp:443"),
        ("home/.config/go/env", "GOPROXY=https://x.corp,direct\n", "go", "x.corp:443"),
    ],
)  # fmt: skip
def test_files(tmp_path: Path, file: str, text: str, tool: str, where: str) -> None:
    found = find_mirrors(machine(tmp_path, {file: text}))
    (mirror,) = found.mirrors
    assert (mirror.tool, str(mirror.to), mirror.source) == (tool, where, str(tmp_path / file))
    assert found.problems == []


@pytest.mark.parametrize(
    ("variable", "value", "tool"),
    [
        ("PIP_INDEX_URL", "https://x.corp/simple", "pip"),
        ("PIP_EXTRA_INDEX_URL", "https://x.corp/a https://x.corp/b", "pip"),
        ("npm_config_registry", "https://x.corp/", "npm"),
        ("NPM_CONFIG_REGISTRY", "https://x.corp/", "npm"),
        ("CARGO_REGISTRIES_MINE_INDEX", "https://x.corp/", "cargo"),
        ("GOPROXY", "https://x.corp,direct", "go"),
    ],
)
def test_variables(tmp_path: Path, variable: str, value: str, tool: str) -> None:
    (mirror,) = find_mirrors(machine(tmp_path, {}, **{variable: value})).mirrors
    assert (mirror.tool, str(mirror.to), mirror.source) == (tool, "x.corp:443", variable)


def test_a_folder_for_settings_of_ones_own(tmp_path: Path) -> None:
    files = {
        "c/pip/pip.conf": "[global]\nindex-url=https://x.corp/s",
        "g": "GOPROXY=https://y.corp",
    }
    found = find_mirrors(
        machine(tmp_path, files, XDG_CONFIG_HOME=f"{tmp_path}/c", GOENV=f"{tmp_path}/g")
    )
    assert [str(mirror.to) for mirror in found.mirrors] == ["x.corp:443", "y.corp:443"]


@pytest.mark.parametrize(
    "url",
    ["file:///srv/wheels", "http://localhost:4873/", "http://127.0.0.1/", "https://[::1]/",
     "http://169.254.169.254/", "cdrom:[x]/", "ssh://git@x.corp/i", "./wheels"],
)  # fmt: skip
def test_what_is_not_opened(tmp_path: Path, url: str) -> None:
    found = find_mirrors(machine(tmp_path, {}, PIP_INDEX_URL=url))
    assert found.mirrors == []
    assert found.problems == []


def test_what_cannot_be_read_is_told_without_its_secrets(tmp_path: Path) -> None:
    files = {
        "root/etc/pip.conf": "index-url = x",
        "home/.npmrc": "registry=https://u:secret@0x7f.1/",
        "home/.cargo/config.toml": "[",
    }
    found = find_mirrors(machine(tmp_path, files))
    assert found.mirrors == []
    assert [text.partition(":")[0] for text in found.problems] == ["pip", "npm", "cargo"]
    assert "secret" not in str(found.problems)


def test_the_current_folder_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox may write there."""
    (tmp_path / ".npmrc").write_text("registry=https://x.corp/")
    (tmp_path / ".cargo").mkdir()
    (tmp_path / ".cargo/config.toml").write_text('[registries.m]\nindex="https://x.corp/"')
    monkeypatch.chdir(tmp_path)
    assert find_mirrors(machine(tmp_path, {})).mirrors == []


def test_rules(tmp_path: Path) -> None:
    found = find_mirrors(
        machine(
            tmp_path,
            {"home/.npmrc": "registry=https://npm.corp/"},
            PIP_INDEX_URL="https://pip.corp/simple",
            PIP_EXTRA_INDEX_URL="https://out.example/simple https://github.com/simple",
            GOPROXY="http://10.0.0.9:8081/go",
        )
    )
    rules = mirror_rules(BALANCED, found.mirrors, resolve)
    assert [(r.name, [str(p) for p in r.resources], r.private) for r in rules] == [
        ("mirror-pip-private", ["pip.corp:443"], True),
        ("mirror-pip", ["out.example:443"], False),
        ("mirror-go", ["10.0.0.9:8081"], False),
        ("mirror-npm-private", ["npm.corp:443"], True),
    ]
    assert rules[0].note == "the settings of pip name it: PIP_INDEX_URL"
    policy = RuleSet(preset=Preset.BALANCED, added=rules).compile()
    assert policy.dial(to("pip.corp"), ip_address("10.1.2.3")).allowed
    assert policy.dial(to("npm.corp"), ip_address("192.0.2.7")).allowed
    assert not policy.dial(to("out.example"), ip_address("10.1.2.3")).allowed
    assert policy.connection(to("10.0.0.9:8081")).allowed


def test_a_resolver_that_never_answers_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    from sbx.store import mirrors

    never = threading.Event()
    monkeypatch.setattr(mirrors, "_RESOLVE_S", 0.05)

    def stuck(name: HostName) -> list[Address]:
        del name
        never.wait()
        return []

    found = find_mirrors(machine(tmp_path, {}, PIP_INDEX_URL="https://pip.corp/"))
    (rule,) = mirror_rules(BALANCED, found.mirrors, stuck)
    never.set()
    assert not rule.private
