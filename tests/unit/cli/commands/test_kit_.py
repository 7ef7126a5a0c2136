# SPDX-License-Identifier: Apache-2.0
"""`sbx kit`: what it prints, in which shape, and with which status."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any, cast

import pytest

from sbx.kit.schema import spec_schema
from tests.unit.cli.conftest import Call

GOOD = 'schemaVersion: "2"\nkind: mixin\nname: extra\n'


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "my-kit"
    path.mkdir()
    (path / "spec.yaml").write_text(GOOD)
    return path


def test_a_valid_kit(sbx: Call, folder: Path) -> None:
    for ref in ("./my-kit", "my-kit", str(folder)):
        done = sbx("kit", "validate", ref)
        assert (done.status, done.out) == (0, "VALID (directory)\n")
    assert sbx("kit", "validate", "claude").out == "VALID (built-in)\n"
    assert sbx("kit", "validate", "./my-kit", "--json").json() == {
        "valid": True, "source": "directory", "name": "extra", "kind": "mixin", "warnings": [],
    }  # fmt: skip


def test_an_invalid_kit_lists_everything(sbx: Call, folder: Path) -> None:
    (folder / "spec.yaml").write_text(GOOD + "ports: [{container: 0}]\nunknown: 1\n")
    done = sbx("kit", "validate", "./my-kit")
    assert (done.status, done.out) == (1, "")
    assert done.err.splitlines() == [
        "INVALID: invalid spec.yaml of kit `./my-kit`: 2 errors",
        "  spec.yaml:4:21: `ports[0].container`: `0` is not from 1 to 65535",
        "  spec.yaml:5:1: unknown key `unknown`; valid keys: agentInstructions, args, credentials, "
        "description, displayName, environment, extends, kind, licenses, locked, mixins, name, "
        "permissions, ports, requires, sandbox, schemaVersion, security, setup, sourceURL, "
        "version, volumes",
    ]
    found = cast("dict[str, Any]", sbx("kit", "validate", "./my-kit", "--json").json())
    assert found["valid"] is False
    assert [one["line"] for one in found["errors"]] == [4, 5]


@pytest.mark.parametrize("ref", ["./none", "nothing", "ghcr.io/a/b:1", "git+http://a.com/b"])
def test_whatever_is_wrong_begins_alike(sbx: Call, folder: Path, ref: str) -> None:
    del folder
    done = sbx("kit", "validate", ref)
    assert done.status == 1
    assert done.err.startswith("INVALID: ")


def test_warnings_are_told_and_do_no_harm(sbx: Call, folder: Path) -> None:
    (folder / "spec.yaml").write_text(GOOD + "version: 1.20\n")
    done = sbx("kit", "validate", "./my-kit")
    assert (done.status, done.out) == (0, "VALID (directory)\n")
    assert done.err.startswith("WARN: spec.yaml:4:10: `version` is text")


def test_sources_that_are_not_allowed(sbx: Call, folder: Path) -> None:
    done = sbx("kit", "inspect", "ghcr.io/a/b:1")
    assert done.status == 1
    assert done.err.startswith('ERROR: resolve kits: kit "ghcr.io/a/b:1"')
    assert "allowlist" in done.err
    sbx("settings", "set", "kit.allowLocalKits", "false")
    assert sbx("kit", "inspect", str(folder)).err.startswith("ERROR: resolve kits: kit ")


def test_inspect_shows_what_an_agent_gets(sbx: Call) -> None:
    text = sbx("kit", "inspect", "claude", "--kit-arg", "version=1.2.3").out
    for words in (
        "version = 1.2.3", "allow  api.anthropic.com", "anthropic as ANTHROPIC_API_KEY",
        "@anthropic-ai/claude-code@1.2.3", "/home/agent/.claude.json", "sha256:",
    ):  # fmt: skip
        assert words in text
    found = cast("dict[str, Any]", sbx("kit", "inspect", "claude", "--json").json())
    assert found["manifest"]["binary"] == "claude"


def test_arguments_from_a_file_and_unknown_ones(sbx: Call, folder: Path) -> None:
    (folder / "spec.yaml").write_text(GOOD + "args: {a: {required: true}}\n")
    missing = sbx("kit", "validate", "./my-kit")
    assert "argument `a` has no value: give it with --kit-arg a=VALUE" in missing.err
    (folder / "args").write_text("# mine\na = 1\n")
    assert sbx("kit", "validate", "./my-kit", "--kit-args-file", "my-kit/args").status == 0
    unknown = sbx("kit", "validate", "./my-kit", "--kit-arg", "a=1", "--kit-arg", "b=2")
    assert "no kit has an argument `b` (arguments: a)" in unknown.err


def test_init_writes_a_kit_that_is_valid_and_never_over_another(sbx: Call, folder: Path) -> None:
    del folder
    done = sbx("kit", "init", "New_Kit", "--kind", "sandbox")
    assert done.status == 0
    assert "sbx kit validate ./New_Kit" in done.err
    assert sbx("kit", "validate", "./New_Kit").out == "VALID (directory)\n"
    again = sbx("kit", "init", "New_Kit")
    assert again.status == 1
    assert "is there already" in again.err
    wrong = sbx("kit", "init", "other", "--name", "A B")
    assert wrong.status == 1
    assert "is not 1 to 64 of a-z" in wrong.err
    assert not Path("other").exists()


def test_pack_writes_equal_bytes_and_both_kinds(sbx: Call, folder: Path) -> None:
    done = sbx("kit", "pack", "my-kit")
    assert done.out == "Packed artifact to extra.zip\n"
    first = Path("extra.zip").read_bytes()
    assert zipfile.ZipFile("extra.zip").namelist() == ["spec.yaml"]
    sbx("kit", "pack", "./my-kit")
    assert Path("extra.zip").read_bytes() == first
    sbx("kit", "pack", "./my-kit", "-o", "other.tar.gz")
    for name in ("extra.zip", "./other.tar.gz"):
        assert sbx("kit", "validate", name).out == "VALID (archive)\n"
    wrong = sbx("kit", "pack", str(folder), "-o", "x.rar")
    assert "unknown kind of archive" in wrong.err


def test_the_schema_is_json(sbx: Call) -> None:
    assert json.loads(sbx("kit", "schema").out) == spec_schema()


def test_a_lock_is_written_checked_and_held_to(sbx: Call, folder: Path) -> None:
    text = GOOD.replace("kind: mixin", "kind: sandbox") + "extends: claude\n"
    (folder / "spec.yaml").write_text(text)
    assert sbx("kit", "lock", "./my-kit", "--check").status == 1
    assert sbx("kit", "lock", "./my-kit").status == 0
    assert sbx("kit", "lock", "./my-kit", "--check").status == 0
    assert sbx("kit", "validate", "./my-kit").status == 0
    lock = folder / "sbx-kit.lock"
    data = json.loads(lock.read_text())
    assert [kit["name"] for kit in data["kits"]] == ["claude"]
    data["kits"][0]["digest"] = "sha256:" + "0" * 64
    lock.write_text(json.dumps(data))
    done = sbx("kit", "validate", "./my-kit")
    assert done.status == 1
    assert "is not the one that was locked" in done.err


@pytest.mark.parametrize(
    "args",
    [
        ("push", "./my-kit", "not a ref"),
        ("push", "./my-kit", f"a.io/b@sha256:{'0' * 64}"),
        ("push", "./my-kit", "a.io/b:1", "--username", "me"),
        ("pull", "a.io/b:1", "--password-stdin"),
        ("pull", "a.io/b:1"),
        ("lock", "claude"),
    ],
)
def test_what_cannot_be_done(sbx: Call, folder: Path, args: tuple[str, ...]) -> None:
    del folder
    done = sbx("kit", *args)
    assert done.status == 1
    assert done.err.startswith("ERROR: ")
