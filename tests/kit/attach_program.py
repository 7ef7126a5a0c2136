# SPDX-License-Identifier: Apache-2.0
"""`attach` on this process's own streams, against a guest server: run with `PORT KIND KEYS ARG...`.

KIND is `tty` or `pipes`. Only where the socket comes from is ours: the rest is the command line.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Generator
from dataclasses import dataclass
from socket import socket

from sbx.agent.detach_keys import parse_detach_keys
from sbx.cli import attach, engine
from sbx.cli.app import App
from sbx.cli.main import guarded
from tests.kit.guest import Guest


@dataclass(frozen=True, slots=True)
class Lease:
    """In the place of a supervisor's."""

    sock: socket
    watch: int | None = None


def main(port: str, kind: str, keys: str, *argv: str) -> int:
    """Run a command and return what `sbx exec` would."""

    @contextlib.contextmanager
    def session(_app: App, _name: str) -> Generator[Lease]:
        with Guest(port=int(port), pid=0).connect() as sock:
            yield Lease(sock)

    engine.session = session  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    wanted = attach.Wanted(argv=argv, env={}, tty=kind == "tty", keys=parse_detach_keys(keys))
    app = App()

    def run() -> int:
        ended = attach.attach(app, "box", wanted)
        print("detached" if ended.detached else "ended", file=sys.stderr)  # noqa: T201 - told to the test
        return ended.status

    return guarded(app, run)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
