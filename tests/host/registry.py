# SPDX-License-Identifier: Apache-2.0
"""Debian's docker-registry on loopback or in the test internet, open or with a password."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import threading
from collections.abc import Generator, Sequence
from pathlib import Path

USER, PASSWORD = "me", "made-up"
_HTPASSWD = "me:$2b$04$PgL48HL8dXVUcOfXvef/IO5FAhyJcm/CPlCwOqR51cBPDZtfwIuXS\n"


@contextlib.contextmanager
def running_registry(
    folder: Path,
    *,
    with_password: bool = False,
    enter: Sequence[str] = (),
    listen: str = "127.0.0.1:0",
    certificate: Path | None = None,
) -> Generator[str]:
    """Run a registry that keeps its data in `folder`; its `host:port`.

    `enter` stands before the command (`Internet.enter`); with a certificate and key it speaks TLS.
    """
    tls = f", tls: {{certificate: {certificate}, key: {certificate}}}" if certificate else ""
    lines = [
        "version: 0.1",
        "log: {level: info, accesslog: {disabled: true}}",
        f"storage: {{filesystem: {{rootdirectory: {folder / 'data'}}}}}",
        f"http: {{addr: '{listen}'{tls}}}",
    ]
    if with_password:
        (folder / "htpasswd").write_text(_HTPASSWD)
        lines.append(f"auth: {{htpasswd: {{realm: here, path: {folder / 'htpasswd'}}}}}")
    config = folder / "config.yml"
    config.write_text("\n".join(lines) + "\n")
    with subprocess.Popen(
        [*enter, "docker-registry", "serve", str(config)],
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
        if found := re.search(r"listening on ([0-9.]+:[0-9]+)", line):
            threading.Thread(target=child.stderr.read, daemon=True).start()
            return found[1]
    raise AssertionError("docker-registry ended")
