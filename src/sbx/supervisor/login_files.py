# SPDX-License-Identifier: Apache-2.0
"""The files in which agents keep their logins, written inside with stand-ins where there are none.

An agent that finds its file is logged in. One that is there already is the agent's own business:
it holds stand-ins as well, unless the user put something else there.
"""

from __future__ import annotations

import logging

from sbx.errors import SbxError
from sbx.supervisor.guest_command import OpenSession, must
from sbx.supervisor.way_out import WayOut

log = logging.getLogger(__name__)

_SCRIPT = """
file=$HOME/$1
[ ! -e "$file" ] || exit 0
umask 077
mkdir -p -- "${file%/*}"
printf %s "$2" >"$file.sbx"
mv -f -- "$file.sbx" "$file"
"""


async def write_login_files(way_out: WayOut, open_session: OpenSession, user: str) -> None:
    """Write those that are missing. That it fails is no reason to stop: one can log in inside."""
    for path, text in (await way_out.login_files()).items():
        try:
            await must(open_session, ("sh", "-euc", _SCRIPT, "sh", path, text), user=user)
        except SbxError as error:
            log.warning("no login file inside: %s (%s)", error.message, error.details)
