# SPDX-License-Identifier: Apache-2.0
"""Debian packages as a tar archive: the call of mmdebstrap, its progress and its failures.

Only packages signed with the Debian archive's keys are taken. Nothing is mounted on the host and
nothing is left behind: an interrupted run ends its children and removes their folder.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sbx.errors import HostError, PermanentError, SbxError, TransientError
from sbx.image.recipe import ARCHITECTURE, SOURCE_DATE_EPOCH, SUITE
from sbx.image.sources import archive_keyring, mirror_lines, read_sources
from sbx.system.process import CommandError, base_env, describe_status, run, run_lines
from sbx.system.progress import Progress

_TAIL_LINES = 60
_IDS = "100000-165535"
# mmdebstrap runs this on the host with the tree's path as $1; deb file names hold the versions.
_LIST_PACKAGES = 'for f in "$1"/var/cache/apt/archives/*.deb; do echo "P: ${f##*/}"; done >&2'
_UNITS = {"B": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3}
_SIZE = r"([\d.,]+) (B|kB|MB|GB)"
_NEED = re.compile(rf"Need to get {_SIZE}(?:/{_SIZE})? of archives")
_GET = re.compile(rf"Get:\d+ \S+ \S+ \S+ (\S+) \S+ \S+ \[{_SIZE}\]")
_DEB = re.compile(r"P: ([a-z0-9.+-]+)_([^_]+)_[a-z0-9]+\.deb")
_COUNT = re.compile(r"\d+ upgraded, (\d+) newly installed")
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
    epoch: int = SOURCE_DATE_EPOCH  # file times after it become it
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
    if not has_subordinate_ids(user, os.geteuid()):
        raise HostError(
            f"user `{user}` has no subordinate ids, which building a template needs",
            hint=f"Run: sudo usermod --add-subuids {_IDS} --add-subgids {_IDS} {user}",
        )
    if shutil.which("newuidmap") is None:
        raise HostError("program not found: `newuidmap`", hint="Run: sudo apt-get install uidmap")
    return Mode.UNSHARE


def has_subordinate_ids(user: str, uid: int, etc: Path = Path("/etc")) -> bool:
    """Whether the user has ranges of user and group ids, see subuid(5)."""
    return all(_has_range(etc / name, (user, str(uid))) for name in ("subuid", "subgid"))


def _has_range(path: Path, owners: tuple[str, str]) -> bool:
    try:
        lines = [line.split(":") for line in path.read_text().splitlines()]
    except OSError:
        return False
    # The system that is unpacked has ids up to 65534.
    return any(
        len(parts) == 3 and parts[0] in owners and parts[2].isdecimal() and int(parts[2]) > 65534
        for parts in lines
    )


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
        "SOURCE_DATE_EPOCH": str(job.epoch),
    }
    try:
        run_lines(job.command(keyring, mirrors), reader.line, env=env)
    except CommandError as error:
        raise explain(job.what, error.returncode, reader.tail) from error
    finally:
        reader.close()
    return reader.versions


class LogReader:
    """Turns mmdebstrap's log lines into progress, and keeps the versions and the last lines."""

    def __init__(self, what: str, progress: Progress) -> None:
        self.versions: dict[str, str] = {}
        self.tail: list[str] = []
        self._what = what
        self._progress = progress
        self._open = False
        self._done = 0
        self._steps: int | None = None
        self._installing = False
        self._step("ask the mirror")

    def line(self, text: str) -> None:
        """Take one line of the log."""
        if match := _DEB.fullmatch(text):
            self.versions[match[1]] = match[2].replace("%3a", ":")
            return
        self.tail = [*self.tail[-_TAIL_LINES:], text]
        if match := _NEED.search(text):
            self._done = 0
            self._step("download", total=_bytes(match[1], match[2]))
        elif match := _GET.match(text):
            self._done += _bytes(match[2], match[3])
            self._progress.advance(self._done)
            self._progress.note(match[1])
        elif text.startswith("I: extracting archives"):
            self._step("unpack")
        elif text.startswith("I: installing essential"):
            self._install()
        elif match := _COUNT.match(text):
            self._steps = 2 * int(match[1])  # each is unpacked and set up
        elif text.startswith("Fetched ") and self._installing and self._steps:
            self._install()
            self._steps = None
        elif match := _SET_UP.match(text):
            self._installing = True
            self._done += 1
            self._progress.advance(self._done)
            self._progress.note(match[2])
        elif text.startswith("I: running --customize-hook"):
            self._step("set up")
        elif text.startswith("I: creating tarball"):
            self._step("pack")

    def close(self) -> None:
        """End the step that is under way."""
        if self._open:
            self._progress.end()
        self._open = False

    def _install(self) -> None:
        self._done = 0
        self._installing = True
        self._step("install", total=self._steps)

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
            f"no space left while building the {what}",
            hint="Free some disk space, then run: sbx setup",
            details=details,
        )
    if any(sign in text for sign in _KEY_SIGNS):
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


_KEY_SIGNS = ("NO_PUBKEY", "is not signed", "BADSIG", "EXPKEYSIG", "Missing key")
_NETWORK_SIGNS = (
    "Temporary failure resolving", "Could not resolve", "Could not connect", "Unable to connect",
    "Connection timed out", "Connection failed", "Network is unreachable", "Failed to fetch",
    "Could not handshake", "connection was aborted",
)  # fmt: skip


def _bytes(number: str, unit: str) -> int:
    return int(float(number.replace(",", "")) * _UNITS[unit])


def _user_name() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def _apt_proxies() -> dict[str, str]:
    """The proxies of the host's apt, which mmdebstrap's apt does not read, where none is set."""
    found: dict[str, str] = {}
    for scheme in ("http", "https"):
        if f"{scheme}_proxy" in os.environ or shutil.which("apt-config") is None:
            continue
        option = f"Acquire::{scheme}::Proxy"
        done = run(["apt-config", "dump", "--format", "%v%n", option], check=False)
        value = done.stdout.decode(errors="replace").strip()
        if value and value != "DIRECT":
            found[f"{scheme}_proxy"] = value
    return found
