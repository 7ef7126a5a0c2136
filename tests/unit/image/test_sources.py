# SPDX-License-Identifier: Apache-2.0
"""The host's Debian mirror: from apt's own files, and from nothing that only looks like it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbx.errors import HostError
from sbx.image.sources import archive_keyring, mirror_lines, read_sources

KEYRING = Path("/keys.gpg")
SIGNED = "/usr/share/keyrings/debian-archive-keyring.gpg"
OWN = "http://mirror.corp.example/debian"
OWN_SECURITY = "http://mirror.corp.example/debian-security"


def lines(folder: Path) -> tuple[str, ...]:
    return mirror_lines(read_sources(folder), suite="trixie", keyring=KEYRING)


def put(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_one_line_sources(tmp_path: Path) -> None:
    put(
        tmp_path,
        "sources.list",
        f"# a comment\ndeb {OWN} bookworm main contrib # more\n"
        f"deb-src {OWN} bookworm main\ndeb {OWN_SECURITY} bookworm-security main\n",
    )
    assert lines(tmp_path) == (
        f"deb [signed-by=/keys.gpg] {OWN} trixie main",
        f"deb [signed-by=/keys.gpg] {OWN} trixie-updates main",
        f"deb [signed-by=/keys.gpg] {OWN_SECURITY} trixie-security main",
    )


def test_one_line_options(tmp_path: Path) -> None:
    put(
        tmp_path,
        "sources.list.d/x.list",
        f"deb [ arch=amd64 signed-by={SIGNED} ] {OWN}/ stable main",
    )
    assert lines(tmp_path) == (
        f"deb [signed-by=/keys.gpg] {OWN}/ trixie main",
        f"deb [signed-by=/keys.gpg] {OWN}/ trixie-updates main",
    )


def test_deb822_sources(tmp_path: Path) -> None:
    put(
        tmp_path,
        "sources.list.d/debian.sources",
        f"""# the archive
Types: deb deb-src
URIs: {OWN}
Suites: bookworm
 bookworm-updates
Components: main
Signed-By: {SIGNED}

Types: deb
URIs: {OWN_SECURITY}
Suites: bookworm-security
Components: main
Signed-By: {SIGNED}
""",
    )
    assert [line.split()[2:] for line in lines(tmp_path)] == [
        [OWN, "trixie", "main"],
        [OWN, "trixie-updates", "main"],
        [OWN_SECURITY, "trixie-security", "main"],
    ]


@pytest.mark.parametrize(
    "text",
    [
        f"Types: deb-src\nURIs: {OWN}\nSuites: bookworm\nComponents: main\n",
        f"Types: deb\nURIs: {OWN}\nSuites: bookworm\nComponents: main\nEnabled: no\n",
        f"Types: deb\nURIs: {OWN}\nSuites: bookworm\nComponents: contrib\n",
        f"Types: deb\nURIs: {OWN}\nSuites: noble\nComponents: main\n",
        f"Types: deb\nURIs: {OWN}\nSuites: sid\nComponents: main\nSigned-By: /keys/vendor.gpg\n",
        "Types: deb\nURIs: http://vendor.example/apt\nSuites: bookworm\nComponents: main\n",
        "Types: deb\nURIs: file:///srv/debian\nSuites: bookworm\nComponents: main\n",
        "Types: deb\nURIs: mirror+file:///etc/apt/debian.list\nSuites: sid\nComponents: main\n",
        f"Types: deb\nURIs: {OWN_SECURITY}\nSuites: bookworm-security\nComponents: main\n",
        "no colon at all\n  only a continuation\n",
        "",
    ],
)
def test_other_sources_are_passed_over(tmp_path: Path, text: str) -> None:
    put(tmp_path, "sources.list.d/x.sources", text)
    assert lines(tmp_path) == ()


def test_no_files_at_all(tmp_path: Path) -> None:
    assert lines(tmp_path / "missing") == ()


def test_keyring_is_found_or_the_remedy_named(tmp_path: Path) -> None:
    with pytest.raises(HostError) as caught:
        archive_keyring(tmp_path)
    assert caught.value.hint == "Run: sudo apt-get install debian-archive-keyring"
    put(tmp_path, "usr/share/keyrings/debian-archive-keyring.pgp", "")
    assert archive_keyring(tmp_path).name == "debian-archive-keyring.pgp"
