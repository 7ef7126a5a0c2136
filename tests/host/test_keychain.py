# SPDX-License-Identifier: Apache-2.0
"""Secrets in a real keychain: gnome-keyring, in a D-Bus session of its own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.installation import Installation

KEY = "sk-canary-0123456789abcdefghijklmnopqr"


@pytest.fixture(name="home")
def _home(tmp_path: Path) -> Iterator[Installation]:
    """An installation in a session that has an unlocked keychain."""
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    home = Installation(home=tmp_path, runtime=runtime, cache=tmp_path / "cache")
    home.extra_env["XDG_DATA_HOME"] = str(tmp_path / "data")
    with subprocess.Popen(
        ["dbus-daemon", "--session", "--print-address=1", "--nofork", "--nopidfile",
         f"--address=unix:path={tmp_path}/bus"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=home.env(),
    ) as bus:  # fmt: skip
        assert bus.stdout is not None
        home.extra_env["DBUS_SESSION_BUS_ADDRESS"] = bus.stdout.readline().decode().strip()
        # Returns when the service is there; it ends with its bus.
        subprocess.run(
            ["gnome-keyring-daemon", "--unlock", "--components=secrets", "--daemonize"],
            input=b"password", stdout=subprocess.DEVNULL, env=home.env(), check=True, timeout=20,
        )  # fmt: skip
        try:
            yield home
        finally:
            bus.terminate()


def test_values_are_in_the_keychain_and_nowhere_else(home: Installation, tmp_path: Path) -> None:
    done = home.ok("secret", "set", "openai", stdin=KEY.encode())
    assert b"no keychain" not in done.err
    (row,) = json.loads(home.ok("secret", "ls", "--json").out)["secrets"]
    assert row["secret"] == "sk-canary****...****opqr"
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert any(p.suffix == ".keyring" for p in files)
    assert [p for p in files if KEY.encode() in p.read_bytes()] == []
    assert _lookup(home) == KEY.encode()
    home.ok("secret", "rm", "openai", "-f")
    assert _lookup(home) == b""


def test_a_keychain_that_is_gone_is_said_and_the_secret_can_be_removed(home: Installation) -> None:
    home.ok("secret", "set", "openai", stdin=KEY.encode())
    del home.extra_env["DBUS_SESSION_BUS_ADDRESS"]
    done = home.ok("secret", "rm", "openai", "-f")
    assert b"the keychain still holds the value of openai" in done.err


def _lookup(home: Installation) -> bytes:
    """What the keychain has of us, asked by its own interface."""
    program = (
        "import secretstorage\n"
        "bus = secretstorage.dbus_init()\n"
        "for item in secretstorage.get_default_collection(bus).search_items("
        "{'service': 'opensbx'}):\n"
        "    print(item.get_secret().decode(), end='')\n"
    )
    python = home.command()[0]
    return subprocess.run(
        [python, "-c", program], env=home.env(), stdout=subprocess.PIPE, check=True, timeout=20
    ).stdout
