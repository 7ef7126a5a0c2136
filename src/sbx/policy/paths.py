# SPDX-License-Identifier: Apache-2.0
"""Paths of HTTP requests, and the globs that rules have for them.

A rule about a path is only as good as the agreement on what the path is. A request path is brought
to one plain form; where a server could see another path than we do (`//`, `/./`, `%2e%2e`, `%2f`,
`;x`, a backslash), it has no plain form, and where a rule about paths counts the request is denied.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from unicodedata import normalize
from urllib.parse import unquote_to_bytes

from sbx.errors import UserError
from sbx.policy.hosts import shorten
from sbx.policy.patterns import label_regex, runs_backwards

MAX_PATH = 8192
_ANY = "/**"
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
# What some servers take for a separator, a parameter or the start of something else.
_UNCLEAR = re.compile(r"[\x00-\x20\x7f;%\\?#]")
_ESCAPED_SLASH = re.compile(r"%2f", re.IGNORECASE)
_SEGMENT = re.compile(r"(?:[^\x00-\x20\x7f;%\\#\[\]]|\[!?[A-Za-z0-9_-]+\])*")


def plain_path(target: str) -> str | None:
    """The path of a request target, decoded, or None if it can be read in more than one way.

    The query is not part of it. Escapes are decoded, since a server does that too before it looks.
    """
    path = target.partition("?")[0]
    if (
        len(path) > MAX_PATH
        or not path.startswith("/")
        or not path.isascii()
        or "#" in path
        or _ESCAPE.search(path)
        or _ESCAPED_SLASH.search(path)
    ):
        return None
    try:
        decoded = unquote_to_bytes(path).decode("utf-8")
        # A space is the one of the unclear characters whose escape every program reads alike.
        unspaced = unquote_to_bytes(path.replace("%20", "_")).decode("utf-8")
    except UnicodeDecodeError:
        return None
    if _UNCLEAR.search(unspaced) or normalize("NFKC", decoded) != decoded:
        return None
    inner = decoded.split("/")[1:]
    if any(segment in ("", ".", "..") for segment in inner[:-1]) or inner[-1] in (".", ".."):
        return None
    return decoded


@dataclass(frozen=True, slots=True, kw_only=True)
class PathGlob:
    """A pattern of paths: `*` and `?` stay in a segment, `**` is any number of segments."""

    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def is_any(self) -> bool:
        """Whether it matches every request, also one whose path has no plain form."""
        return self.text == _ANY

    @property
    def literal(self) -> str:
        """The leading segments without wildcards: what every match starts with."""
        kept: list[str] = []
        for segment in self.text.split("/")[1:]:
            if not segment or re.search(r"[*?\[]", segment):
                break
            kept.append(segment)
        return "".join(f"/{segment}" for segment in kept)

    def matches(self, path: str, *, lenient: bool) -> bool:
        """Whether a plain path fits. Lenient, for a deny: any case, with or without a last `/`."""
        return _regex(self.text, lenient).fullmatch(path) is not None


ANY_PATH = PathGlob(text=_ANY)


def parse_glob(text: str) -> PathGlob:
    """A pattern of paths.

    Raises:
        UserError: it is none, or one that no plain path can match.
    """
    shown = shorten(text)
    if not text.startswith("/"):
        raise UserError(f'a path starts with `/`: "{shown}"', hint=f"Write --path /{shown}")
    if len(text) > MAX_PATH:
        raise UserError(f"a path pattern has at most {MAX_PATH} characters")
    *inner, last = text.split("/")[1:]
    if any(not segment for segment in inner) or {".", ".."} & {*inner, last}:
        raise UserError(f'a path pattern has no empty, `.` or `..` segment: "{shown}"')
    for segment in (*inner, last):
        if "**" in segment and segment != "**":
            raise UserError(
                f'`**` is a whole segment of a path: "{shown}"',
                hint="Write /a/** for everything below /a, or * inside a segment",
            )
        if not _SEGMENT.fullmatch(segment):
            raise UserError(
                f'a path pattern has a character that no path has: "{shown}"',
                hint="Write decoded text without spaces, `;`, `%`, `\\` and `#`",
            )
        if runs_backwards(segment):
            raise UserError(f'a range in `[…]` runs backwards: "{shown}"')
    return PathGlob(text=text)


@lru_cache(maxsize=8192)  # compiled when a request comes that could match: most never are
def _regex(glob: str, lenient: bool) -> re.Pattern[str]:  # noqa: FBT001 - a key of the cache
    groups: list[list[str]] = [[]]
    text = (glob.removesuffix("/") or "/") if lenient else glob
    for segment in text.split("/")[1:]:
        if segment == "**":
            groups.append([])
        else:
            groups[-1].append(segment)
    first, *rest = ["".join(f"/{label_regex(s, stop='/')}" for s in g) for g in groups]
    found = first
    if rest:
        *middle, last = rest
        found += "".join(f"(?>(?:/[^/]*)*?{m}(?=/|\\Z))" for m in middle if m)
        found += f"(?:/[^/]*)*{last}"
    flags = re.IGNORECASE if lenient else re.NOFLAG
    return re.compile(found + ("/?" if lenient else ""), flags | re.DOTALL)
