# SPDX-License-Identifier: Apache-2.0
"""Debian packages as a tar archive: the call of mmdebstrap, its progress and its failures.

Only packages signed with the Debian archive's keys are taken. Nothing is mounted on the host and
nothing is left behind: an interrupted run ends its children and removes their folder.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO

from sbx.errors import HostError, PermanentError, SbxError, TransientError
from sbx.image.recipe import ARCHITECTURE, SOURCE_DATE_EPOCH, SUITE
from sbx.image.sources import archive_keyring, mirror_lines, read_sources
from sbx.system.process import base_env, describe_status, popen, run
from sbx.system.progress import Progress

_TAIL_LINES = 60
_STOP_SECONDS = 20  # mmdebstrap removes its tree on the way out
# mmdebstrap runs this on the host with the tree's path as $1; deb file names hold the versions.
_LIST_PACKAGES = 'for f in "$1"/var/cache/apt/archives/*.deb; do echo "P: ${f##*/}"; done >&2'
_UNITS = {"B": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3}
_SIZE = r"([\d.,]+) (B|kB|MB|GB)"
_NEED = re.compile(rf"Need to get {_SIZE}(?:/{_SIZE})? of archives")
_GET = re.compile(rf"Get:\d+ \S+ \S+ \S+ (\S+) \S+ \S+ \[{_SIZE}\]")
_DEB = re.compile(r"P: ([a-z0-9.+-]+)_([^_]+)_[a-z0-9]+\.deb")
_SET_UP = re.compile(r"(Unpacking|Setting up) (\S+)")


class Mode(StrEnum):
    """How mmdebstrap gets the rights it needs, see its manual page."""

    ROOT = "root"
    UNSHARE = "unshare"  # needs subordinate ids
    CHROOTLESS = "chrootless"  # enough where packages are only unpacked


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrap:
    """One tar archive to be made from packages and what they depend on."""

    what: str  # for progress and messages
    packages: tuple[str, ...]
    output: Path
    temp: Path  # where the tree is built before it is packed
    mode: Mode = Mode.CHROOTLESS
    configure: bool = False  # run the maintainer scripts; else packages are only unpacked
    setup_hooks: tuple[str, ...] = ()
    customize_hooks: tuple[str, ...] = ()

    def command(self, keyring: Path, mirrors: Sequence[str]) -> list[str]:
        """The argument list for mmdebstrap."""
        args = [
            "mmdebstrap",
            f"--mode={self.mode}",
            f"--variant={'apt' if self.configure else 'extract'}",
            "--verbose",
            "--format=tar",
            f"--architectures={ARCHITECTURE}",
            f"--keyring={keyring}",
            f"--include={','.join(self.packages)}",
            '--aptopt=APT::Install-Recommends "false"',
            '--aptopt=Acquire::Languages "none"',
            '--aptopt=Acquire::Retries "3"',
        ]
        if not self.configure:
            args.append(f"--extract-hook={_LIST_PACKAGES}")
        args += [f"--setup-hook={hook}" for hook in self.setup_hooks]
        args += [f"--customize-hook={hook}" for hook in self.customize_hooks]
        return [*args, SUITE, str(self.output), *mirrors]


def pick_mode() -> Mode:
    """The mode in which this user can run maintainer scripts.

    Raises:
        HostError: an ordinary user without subordinate ids.
    """
    if os.geteuid() == 0:
        return Mode.ROOT
    user = _user_name()
    if not (_has_range(Path("/etc/subuid"), user) and _has_range(Path("/etc/subgid"), user)):
        raise HostError(
            f"user `{user}` has no subordinate ids, which building a template needs",
            hint=f"Run: sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}",
        )
    if shutil.which("newuidmap") is None:
        raise HostError("program not found: `newuidmap`", hint="Run: sudo apt-get install uidmap")
    return Mode.UNSHARE


def bootstrap(job: Bootstrap, progress: Progress) -> dict[str, str]:
    """Make the archive; returns the versions of the packages that were only unpacked.

    Raises:
        TransientError: the mirror cannot be reached.
        HostError: a program, a key, a right or space is missing.
        PermanentError: mmdebstrap failed otherwise.
    """
    keyring = archive_keyring()
    mirrors = mirror_lines(read_sources(), suite=SUITE, keyring=keyring)
    reader = LogReader(job.what, progress)
    env = {
        **base_env(),
        **_apt_proxies(),
        "TMPDIR": str(job.temp),
        "SOURCE_DATE_EPOCH": str(SOURCE_DATE_EPOCH),
    }
    status = _follow(job.command(keyring, mirrors), env, reader)
    reader.close()
    if status != 0:
        raise explain(job.what, status, reader.tail)
    return reader.versions


class LogReader:
    """Turns mmdebstrap's log lines into progress, and keeps the versions and the last lines."""

    def __init__(self, what: str, progress: Progress) -> None:
        self.versions: dict[str, str] = {}
        self.tail: list[str] = []
        self._what = what
        self._progress = progress
        self._open = False
        self._done_bytes = 0
        self._step("ask the mirror")

    def line(self, text: str) -> None:
        """Take one line of the log."""
        if match := _DEB.fullmatch(text):
            self.versions[match[1]] = match[2].replace("%3a", ":")
            return
        self.tail = [*self.tail[-_TAIL_LINES:], text]
        if match := _NEED.search(text):
            self._done_bytes = 0
            self._step("download", total=_bytes(match[1], match[2]))
        elif match := _GET.match(text):
            self._done_bytes += _bytes(match[2], match[3])
            self._progress.advance(self._done_bytes)
            self._progress.note(match[1])
        elif text.startswith("I: extracting archives"):
            self._step("unpack")
        elif text.startswith(("I: installing essential", "I: installing remaining")):
            self._step("install")
        elif match := _SET_UP.match(text):
            self._progress.note(match[2])
        elif text.startswith("I: creating tarball"):
            self._step("pack")

    def close(self) -> None:
        """End the step that is under way."""
        if self._open:
            self._progress.end()
        self._open = False

    def _step(self, name: str, *, total: int | None = None) -> None:
        self.close()
        self._progress.begin(f"{self._what}: {name}", total=total)
        self._open = True


