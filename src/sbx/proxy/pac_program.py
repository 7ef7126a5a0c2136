# SPDX-License-Identifier: Apache-2.0
"""The program that runs a PAC file: `python -m sbx.proxy.pac_program`, in a jail of its own.

Lines of JSON on standard input and output: first the file's text, then a question and an answer at
a time. Who started it bounds the time of each and ends it; memory is bounded here.
"""

from __future__ import annotations

import json
import resource
import sys
from importlib import import_module
from typing import Protocol, cast

_MEMORY_BYTES = 1 << 30  # address space; the interpreter itself takes a tenth of it
_FILES = 64


class _Engine(Protocol):
    """What we use of the library, which has no types."""

    def init(self) -> None: ...
    def parse_pac_string(self, text: str, /) -> None: ...
    def find_proxy(self, url: str, host: str, /) -> str | None: ...


def main() -> None:
    """Serve until standard input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, _FILES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    engine = cast("_Engine", import_module("pacparser"))  # under the limits as well
    engine.init()
    try:
        engine.parse_pac_string(cast("str", json.loads(sys.stdin.readline())))
    except Exception:  # noqa: BLE001 - the library has one of its own, and is untyped
        _say({"error": "it is not JavaScript that can be run"})
        return
    _say({})
    for line in sys.stdin:
        url, host = cast("list[str]", json.loads(line))
        try:
            _say({"answer": engine.find_proxy(url, host)})
        except Exception:  # noqa: BLE001 - the library has one of its own, and is untyped
            _say({"error": "FindProxyForURL failed"})


def _say(fields: dict[str, str | None]) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
