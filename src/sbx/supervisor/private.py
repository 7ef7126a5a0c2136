# SPDX-License-Identifier: Apache-2.0
"""Private folders of a workspace (`--private node_modules`): on the sandbox's own disk.

The host's folder beneath is covered in the file server's jail (sbx.workspace.shields), so that
nothing of it is seen or written, whatever guest root does to the mount that is made here.
"""

from __future__ import annotations

from sbx.sandbox.spec import SandboxSpec
from sbx.supervisor.guest_command import OpenSession, must

_VOLUMES = "/var/lib/sbx/private"
# Run as root at each start. usage: sh -c SCRIPT sh USER VOLUME TARGET
_SCRIPT = """set -eu
if [ ! -d "$2" ]; then mkdir -p "$2"; chown "$1:" "$2"; fi
mount --bind "$2" "$3"
"""


async def mount_private(spec: SandboxSpec, open_session: OpenSession) -> None:
    """Mount the volumes over their places.

    Raises:
        SbxError: the template has no mount(8), or the disk is full.
    """
    for number, path in enumerate(spec.private_paths):
        target = spec.mounts[0].target / path
        volume = f"{_VOLUMES}/{number}"
        argv = ["sh", "-c", _SCRIPT, "sh", spec.user, volume, str(target)]
        await must(open_session, argv, user="0")
