# SPDX-License-Identifier: Apache-2.0
"""`sbx secret`."""

from __future__ import annotations

import json

import pytest

from sbx.credential.services import SERVICES
from sbx.store.paths import Paths
from tests.unit.cli.conftest import Call

KEY = "sk-canary-0123456789abcdefghijklmnopqr"


@pytest.fixture(autouse=True)
def _no_keys_of_the_tester(monkeypatch: pytest.MonkeyPatch) -> None:
    for service in SERVICES:
        for name in service.variables:
            monkeypatch.delenv(name, raising=False)


def test_a_piped_value_is_stored_and_shown_masked(sbx: Call, where: Paths) -> None:
    done = sbx("secret", "set", "openai", stdin=KEY + "\n")
    assert (done.status, done.out) == (0, "✓ Stored openai for all sandboxes\n")
    assert "WARN: no keychain was found" in done.err
    listed = sbx("secret", "ls").out
    assert listed.splitlines()[0].split() == ["SCOPE", "TYPE", "NAME", "SECRET"]
    assert listed.splitlines()[1].split() == [
        "(global)",
        "service",
        "openai",
        "sk-canary****...****opqr",
    ]
    assert KEY not in listed + done.out + done.err
    assert KEY not in (where.config / "secrets.json").read_text()


def test_an_empty_list_says_so(sbx: Call) -> None:
    assert sbx("secret", "ls").out == "No secrets found\n"
    assert sbx("secret", "ls", "--sandbox", "zzz").out == 'No secrets found for scope "zzz"\n'
    assert json.loads(sbx("secrets", "list", "--json").out) == {
        "secrets": [],
        "custom_secrets": [],
        "env_only_count": 0,
    }


def test_scopes_in_both_spellings(sbx: Call) -> None:
    for args in (("box", "openai"), ("--sandbox", "box", "xai"), ("-g", "groq")):
        assert sbx("secret", "set", *args, stdin=KEY).status == 0
    rows = json.loads(sbx("secret", "ls", "--json").out)["secrets"]
    assert [(r["scope"], r["name"]) for r in rows] == [
        ("global", "groq"),
        ("sandbox:box", "openai"),
        ("sandbox:box", "xai"),
    ]
    assert sbx("secret", "ls", "box", "-q").out == "openai\nxai\n"
    assert sbx("secret", "ls", "-g", "-q").out == "groq\n"
    assert sbx("secret", "ls", "--service", "xai", "-q").out == "xai\n"
    assert sbx("secret", "set", "a", "b", "c", stdin=KEY).status == 1
    assert sbx("secret", "set", "-g", "--sandbox", "box", "xai", stdin=KEY).status == 1


def test_an_existing_secret_is_not_overwritten_unasked(sbx: Call) -> None:
    assert sbx("secret", "set", "openai", stdin=KEY).status == 0
    again = sbx("secret", "set", "openai", stdin="sk-other-value")
    assert again.status == 1
    assert "Overwrite the secret openai" in again.err
    assert sbx("secret", "set", "-f", "openai", stdin="sk-other-value").status == 0
    assert "sk-canary" not in sbx("secret", "ls").out


@pytest.mark.parametrize("value", ["", "a\r\nX-Evil: 1", "a\x00b", "x" * 70000])
def test_values_that_are_refused(sbx: Call, value: str) -> None:
    done = sbx("secret", "set", "openai", stdin=value)
    assert done.status == 1
    assert "X-Evil" not in done.err
    assert sbx("secret", "ls", "-q").out == ""


def test_a_value_on_the_command_line_is_warned_about(sbx: Call) -> None:
    assert "can be seen by other users" in sbx("secret", "set", "openai", "-t", KEY).err


def test_a_reference_is_tried_and_shown(sbx: Call) -> None:
    bad = sbx("secret", "set", "github", "--command", "exit 3")
    assert bad.status == 1
    assert sbx("secret", "ls", "-q").out == ""
    assert sbx("secret", "set", "github", "--command", "exit 3", "--no-verify").status == 0
    done = sbx("secret", "set", "github", "-f", "--command", f"echo {KEY[:5]}", "--refresh", "10m")
    assert done.status == 0
    assert "(command: echo" in sbx("secret", "ls").out
    assert sbx("secret", "set", "github", "-f", "--refresh", "10m", stdin=KEY).status == 1
    assert sbx("secret", "set", "github", "-f", "--ref", "op://a/b", "--command", "x").status == 1