def explain(what: str, status: int, tail: Sequence[str]) -> SbxError:
    """The error for a failed run, from the last lines of its log."""
    text = "\n".join(tail)
    details = text[-3000:]
    if "No space left on device" in text or "not have enough free space" in text:
        return HostError(
            f"no space left while building the {what}", hint="Free some disk space, then run: sbx setup",
            details=details,
        )  # fmt: skip
    if any(sign in text for sign in ("NO_PUBKEY", "is not signed", "BADSIG", "EXPKEYSIG", "Missing key")):
        return HostError(
            f"packages for the {what} cannot be verified",
            hint="Run: sudo apt-get install --only-upgrade debian-archive-keyring",
            details=details,
        )
    if any(sign in text for sign in _NETWORK_SIGNS):
        return TransientError(
            f"cannot download packages for the {what}",
            hint="Check the network and the proxy settings, then run: sbx setup",
            details=details,
        )
    return PermanentError(
        f"building the {what} failed: `mmdebstrap` ended with {describe_status(status)}",
        hint="Run: sbx diagnose",
        details=details,
    )


_NETWORK_SIGNS = (
    "Temporary failure resolving", "Could not resolve", "Could not connect", "Unable to connect",
    "Connection timed out", "Connection failed", "Network is unreachable", "Failed to fetch",
    "Could not handshake", "connection was aborted",
)  # fmt: skip


def _follow(args: Sequence[str], env: Mapping[str, str], reader: LogReader) -> int:
    # A session of its own: an interrupt reaches us first, and we end the whole group in order.
    # (mmdebstrap itself waits for apt without end when only it is told to stop.)
    child = popen(
        args, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, new_session=True
    )  # fmt: skip
    assert child.stdout is not None
    try:
        for raw in child.stdout:
            reader.line(raw.decode(errors="replace").rstrip("\n"))
        return child.wait()
    except BaseException:
        _stop(child)
        raise
    finally:
        child.stdout.close()


def _stop(child: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            break
        assert child.stdout is not None
        _drain(child.stdout) if number is signal.SIGTERM else None
        try:
            child.wait(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        break
    child.wait()


def _drain(stream: IO[bytes]) -> None:
    """Keep the pipe from filling up, so that the ending child does not block on it."""
    os.set_blocking(stream.fileno(), False)
    while stream.read(1 << 16):
        pass


def _bytes(number: str, unit: str) -> int:
    return int(float(number.replace(",", "")) * _UNITS[unit])


def _user_name() -> str:
    import pwd  # noqa: PLC0415

    return pwd.getpwuid(os.geteuid()).pw_name


def _has_range(path: Path, user: str) -> bool:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return False
    names = (user, str(os.geteuid()))
    return any(line.split(":")[0] in names for line in lines if line.count(":") == 2)


def _apt_proxies() -> dict[str, str]:
    """The proxies of the host's apt, which mmdebstrap's apt does not read, where none is set."""
    found: dict[str, str] = {}
    for scheme in ("http", "https"):
        if f"{scheme}_proxy" in os.environ or shutil.which("apt-config") is None:
            continue
        done = run(["apt-config", "dump", "--format", "%v%n", f"Acquire::{scheme}::Proxy"], check=False)
        value = done.stdout.decode(errors="replace").strip()
        if value and value != "DIRECT":
            found[f"{scheme}_proxy"] = value
    return found
