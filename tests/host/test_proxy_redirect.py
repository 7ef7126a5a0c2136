# SPDX-License-Identifier: Apache-2.0
"""The original destination, from a real redirect of the kernel in a namespace of its own."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

import sbx
from sbx.system.process import run

# A connection to a stand-in address is redirected to a listener, which asks where it was going.
PROGRAM = """
import socket
from sbx.proxy.transparent import original_destination
listener = socket.create_server(("0.0.0.0", 3129))
client = socket.create_connection(("198.18.7.9", 2222))
accepted, _ = listener.accept()
print(*original_destination(accepted))
direct = socket.create_connection(("127.0.0.1", 3129))
accepted, _ = listener.accept()
try:
    print(*original_destination(accepted))
except OSError as error:
    print("not redirected")
"""
SETUP = """
set -e
ip link set lo up
ip address add 198.18.0.1/15 dev lo
nft -f - <<'RULES'
table ip redirected {
    chain output {
        type nat hook output priority -100
        ip daddr 198.18.0.0/15 tcp dport 1-65535 redirect to :3129
    }
}
RULES
exec "$@"
"""


def test_the_kernel_tells_where_a_redirected_connection_was_going() -> None:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    if shutil.which("nft", path=path) is None:
        pytest.skip("nft is not installed")
    result = run(
        ["unshare", "--user", "--map-root-user", "--net", "bash", "-c", SETUP, "bash",
         sys.executable, "-c", PROGRAM],
        env={"PATH": path, "PYTHONPATH": str(Path(sbx.__file__).parents[1])},
    )  # fmt: skip
    first, second = result.stdout.decode().splitlines()
    assert first == "198.18.7.9 2222"
    assert second in ("not redirected", "127.0.0.1 3129")