def test_a_custom_secret_prints_its_placeholder(sbx: Call) -> None:
    args = (
        "secret",
        "set-custom",
        "--host",
        "api.acme.test",
        "--host",
        "*.acme.test",
        "--env",
        "K",
    )
    done = sbx(*args, "--value", KEY)
    assert done.status == 0
    placeholder = done.out.splitlines()[-1].removeprefix("Placeholder: ")
    (row,) = json.loads(sbx("secret", "ls", "--json").out)["custom_secrets"]
    assert (row["scope"], row["env"], row["placeholder"], row["targets"]) == (
        "global", "K", placeholder, ["api.acme.test", "*.acme.test"],
    )  # fmt: skip
    table = sbx("secret", "ls").out.splitlines()
    assert table[0] == "CUSTOM SECRETS"
    assert table[1].split() == ["SCOPE", "TARGETS", "ENV", "PLACEHOLDER", "SECRET"]
    again = sbx(*args, "--value", KEY)
    assert again.status == 1
    start = 'ERROR: custom secret env "K" already exists in scope global with placeholder '
    assert start + placeholder in again.err
    other = sbx(*args, "--value", KEY, "--sandbox", "box", "--placeholder", "key-{rand}")
    assert other.out.splitlines()[-1].startswith("Placeholder: key-")
    assert (
        sbx("secret", "rm", "--placeholder", placeholder, "-f").out
        == "Deleted K for all sandboxes\n"
    )
    assert (
        sbx(
            "secret", "rm", "--host", "api.acme.test", "--env", "K", "--sandbox", "box", "-f"
        ).status
        == 0
    )


def test_a_custom_value_is_not_read_from_standard_input(sbx: Call) -> None:
    done = sbx("secret", "set-custom", "--host", "a.test", "--env", "K", stdin=KEY)
    assert done.status == 1
    assert "--value" in done.err


def test_a_registry_login_stays_on_the_host_unless_told_otherwise(sbx: Call) -> None:
    args = ("secret", "set", "--registry", "ghcr.io", "--username", "me", "--password-stdin")
    assert sbx(*args, stdin=KEY).status == 0
    assert sbx(*args, "--all-sandboxes", stdin=KEY).status == 0
    table = sbx("secret", "ls").out
    assert "(host only)" in table
    assert "(global)" in table
    assert sbx("secret", "set", "--registry", "ghcr.io", "x", stdin=KEY).status == 1
    assert sbx("secret", "set", "--username", "me", "openai", stdin=KEY).status == 1
    assert len(sbx("secret", "rm", "--registry", "ghcr.io", "-f").out.splitlines()) == 2


def test_rm_asks_and_needs_to_know_what(sbx: Call) -> None:
    sbx("secret", "set", "openai", stdin=KEY)
    assert sbx("secret", "rm").status == 1
    assert sbx("secret", "rm", "openai").status == 1
    assert sbx("secret", "unset", "openai", "-f").out == "Deleted openai for all sandboxes\n"
    missing = sbx("secret", "rm", "openai", "-f")
    assert (missing.status, "no such secret" in missing.err) == (1, True)
    sbx("secret", "set", "openai", stdin=KEY)
    rows = json.loads(sbx("secret", "rm", "--all", "-f", "--json").out)
    assert rows == [
        {"action": "removed", "resource": "secret", "name": "openai", "scope": "global"}
    ]


def test_variables_of_the_host_are_imported_on_request(
    sbx: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("GITHUB_TOKEN", "ghp-" + KEY)
    assert json.loads(sbx("secret", "ls", "--json").out)["env_only_count"] == 2
    assert sbx("secret", "import").status == 1
    dry = sbx("secret", "import", "--all", "--dry-run").out
    assert dry == "Would import github from GITHUB_TOKEN\nWould import openai from OPENAI_API_KEY\n"
    assert sbx("secret", "ls", "-q").out == ""
    assert sbx("secret", "import", "openai").status == 0
    assert "Skipped openai" in sbx("secret", "import", "--all").out
    assert sbx("secret", "ls", "-q").out == "github\nopenai\n"
    assert sbx("secret", "import", "nothing").status == 1


def test_without_a_service_and_a_terminal_there_is_a_hint(sbx: Call) -> None:
    done = sbx("secret", "set", stdin=KEY)
    assert done.status == 1
    assert "anthropic" in done.err
    note = sbx("secret", "set", "acme", stdin=KEY)
    assert note.status == 0
    assert "no built-in service" in note.err


def test_a_login_is_read_from_the_agents_file(sbx: Call, where: Paths) -> None:
    tokens = json.dumps(
        {"claudeAiOauth": {"accessToken": KEY, "refreshToken": KEY[::-1], "expiresAt": 1}}, indent=1
    )
    done = sbx("secret", "set", "anthropic", "--oauth", stdin=tokens)
    assert (done.status, done.out) == (0, "✓ Stored anthropic for all sandboxes\n")
    assert sbx("secret", "set", "anthropic", stdin=KEY).status == 0  # stands beside it
    listed = sbx("secret", "ls").out
    assert "(oauth configured)" in listed
    assert KEY not in listed + (where.config / "secrets.json").read_text()
    for args, text in (
        (("openai", "--oauth"), tokens),
        (("anthropic", "--oauth", "-f"), KEY),
        (("anthropic", "--oauth", "-t", "x"), tokens),
    ):
        refused = sbx("secret", "set", *args, stdin=text)
        assert refused.status == 1
        assert KEY not in refused.out + refused.err
    assert sbx("secret", "rm", "anthropic", "-f").out.count("Deleted anthropic") == 2
    assert sbx("secret", "ls").out == "No secrets found\n"
