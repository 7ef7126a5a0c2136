# SPDX-License-Identifier: Apache-2.0
"""`sbx login` and `logout` with a real OpenID provider and a real registry on loopback."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sbx.credential.tokens import Tokens, parse_tokens
from sbx.errors import PermanentError
from sbx.kit.registry import accepts
from sbx.secret.entries import read_entries
from sbx.secret.registries import host_logins, stored_credentials
from sbx.secret.store import read_value
from sbx.store.paths import Paths
from tests.host.registry import PASSWORD, USER, running_registry
from tests.kit.oidc_provider import CLIENT, Provider, running_provider
from tests.kit.oidc_provider import USER as MONA

_FOLDERS = ("state", "config", "cache")
ROOT = Path(__file__).parents[2]


@dataclass
class Cli:
    """`sbx` with folders of its own and no keychain."""

    home: Path

    @property
    def where(self) -> Paths:
        return Paths(
            state=self.home / "state" / "opensbx", config=self.home / "config" / "opensbx",
            cache=self.home / "cache" / "opensbx", runtime=self.home / "run" / "opensbx",
        )  # fmt: skip

    def start(self, *args: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "sbx", *args],
            env={
                "PATH": os.environ["PATH"], "HOME": str(self.home), "PYTHONPATH": str(ROOT / "src"),
                **{f"XDG_{name.upper()}_HOME": str(self.home / name) for name in _FOLDERS},
                "XDG_RUNTIME_DIR": str(self.home / "run"),
            },
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *args: str, stdin: str = "") -> tuple[int, str, str]:
        with self.start(*args) as child:
            out, err = child.communicate(stdin, timeout=60)
            return child.returncode, out, err

    def by_device(self, provider: Provider, *, answer: str) -> tuple[int, str]:
        """Log in, with a user who answers in a browser once the program has asked for it."""
        args = ("login", "--device", "--issuer", provider.issuer, "--client-id", CLIENT,
                "--registry", "reg.test")  # fmt: skip
        with self.start(*args) as child:
            assert child.stderr is not None
            first = child.stderr.readline()
            found = re.search(r"enter the code (\S+)", first)
            assert found is not None, first + child.stderr.read()
            assert provider.polled.wait(60)  # it asks by itself, and gets "not yet"
            form = urllib.parse.urlencode({"user_code": found[1], "answer": answer}).encode()
            urllib.request.urlopen(f"{provider.issuer}/device", form).close()  # noqa: S310 - ours
            out, err = child.communicate(timeout=60)
            return child.returncode, out + err

    def tokens(self) -> Tokens:
        (entry,) = host_logins(self.where)
        return parse_tokens(read_value(self.where, entry).reveal())


@pytest.fixture(name="cli")
def _cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    (tmp_path / "run").mkdir(mode=0o700)
    return Cli(tmp_path)


@pytest.fixture(name="provider")
def _provider() -> Generator[Provider]:
    with running_provider() as found:
        yield found


def test_a_device_logs_in_and_out(cli: Cli, provider: Provider) -> None:
    provider.slow = 1
    status, said = cli.by_device(provider, answer="yes")
    assert status == 0, said
    assert provider.polls >= 2
    (token,) = provider.tokens
    tokens = cli.tokens()
    assert (tokens.access.reveal(), tokens.host) == (token.access, provider.issuer)
    assert token.scope == "openid profile offline_access"
    assert stored_credentials(cli.where)("reg.test") == (MONA, token.access)
    assert stored_credentials(cli.where)("other.test") is None
    assert "Registry: reg.test as mona" in cli.run("login")[1]
    texts = "".join(
        p.read_text(errors="replace")
        for p in cli.home.rglob("*")
        if p.is_file() and p.name != "secret-values.json"
    )
    for secret in (token.access, token.refresh):
        assert secret not in said + cli.run("secret", "ls")[1] + texts
    status, out, _ = cli.run("logout")
    assert (status, out) == (0, "✓ Signed out of reg.test\n")
    assert token.revoked
    assert read_entries(cli.where) == ()
    assert not (cli.where.config / "secret-values.json").exists()
    assert "Not signed in" in cli.run("logout")[1]


def test_a_user_who_refuses_stores_nothing(cli: Cli, provider: Provider) -> None:
    status, said = cli.by_device(provider, answer="no")
    assert status == 1
    assert "the login was refused: nothing was stored" in said
    assert read_entries(cli.where) == ()


def test_tokens_are_renewed_when_they_end(cli: Cli) -> None:
    with running_provider(life_s=60) as provider:
        cli.by_device(provider, answer="yes")
        find = stored_credentials(cli.where)
        assert find("reg.test") == (MONA, provider.tokens[1].access)
        assert provider.tokens[0].revoked
        assert cli.tokens().refresh is not None
        assert not cli.tokens().ends_within(600, time.time())
        assert find("reg.test") == (MONA, provider.tokens[1].access)
        assert len(provider.tokens) == 2


def test_a_login_that_was_ended_at_the_provider_is_told(cli: Cli) -> None:
    with running_provider(life_s=60) as provider:
        cli.by_device(provider, answer="yes")
        provider.tokens[0].revoked = True
        with pytest.raises(PermanentError, match="has ended"):
            stored_credentials(cli.where)("reg.test")


def test_a_provider_that_is_not_there_or_does_not_know_us(cli: Cli, provider: Provider) -> None:
    for args, said in (
        (("--issuer", f"{provider.issuer}/x", "--client-id", CLIENT), "no OpenID provider"),
        (("--issuer", "http://sso.test", "--client-id", CLIENT), "not an address for a login"),
        (("--issuer", provider.issuer, "--client-id", "nobody"), "refuses the login"),
        (("--issuer", provider.issuer), "login.clientId"),
        (("--issuer", "https://127.0.0.1:1", "--client-id", CLIENT), "cannot reach"),
    ):
        status, _, err = cli.run("login", "--device", *args)
        assert status == 1
        assert said in err


def test_a_stored_password_serves_pulls_and_pushes(cli: Cli, tmp_path: Path) -> None:
    kit = tmp_path / "kit"
    kit.mkdir()
    (kit / "spec.yaml").write_text('schemaVersion: "2"\nkind: mixin\nname: mine\n')
    with running_registry(tmp_path, with_password=True) as address:
        assert accepts(address, (USER, PASSWORD))
        ref = f"{address}/team/mine:1"
        assert cli.run("kit", "push", str(kit), ref)[0] == 1
        args = ("login", "--registry", address, "--username", USER, "--password-stdin")
        status, _, err = cli.run(*args, stdin="wrong")
        assert status == 1
        assert "nothing was stored" in err
        assert read_entries(cli.where) == ()
        status, _, err = cli.run(*args, stdin=PASSWORD + "\n")
        assert status == 0, err
        assert PASSWORD not in err
        status, out, err = cli.run("kit", "push", str(kit), ref)
        assert status == 0, err
        cli.run("settings", "set", "kit.allowedSources", f"{address}/")
        status, out, err = cli.run("kit", "pull", ref, "-o", str(tmp_path / "kit.tar.gz"))
        assert status == 0, err + out
        cli.run("logout", "--registry", address)
        assert cli.run("kit", "pull", ref, "-o", str(tmp_path / "again.tar.gz"))[0] == 1
