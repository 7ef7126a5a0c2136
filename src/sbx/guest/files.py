# SPDX-License-Identifier: Apache-2.0
"""Files that the agent writes into the sandbox's root: folders, names, the user `agent`.

Runs inside the sandbox's root, before anything else runs there. What an earlier run left in the way
(a symbolic link instead of a folder, a folder instead of a file) is replaced, not followed.
"""

from __future__ import annotations

import os
import stat

AGENT = "agent"
AGENT_ID = 1000
AGENT_HOME = "/home/agent"
GATEWAY_NAMES = "gateway.docker.internal host.docker.internal"
_LIMIT_BYTES = 1 << 20


def real_folder(path: str, mode: int = 0o755) -> None:
    """Make sure that `path` itself is a folder; its parent must be one."""
    try:
        if stat.S_ISDIR(os.lstat(path).st_mode):
            return
        os.unlink(path)
    except FileNotFoundError:
        pass
    os.mkdir(path, mode)


def make_folders(path: str) -> None:
    """Make `path` and its parents; new ones below the agent's home belong to it, others to root."""
    done = ""
    for part in path.strip("/").split("/"):
        done = f"{done}/{part}"
        try:
            os.mkdir(done, 0o755)
        except FileExistsError:
            continue
        if f"{done}/".startswith(f"{AGENT_HOME}/"):
            os.chown(done, AGENT_ID, AGENT_ID)


def make_target(path: str, *, is_file: bool) -> None:
    """Make the place for a mount: a folder or an empty file, whichever is not there yet."""
    _open_way(path)
    if not is_file:
        make_folders(path)
        return
    make_folders(path.rpartition("/")[0] or "/")
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
    except FileExistsError:
        return


def _open_way(path: str) -> None:
    """Let everybody pass through the folders above a mount, as far as they are the sandbox's own.

    The host's root works in /root, which templates close to other users, `agent` among them.
    """
    own = os.stat("/").st_dev
    above = path.rpartition("/")[0]
    while above:
        try:
            found = os.stat(above)
        except FileNotFoundError:
            pass
        else:
            if found.st_dev == own and found.st_mode & 0o111 != 0o111:
                os.chmod(above, stat.S_IMODE(found.st_mode) | 0o111)  # noqa: S103 - to pass, not to list
        above = above.rpartition("/")[0]


def replace_file(path: str, text: str, mode: int = 0o644) -> None:
    """Put a file at `path` in one step, whatever was there (a folder is set aside)."""
    temp = f"{path}.sbx-new"
    try:
        os.unlink(temp)
    except FileNotFoundError:
        pass
    fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        os.fchmod(fd, mode)
        os.write(fd, text.encode("utf-8", "surrogateescape"))
    finally:
        os.close(fd)
    try:
        os.rename(temp, path)
    except IsADirectoryError:
        os.rename(path, f"{path}.sbx-old")
        os.rename(temp, path)


def write_identity(*, hostname: str, machine_id: str, gateway: str | None) -> None:
    """Write the files that make this sandbox itself: names, addresses of names, machine id."""
    real_folder("/etc")
    replace_file("/etc/hostname", f"{hostname}\n")
    replace_file("/etc/machine-id", f"{machine_id}\n", 0o444)
    hosts = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    hosts.append(f"127.0.1.1\t{hostname}")
    if gateway is not None:
        hosts.append(f"{gateway}\t{GATEWAY_NAMES}")
        replace_file("/etc/resolv.conf", f"nameserver {gateway}\n")
    replace_file("/etc/hosts", "\n".join(hosts) + "\n")


def ensure_agent() -> None:
    """Make the user `agent` with its home if the template has none."""
    rows = _read("/etc/passwd")
    if not _has_row(rows, AGENT):
        start = rows or "root:x:0:0:root:/root:/bin/sh\n"
        shell = "/bin/bash" if os.path.exists("/bin/bash") else "/bin/sh"
        row = f"{AGENT}:x:{AGENT_ID}:{AGENT_ID}:{AGENT}:{AGENT_HOME}:{shell}\n"
        replace_file("/etc/passwd", _with_newline(start) + row)
        groups = _read("/etc/group") or "root:x:0:\n"
        if not _has_row(groups, AGENT):
            replace_file("/etc/group", _with_newline(groups) + f"{AGENT}:x:{AGENT_ID}:\n")
        shadow = _read("/etc/shadow")
        if shadow and not _has_row(shadow, AGENT):
            replace_file("/etc/shadow", f"{_with_newline(shadow)}{AGENT}:*:::::::\n", 0o640)
    if not os.path.isdir(AGENT_HOME):
        real_folder("/home")
        real_folder(AGENT_HOME)
        os.chown(AGENT_HOME, AGENT_ID, AGENT_ID)


def _has_row(text: str, name: str) -> bool:
    return any(line.startswith(f"{name}:") for line in text.splitlines())


def _with_newline(text: str) -> str:
    return text if text.endswith("\n") else f"{text}\n"


def _read(path: str) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        return os.read(fd, _LIMIT_BYTES).decode("utf-8", "surrogateescape")
    except OSError:
        return ""
    finally:
        os.close(fd)
