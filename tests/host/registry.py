# SPDX-License-Identifier: Apache-2.0
"""Debian's docker-registry on a port of loopback, with or without a password."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import threading
from collections.abc import Generator
from pathlib import Path

USER, PASSWORD = "me", "made-up"
_HTPASSWD = "me:$2b$04$PgL48HL8dXVUcOfXvef/IO5FAhyJcm/CPlCwOqR51cBPDZtfwIuXS\n"


@contextlib.contextmanager
def running_registry(folder: Path, *, with_password: bool = False) -> Generator[str]:
    """Run a registry that keeps its data in `folder`; its `host:port`."""
    lines = [
        "version: 0.1",
        "log: {level: info, accesslog: {disabled: true}}",
        f"storage: {{filesystem: {{rootdirectory: {folder / 'data'}}}}}",
        "http: {addr: '127.0.0.1:0'}",
    ]
    if with_password:
        (folder / "htpasswd").write_text(_HTPASSWD)
        lines.append(f"auth: {{htpasswd: {{realm: here, path: {folder / 'htpasswd'}}}}}")
    config = folder / "config.yml"
    config.write_text("\n".join(lines) + "\n")
    with subprocess.Popen(
        ["docker-registry", "serve", str(config)],
        env={"PATH": os.environ["PATH"]},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stderr is not None
        try:
            yield _address(child)
        finally:
            child.terminate()


def _address(child: subprocess.Popen[str]) -> str:
    """Where it listens, from its log; the rest of which is read and dropped."""
    assert child.stderr is not None
    for line in child.stderr:
        if found := re.search(r"listening on (127\.0\.0\.1:[0-9]+)", line):
            threading.Thread(target=child.stderr.read, daemon=True).start()
            return found[1]
    raise AssertionError("docker-registry ended")
