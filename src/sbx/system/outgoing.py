# SPDX-License-Identifier: Apache-2.0
"""By which proxy this program itself goes out: set once by the front door, asked for each request.

Apart from `fetch`, because every command says it and few fetch anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

# Of a host and a port: the URL of a proxy, empty for none, or None: as the variables say.
Choose = Callable[[str, int], str | None]


def _by_variables(_host: str, _port: int) -> str | None:
    return None


@dataclass(slots=True)
class _Way:
    choose: Choose = _by_variables


_way = _Way()


def go_out_by(choose: Choose) -> None:
    """Say how; until then the variables count (HTTPS_PROXY and others)."""
    _way.choose = choose


def proxy_for(host: str, port: int) -> str | None:
    """What the front door says of a host (raises what it raises)."""
    return _way.choose(host, port)
