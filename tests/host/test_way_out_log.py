# SPDX-License-Identifier: Apache-2.0
"""The way out with its recorder: what passes and what is blocked is in the log, and asked about."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sbx.network.link import open_network
from sbx.policy.presets import Preset
from sbx.store.approvals import pending
from sbx.store.audit import Entry, log_of
from sbx.store.audit_reader import records, verify
from sbx.store.paths import Paths
from sbx.store.rules import init_policy
from sbx.supervisor.events import Events
from sbx.supervisor.recorder import Recorder
from sbx.supervisor.way_out import open_way_out
from tests.host.test_way_out import guest
from tests.unit.policy.factories import rule
from tests.unit.proxy.proxies import hello_web, server

ID = "0" * 36
PROGRAM = """
connect = b"CONNECT unlisted.example:443 HTTP/1.1\\r\\nHost: unlisted.example:443\\r\\n\\r\\n"
say(exchange("192.168.127.1", 3128, connect).decode().replace("\\n", "|"))
say(lookup("looked-up.example"))
say(web("192.168.127.1", %d, "host.docker.internal:%d"))
"""


@pytest.fixture(name="where")
def _where(tmp_path: Path) -> Paths:
    base = tmp_path
    return Paths(state=base / "s", config=base / "c", cache=base / "k", runtime=base / "r")


def entries(where: Paths) -> list[Entry]:
    return [one.entry for one in records(log_of(where, "box", ID)) if one.entry]


def test_what_passes_and_what_is_blocked_is_logged_and_asked_about(
    where: Paths, tmp_path: Path
) -> None:
    async def main() -> None:
        async with server(hello_web) as port:
            init_policy(where, Preset.DENY_ALL, (rule(f"allow localhost:{port}"),))
            recorder = Recorder(where, "box", ID, Events(tmp_path / "events", None), approvals=True)
            try:
                async with (
                    open_network() as network,
                    open_way_out(
                        where, "box", network.listeners, recorder, approvals=True
                    ),
                    guest(network, PROGRAM % (port, port)) as line,
                ):  # fmt: skip
                    answer = await line()
                    assert "Approval required for unlisted.example:443." in answer
                    assert "sbx policy approval ls" in answer
                    assert await line() == "rcode 3"
                    assert await line() == "HTTP/1.1 200 OK"
            finally:
                await recorder.close()
            blocked, looked_up, passed = entries(where)
            assert (blocked.host, blocked.port, blocked.allowed) == ("unlisted.example", 443, False)
            assert (blocked.proxy, blocked.deny_kind) == ("forward-bypass", "default")
            assert (looked_up.host, looked_up.kind) == ("looked-up.example", "dns")
            assert (passed.host, passed.port, passed.allowed) == ("localhost", port, True)
            assert (passed.proxy, passed.method) == ("transparent", "GET")
            assert passed.rule == f"allow localhost:{port}"
            assert passed.received_bytes > 0

    asyncio.run(main())
    assert verify(log_of(where, "box", ID)).problems == []
    asked = [one.resource for one in pending(where)]
    assert asked == ["unlisted.example:443", "looked-up.example"]


def test_a_log_on_a_full_disk_does_not_change_what_is_decided(tmp_path: Path) -> None:
    """A real disk that is full, of 64 KiB; the guest is answered, and the gap is told later."""
    if os.geteuid() != 0:
        pytest.skip("needs root: mounts a small disk")
    program = [sys.executable, "-m", "tests.kit.full_disk_log", str(tmp_path)]
    env = {"PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/usr/sbin:/bin:/sbin"}
    done = subprocess.run(
        ["unshare", "--mount", *program], env=env, capture_output=True, check=True, text=True
    )
    said = json.loads(done.stdout)
    assert said == {
        "problem": "No space left on device",
        "problem_later": None,
        "logged": True,
        "lost": True,
        "problems": 0,
    }
