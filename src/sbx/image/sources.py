# SPDX-License-Identifier: Apache-2.0
"""Where packages come from: the Debian mirror that the host's own apt uses, if it uses one.

Reads apt's source files (sources.list(5), one-line and deb822) so that a company mirror just works.
No mirror is named here: without one on the host, mmdebstrap's own default is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sbx.errors import HostError

_KEYRINGS = tuple(f"usr/share/keyrings/debian-archive-keyring.{end}" for end in ("gpg", "pgp"))
_RELEASES = frozenset({
    "bullseye", "bookworm", "trixie", "forky", "sid",
    "oldstable", "stable", "testing", "unstable",
})  # fmt: skip
_SECURITY = frozenset(f"{release}-security" for release in _RELEASES)
_ONE_LINE = re.compile(
    r"deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>.+)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One place that apt reads packages from."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str  # a path, an inline key, or nothing


def archive_keyring(root: Path = Path("/")) -> Path:
    """The keyring with the Debian archive's keys.

    Raises:
        HostError: the host has none, so nothing could be verified.
    """
    for name in _KEYRINGS:
        if (root / name).is_file():
            return root / name
    raise HostError(
        "the keys of the Debian archive are missing, so packages cannot be verified",
        hint="Run: sudo apt-get install debian-archive-keyring",
    )


def mirror_lines(sources: list[Source], *, suite: str, keyring: Path) -> tuple[str, ...]:
    """One-line sources that give `suite` from the host's Debian mirror; empty: use the default."""
    main = _first(sources, _RELEASES)
    if main is None:
        return ()
    security = _first(sources, _SECURITY)
    lines = [(main.uri, suite), (main.uri, f"{suite}-updates")]
    if security is not None:
        lines.append((security.uri, f"{suite}-security"))
    return tuple(f"deb [signed-by={keyring}] {uri} {name} main" for uri, name in lines)


def read_sources(apt: Path = Path("/etc/apt")) -> list[Source]:
    """All enabled binary sources of the host; unreadable or strange files are passed over."""
    found = list(_one_line(_text(apt / "sources.list")))
    for path in sorted((apt / "sources.list.d").glob("*")):
        if path.suffix == ".list":
            found += _one_line(_text(path))
        elif path.suffix == ".sources":
            found += _deb822(_text(path))
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _one_line(text: str) -> Iterator[Source]:
    for line in text.splitlines():
        match = _ONE_LINE.fullmatch(line.split("#", 1)[0].strip())
        if match is None:
            continue
        pairs = [word.partition("=") for word in str(match["options"] or "").split()]
        options = {name.lower(): value for name, _, value in pairs}
        yield Source(
            uri=match["uri"],
            suites=(match["suite"],),
            components=tuple(match["components"].split()),
            signed_by=options.get("signed-by", ""),
        )


def _deb822(text: str) -> Iterator[Source]:
    for block in re.split(r"\n[ \t]*\n", text):
        fields: dict[str, str] = {}
        name = ""
        for line in block.splitlines():
            if line.startswith("#"):
                continue
            if line[:1] in (" ", "\t"):
                fields[name] = f"{fields.get(name, '')} {line.strip()}"
            elif ":" in line:
                name, value = line.split(":", 1)
                name = name.strip().lower()
                fields[name] = value.strip()
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes") == "no":
            continue
        for uri in fields.get("uris", "").split():
            yield Source(
                uri=uri,
                suites=tuple(fields.get("suites", "").split()),
                components=tuple(fields.get("components", "").split()),
                signed_by=fields.get("signed-by", ""),
            )


def _first(sources: list[Source], suites: frozenset[str]) -> Source | None:
    return next((s for s in sources if suites & set(s.suites) and _is_debian(s)), None)


def _is_debian(source: Source) -> bool:
    """Whether it is Debian's own archive: others use its suite names too, with their own keys."""
    if not source.uri.startswith(("http://", "https://")) or "main" not in source.components:
        return False
    if source.signed_by:
        return "debian-archive" in source.signed_by
    return source.uri.rstrip("/").rsplit("/", 1)[-1] in ("debian", "debian-security")
