# SPDX-License-Identifier: Apache-2.0
"""Git over HTTP: the smart protocol, by Git's own CGI program, and a repository to clone."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

from tests.internet.exchange import Exchange, Headers

REPOSITORY = "demo.git"
FILE, CONTENT = "README", "cloned over the way out\n"

_ENV = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_AUTHOR_NAME": "Test",
    "GIT_AUTHOR_EMAIL": "test@site.test",
    "GIT_COMMITTER_NAME": "Test",
    "GIT_COMMITTER_EMAIL": "test@site.test",
}


def make_repository(folder: Path) -> None:
    """A bare repository of one commit that anybody may read and push to."""
    bare, work = folder / REPOSITORY, folder / "work"
    _git("init", "-q", "-b", "main", work)
    (work / FILE).write_text(CONTENT)
    _git("-C", work, "add", FILE)
    _git("-C", work, "commit", "-q", "-m", "first")
    _git("clone", "-q", "--bare", work, bare)
    _git("-C", bare, "config", "http.receivepack", "true")


def _git(*arguments: str | Path) -> None:
    subprocess.run(["git", *arguments], env=_ENV, check=True)


async def serve_git(exchange: Exchange, folder: Path, below: str = "/git") -> None:
    """Answer a request below a path by `git http-backend`."""
    headers = dict(exchange.seen.headers)
    body = await exchange.body()
    child = await asyncio.create_subprocess_exec(
        "git", "http-backend",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={
            **_ENV,
            "GIT_PROJECT_ROOT": str(folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": exchange.path.removeprefix(below),
            "QUERY_STRING": exchange.scope["query_string"].decode(),
            "REQUEST_METHOD": exchange.scope["method"],
            "CONTENT_TYPE": headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": headers.get("content-encoding", ""),
            "GIT_PROTOCOL": headers.get("git-protocol", ""),
            "REMOTE_ADDR": "somewhere",
        },
    )  # fmt: skip
    out, _ = await child.communicate(body)
    head, _, data = out.partition(b"\r\n\r\n")
    status, fields = _parse_head(head.decode("latin-1"))
    await exchange.answer(data, status, fields)


def _parse_head(text: str) -> tuple[int, Headers]:
    """Status and fields of what a CGI program says (RFC 3875, 6)."""
    status, fields = 200, Headers()
    for line in text.split("\r\n"):
        name, _, value = line.partition(": ")
        if name == "Status":
            status = int(value.partition(" ")[0])
        elif name:
            fields.append((name.lower(), value))
    return status, fields
