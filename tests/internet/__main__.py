# SPDX-License-Identifier: Apache-2.0
"""`python -m tests.internet serve FOLDER` is what `open_internet` starts in fresh namespaces.

`python -m tests.internet COMMAND...` runs a command, such as a shell, in an internet of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from pathlib import Path

from tests.internet.client import READY, open_internet


async def _serve(folder: Path) -> None:
    """Serve until standard input ends, as it does when whoever started us is gone."""
    # Only the process that serves needs these; the tests themselves do not.
    from tests.internet.certificates import Authority
    from tests.internet.control import Control
    from tests.internet.facts import PUBLIC_RESOLVER, RESOLVER
    from tests.internet.git import make_repository
    from tests.internet.log import Gates, Log
    from tests.internet.names import NameServer, Table
    from tests.internet.packets import Sniffer
    from tests.internet.place import prepare
    from tests.internet.raw import Raw
    from tests.internet.web import Web, start_web

    for name in ("files", "git", "tls"):
        (folder / name).mkdir()
    authority = Authority(folder / "tls")
    link = prepare(folder, authority.certificate)
    make_repository(folder / "git")
    table, log, gates, sniffer = Table(), Log(), Gates(), Sniffer()
    context = authority.server_context()
    raw = Raw(log, gates, context)
    sniffer.start(link)
    for address in (RESOLVER, PUBLIC_RESOLVER):
        await NameServer(address, table, log).start()
    await raw.start()
    served = Web(log, gates, folder)
    web = await start_web(served, context)
    control = Control(
        authority=authority,
        table=table,
        log=log,
        gates=gates,
        raw=raw,
        sniffer=sniffer,
        script=served.script,
    )
    await control.start(folder / "control")
    sys.stdout.write(READY)
    sys.stdout.close()
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    done, _ = await asyncio.wait({web, ended}, return_when=asyncio.FIRST_COMPLETED)
    web.cancel()
    # OSError: a client that is cut off in the middle of its words
    with contextlib.suppress(asyncio.CancelledError, OSError):
        await web
    assert ended in done, "the web server ended"


def main(argv: list[str]) -> int:
    match argv:
        case [_, "serve", folder]:
            asyncio.run(_serve(Path(folder)))
            return 0
        case [_, *command] if command:
            with open_internet() as internet:
                return subprocess.run(
                    [*internet.enter(Path.cwd()), *command], check=False
                ).returncode
        case _:
            sys.stderr.write(__doc__ or "")
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv))
