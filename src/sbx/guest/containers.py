# SPDX-License-Identifier: Apache-2.0
"""Containers trust whom the sandbox trusts: what stands between the engine and its `runc`.

Where a credential is bound, the way out speaks with the host's own authority (docs/credentials.md),
which an image does not know. A file in the image itself would end up in what is built from it, so
each container gets the sandbox's list as a mount in its /dev, which is a tmpfs of its own, and the
variables that name it; the image's own variables, and the user's, win. Runs inside the sandbox.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from .files import replace_file
from .trust import BUNDLE

_FOLDER = "/run/opensbx"
_TARGET = "/dev/.opensbx-ca.crt"

# runc's specification is one line of compact JSON (containerd and BuildKit write it): inside of a
# text each quote has a backslash before it, so these patterns match keys only. Of two variables
# with one name the later one counts.
_SCRIPT = """\
#!/bin/sh
# Made by opensbx at each start of the engine (docs/docker.md): containers get the sandbox's list of
# authorities.
PATH={path}
verb= bundle=. process= before= id=
for word; do
    case $before in
        -b | --bundle) bundle=$word ;;
        -p | --process) process=$word ;;
    esac
    case $word in
        create | run | exec | delete) verb=${{verb:-$word}} ;;
    esac
    before=$word id=$word
done
mark={folder}/trusting/$id
case $verb in
    create | run)
        if grep -q '{device}' "$bundle/config.json"; then
            sed -i -e 's|{device}[^}}]*}}|&,{mount}|' -e 's|"env":\\[|&{env}|' "$bundle/config.json"
            if [ "$verb" = create ]; then : >"$mark"; fi
        fi
        ;;
    exec)
        if [ -f "$mark" ] && [ -f "$process" ]; then sed -i -e 's|"env":\\[|&{env}|' "$process"; fi
        ;;
    delete) rm -f "$mark" ;;
esac
exec runc "$@"
"""


def prepare_runtime(env: Mapping[str, str], path: str) -> str:
    """Make the program and return the search path by which the engine finds it as `runc`.

    `env` is what commands in the sandbox find: its variables that name the list are passed on.
    """
    names = sorted(name for name, value in env.items() if value == BUNDLE)
    if not names:
        return path
    os.makedirs(f"{_FOLDER}/trusting", mode=0o755, exist_ok=True)
    replace_file(f"{_FOLDER}/runc", script(names, path), 0o755)
    return f"{_FOLDER}:{path}"


def script(names: list[str], path: str) -> str:
    """The program, for these variables and the real search path."""
    mount = {
        "destination": _TARGET,
        "type": "bind",
        "source": BUNDLE,
        "options": ["bind", "ro", "nosuid", "nodev", "noexec"],
    }
    return _SCRIPT.format(
        path=path,
        folder=_FOLDER,
        device='{"destination":"/dev","type":"tmpfs"',
        mount=json.dumps(mount, separators=(",", ":")),
        env="".join(f'"{name}={_TARGET}",' for name in names),
    )
