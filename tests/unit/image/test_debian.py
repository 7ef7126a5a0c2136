# SPDX-License-Identifier: Apache-2.0
"""mmdebstrap: its arguments, its log as progress and versions, its failures as errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbx.errors import HostError, PermanentError, SbxError, TransientError
from sbx.image.debian import Bootstrap, LogReader, Mode, explain, has_subordinate_ids

LOG = """\
I: running apt-get update...
0 upgraded, 2 newly installed, 0 to remove and 0 not upgraded.
Need to get 87.1 MB of archives.
Get:1 http://mirror.example/debian trixie/main amd64 libc6 amd64 2.41-12 [2850 kB]
Get:2 http://mirror.example/debian trixie/main amd64 e2fsprogs amd64 1.47.2-3+b12 [600 B]
Fetched 87.1 MB in 0s (197 MB/s)
I: extracting archives...
P: libc6_2.41-12_amd64.deb
P: busybox-static_1%3a1.37.0-6+b9_amd64.deb
P: dpkg-odd~name.deb
I: creating tarball..."""
CONFIGURED = """\
0 upgraded, 2 newly installed, 0 to remove and 0 not upgraded.
Need to get 1,024 kB of archives.
I: installing essential packages...
Unpacking libc6:amd64 (2.41-12) ...
Setting up libc6:amd64 (2.41-12) ...
0 upgraded, 3 newly installed, 0 to remove and 0 not upgraded.
Need to get 2 MB of archives.
Fetched 2 MB in 0s
Unpacking git (1:2.47) ...
Setting up git (1:2.47) ...
I: running --customize-hook in shell: sh -c 'set -eu
I: creating tarball..."""


class Recorder:
    """A progress listener that remembers."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, int | None]] = []
        self.advances: list[int] = []
        self.notes: list[str] = []
        self.open = 0

    def begin(self, what: str, *, total: int | None = None) -> None:
        self.steps.append((what, total))
        self.open += 1

    def advance(self, done: int) -> None:
        self.advances.append(done)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def end(self) -> None:
        self.open -= 1


def read(text: str) -> tuple[Recorder, LogReader]:
    progress = Recorder()
    reader = LogReader("bundle", progress)
    for line in text.splitlines():
        reader.line(line)
        assert progress.open == 1
    reader.close()
    reader.close()
    assert progress.open == 0
    return progress, reader


def test_versions_are_read_from_package_files() -> None:
    assert read(LOG)[1].versions == {"libc6": "2.41-12", "busybox-static": "1:1.37.0-6+b9"}


def test_log_becomes_steps() -> None:
    progress = read(LOG)[0]
    assert progress.steps == [
        ("bundle: ask the mirror", None),
        ("bundle: download", 87_100_000),
        ("bundle: unpack", None),
        ("bundle: pack", None),
    ]
    assert progress.advances == [2_850_000, 2_850_600]
    assert progress.notes == ["libc6", "e2fsprogs"]


def test_installing_is_counted_per_package() -> None:
    progress = read(CONFIGURED)[0]
    assert progress.steps == [
        ("bundle: ask the mirror", None),
        ("bundle: download", 1_024_000),
        ("bundle: install", 4),
        ("bundle: download", 2_000_000),
        ("bundle: install", 6),
        ("bundle: set up", None),
        ("bundle: pack", None),
    ]
    assert progress.advances == [1, 2, 1, 2]


@pytest.mark.parametrize(
    ("line", "kind", "hint"),
    [
        ("Temporary failure resolving 'mirror.example'", TransientError, "network"),
        ("Could not connect to mirror.example:80", TransientError, "network"),
        ("E: Failed to fetch http://mirror.example/x  404  Not Found", TransientError, "network"),
        ("tar: write error: No space left on device", HostError, "disk space"),
        ("E: The repository 'http://x trixie InRelease' is not signed.", HostError, "keyring"),
        ("GPG error: http://x: NO_PUBKEY 0123456789", HostError, "keyring"),
        ("something else", PermanentError, "diagnose"),
    ],
)
def test_failures_are_told_apart(line: str, kind: type[SbxError], hint: str) -> None:
    error = explain("bundle", 25, ["before", line, "E: mmdebstrap failed to run"])
    assert type(error) is kind
    assert hint in (error.hint or "")
    assert line in (error.details or "")
    assert "bundle" in error.message


def test_arguments() -> None:
    job = Bootstrap(
        what="x",
        packages=("a", "b"),
        output=Path("/out.tar"),
        temp=Path("/temp"),
        mode=Mode.UNSHARE,
    )
    args = job.command(Path("/keys"), ["deb http://mirror.example/debian trixie main"])
    assert args[0] == "mmdebstrap"
    assert {"--mode=unshare", "--variant=extract", "--keyring=/keys", "--include=a,b"} <= set(args)
    assert args[-3:] == ["trixie", "/out.tar", "deb http://mirror.example/debian trixie main"]


def test_unsigned_packages_are_never_allowed() -> None:
    job = Bootstrap(what="x", packages=("a",), output=Path("/o"), temp=Path("/t"), configure=True)
    text = " ".join(job.command(Path("/keys"), [])).lower()
    assert not any(
        word in text for word in ("trusted=yes", "allow-insecure", "allowunauthenticated")
    )


@pytest.mark.parametrize(
    ("subuid", "subgid", "found"),
    [
        ("dev:100000:65536\n", "root:1:1\ndev:100000:65536\n", True),
        ("1001:100000:65536\n", "1001:100000:65536\n", True),
        ("dev:100000:65536\n", "developer:100000:65536\n", False),
        ("dev:100000:65536\n", "dev:100000:1000\n", False),
        ("dev:100000\n", "dev:100000:many\n", False),
        ("dev:100000:65536\n", None, False),
    ],
)
def test_subordinate_ids(tmp_path: Path, subuid: str, subgid: str | None, found: bool) -> None:
    (tmp_path / "subuid").write_text(subuid)
    if subgid is not None:
        (tmp_path / "subgid").write_text(subgid)
    assert has_subordinate_ids("dev", 1001, tmp_path) is found
