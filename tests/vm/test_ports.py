# SPDX-License-Identifier: Apache-2.0
"""Published ports of a real machine, over a restart."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from typing import cast

import pytest

from tests.kit.installation import Installation

NAME = "web"


def rows(sbx: Installation) -> list[dict[str, object]]:
    """What `port ls` says."""
    found = json.loads(sbx.ok("port", "ls", NAME, "--json").out)
    return cast("list[dict[str, object]]", found)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def fetch(port: object) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
        return cast("bytes", answer.read())


def serve(sbx: Installation) -> None:
    """Start a web server inside that outlives the call."""
    script = (
        "import subprocess, socket, time\n"
        "subprocess.Popen(['python3', '-m', 'http.server', '8000'], cwd='/etc/apt',\n"
        "    stdin=-3, stdout=-3, stderr=-3, start_new_session=True)\n"
        "while socket.socket().connect_ex(('192.168.127.2', 8000)): time.sleep(0.05)\n"
    )
    sbx.inside(NAME, "python3", "-c", script).ok()


def test_a_published_port_is_there_again_after_a_restart(sbx: Installation) -> None:
    fixed = free_port()
    sbx.ok("create", "--name", NAME, "-q", "--memory", "1g", "-p", f"{fixed}:8000", "shell")
    sbx.ok("run", "--name", NAME, "-d")
    serve(sbx)
    assert b"sources.list" in fetch(fixed)
    published = sbx.ok("port", "publish", NAME, "8000/tcp", "--json")
    first, second = json.loads(published.out)
    assert first["host_port"] == second["host_port"]
    assert b"sources.list" in fetch(first["host_port"])
    line = sbx.ok("ls").text.splitlines()[1]
    assert f"127.0.0.1:{fixed}->8000/tcp4" in line
    again = sbx.call("port", "publish", NAME, f"{fixed}:9")
    assert again.returncode == 1
    assert f"port 127.0.0.1:{fixed}/tcp is already published".encode() in again.err
    sbx.ok("stop", NAME)
    with pytest.raises(urllib.error.URLError, match="Connection refused"):
        fetch(fixed)
    sbx.ok("port", "publish", NAME, "8001")  # starts it
    serve(sbx)
    assert b"sources.list" in fetch(fixed)
    assert [row["sandbox_port"] for row in rows(sbx)] == [8000, 8000, 8000, 8001]
    gone = sbx.ok("port", "unpublish", NAME, "8000")
    assert gone.text.count("Unpublished") == 3
    assert [row["sandbox_port"] for row in rows(sbx)] == [8001]


def test_a_port_that_somebody_else_has_fails_the_start_with_its_name(sbx: Installation) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = sbx.call("create", "--name", NAME, "-q", "-p", f"{port}:80", "shell")
        assert done.returncode == 1
        assert f"127.0.0.1:{port}/tcp: Address already in use".encode() in done.err
    sbx.ok("run", "--name", NAME, "-d")
    assert [row["host_port"] for row in rows(sbx)] == [port]
