# SPDX-License-Identifier: Apache-2.0
"""What names a kit: a built-in agent, a folder, an archive, a commit of a repository, an image.

A reference is parsed once, into a type per kind; `source` is its canonical text for allow-lists.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never
from urllib.parse import parse_qsl, urlsplit

from sbx.errors import UserError
from sbx.kit.builtin import NAMES
from sbx.system.text import printable

DEFAULT_REGISTRY = "docker.io"
ARCHIVES = (".zip", ".tar.gz", ".tgz")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_GIT_REF = re.compile(r"(?!-)(?!.*\.\.)[A-Za-z0-9._/-]{1,200}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_REPOSITORY = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*")
_REGISTRY = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?|\[[0-9a-f:]+\](:[0-9]{1,5})?")
_USER_HOST = re.compile(
    r"(?:[A-Za-z0-9._-]+@)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?"
)


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """An agent of this package."""

    name: str

    @property
    def source(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class LocalKit:
    """A folder, or an archive file."""

    path: Path

    @property
    def source(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class GitKit:
    """A folder in a commit of a repository."""

    url: str  # https://… or ssh://…
    ref: str  # a commit, branch or tag; empty: the default branch
    folder: str  # relative; empty: the top

    @property
    def is_pinned(self) -> bool:
        return _COMMIT.fullmatch(self.ref) is not None

    @property
    def source(self) -> str:
        return f"git+{self.url}"

    def pinned(self, commit: str) -> str:
        """The reference with this commit."""
        return f"{self.source}#ref={commit}" + (f"&dir={self.folder}" if self.folder else "")


@dataclass(frozen=True, slots=True)
class OciKit:
    """An image of a registry."""

    registry: str
    repository: str
    tag: str
    digest: str  # empty: the tag decides

    @property
    def source(self) -> str:
        return f"{self.registry}/{self.repository}"

    def pinned(self, digest: str) -> str:
        """The reference with this digest."""
        return f"{self.source}@{digest}"


Reference = BuiltIn | LocalKit | GitKit | OciKit


def parse_reference(text: str, *, cwd: Path) -> Reference:
    """What a text names; nothing is looked at yet.

    Raises:
        UserError: it names no kit.
    """
    if text in NAMES:
        return BuiltIn(text)
    if is_local(text):
        return LocalKit(cwd / Path(text).expanduser())
    if text.startswith("git+"):
        return _git(text)
    if "/" not in text:
        raise UserError(
            f'kit not found: "{printable(text[:100])}"',
            hint=f"A folder starts with ./ as in ./{printable(text[:100])}; "
            f"built-in agents: {', '.join(NAMES)}",
        )
    return parse_oci(text)


def is_local(text: str) -> bool:
    """Whether a text names a folder or file; relative ones start with `./` or `../`."""
    if text in (".", "..", "~") or text.startswith(("./", "../", "/", "~/")):
        return True
    return text.endswith(ARCHIVES) and "://" not in text


def looks_like_kit(text: str) -> bool:
    """Whether the word in the place of an agent names a kit that is no built-in one."""
    return is_local(text) or text.startswith("git+") or ("/" in text and ":" in text)


def is_pinned(reference: Reference) -> bool:
    """Whether it always means the same kit."""
    match reference:
        case BuiltIn():
            return True
        case LocalKit():
            return False
        case GitKit():
            return reference.is_pinned
        case OciKit():
            return bool(reference.digest)
        case _:
            assert_never(reference)


def parse_oci(text: str) -> OciKit:
    """`[REGISTRY/]NAME[:TAG][@DIGEST]`, Docker Hub without a registry.

    Raises:
        UserError: it is malformed.
    """
    rest, at, digest = text.partition("@")
    name, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        name, tag = rest, ""
    first, slash, below = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        registry, repository = first, below
    else:
        registry, repository = DEFAULT_REGISTRY, name if slash else f"library/{name}"
    registry = DEFAULT_REGISTRY if registry == f"index.{DEFAULT_REGISTRY}" else registry
    if (
        not _REGISTRY.fullmatch(registry)
        or not _REPOSITORY.fullmatch(repository)
        or (at and not _DIGEST.fullmatch(digest))
        or (tag and not _TAG.fullmatch(tag))
        or len(text) > 512
    ):
        raise UserError(
            f'not a reference of a registry: "{printable(text[:100])}"',
            hint="Write REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:DIGEST",
        )
    return OciKit(registry, repository, tag or "latest", digest)


def _git(text: str) -> GitKit:
    def refuse(why: str) -> UserError:
        return UserError(
            f'not a repository: "{printable(text[:200])}": {why}',
            hint="Write git+https://HOST/PATH#ref=COMMIT&dir=FOLDER",
        )

    url, _, fragment = text.removeprefix("git+").partition("#")
    parts = urlsplit(url)
    if parts.scheme not in ("https", "ssh"):
        raise refuse("only git+https and git+ssh are supported")
    if parts.query or not parts.path.strip("/") or not url.isprintable() or " " in url:
        raise refuse("it has no path, or more than one")
    if not _USER_HOST.fullmatch(parts.netloc) or (parts.scheme == "https" and "@" in parts.netloc):
        raise refuse("the host is malformed, or has a user in front of it")
    options = dict(parse_qsl(fragment, keep_blank_values=True))
    if unknown := sorted(options.keys() - {"ref", "dir"}):
        raise refuse(f"unknown option `{unknown[0]}`")
    ref, folder = options.get("ref", ""), options.get("dir", "").strip("/")
    if ref and not _GIT_REF.fullmatch(ref):
        raise refuse("the ref is malformed")
    if ".." in folder.split("/") or "\0" in folder or ":" in folder:
        raise refuse("the dir leads out of the repository")
    return GitKit(url, ref, folder)
