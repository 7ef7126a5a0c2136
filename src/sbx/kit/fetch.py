# SPDX-License-Identifier: Apache-2.0
"""From a reference to a kit in memory, as far as the user's settings allow its source."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import assert_never

from sbx.errors import UserError
from sbx.kit import archive, builtin, folder, gitsource, oci
from sbx.kit.bundle import Bundle
from sbx.kit.compose import Source
from sbx.kit.findings import KitError
from sbx.kit.reference import (
    BuiltIn,
    GitKit,
    LocalKit,
    OciKit,
    Reference,
    parse_reference,
)  # fmt: skip
from sbx.kit.registry import Credentials, no_credentials
from sbx.system.text import printable

DEFAULT_ALLOWED = ("docker.io/",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """Where kits may come from (settings `kit.allowedSources` and `kit.allowLocalKits`)."""

    sources: tuple[str, ...] = DEFAULT_ALLOWED  # prefixes that end where a name ends
    local: bool = True

    def check(self, text: str, reference: Reference) -> None:
        """Raise UserError if the source of a kit is not allowed."""
        shown = printable(text[:200])
        match reference:
            case BuiltIn():
                return
            case LocalKit():
                if not self.local:
                    raise UserError(
                        f'resolve kits: kit "{shown}": local kits are not allowed',
                        hint="Run: sbx settings set kit.allowLocalKits true",
                    )
            case GitKit() | OciKit():
                names = (reference.source, reference.source.removeprefix("git+https://"))
                if not any(_is_below(name, one) for name in names for one in self.sources):
                    raise UserError(
                        f'resolve kits: kit "{shown}": source is not in the allowlist: '
                        f"{', '.join(self.sources) or 'empty'}",
                        hint=f"Add it to setting kit.allowedSources: {reference.source}",
                    )
            case _:
                assert_never(reference)


@dataclass(slots=True, kw_only=True)
class Fetcher:
    """Fetches kits, each once."""

    cwd: Path
    allowed: Allowed = Allowed()
    credentials: Credentials = no_credentials
    pins: dict[str, str] = field(default_factory=dict[str, str])  # of a lock file: ref to digest
    _found: dict[str, Source] = field(default_factory=dict[str, Source])

    def __call__(self, ref: str) -> Source:
        """The kit that a reference means.

        Raises:
            UserError: the reference is malformed or not allowed.
            KitError: it is no kit, cannot be had, or is not what was locked.
            TransientError: its registry cannot be reached.
        """
        if ref not in self._found:
            reference = parse_reference(ref, cwd=self.cwd)
            self.allowed.check(ref, reference)
            found = self._fetch(ref, reference)
            locked = self.pins.get(ref)
            if locked is not None and locked != found.bundle.digest:
                raise KitError(
                    f"kit `{printable(ref)}` is not the one that was locked: "
                    f"{found.bundle.digest[:19]} and not {locked[:19]}",
                    hint="If the change is meant, run: sbx kit lock",
                )
            self._found[ref] = found
        return self._found[ref]

    def _fetch(self, ref: str, reference: Reference) -> Source:
        match reference:
            case BuiltIn(name):
                bundle = folder.read_folder(builtin.folder(name), what=name)
                return Source(ref=ref, resolved=name, bundle=bundle)
            case LocalKit(path):
                return Source(ref=ref, resolved=str(path), bundle=_read_local(path, ref))
            case GitKit():
                commit, bundle = gitsource.fetch_git(reference)
                return Source(ref=ref, resolved=reference.pinned(commit), bundle=bundle)
            case OciKit():
                digest, bundle = oci.pull(reference, self.credentials)
                return Source(ref=ref, resolved=reference.pinned(digest), bundle=bundle)
            case _:
                assert_never(reference)


def _read_local(path: Path, ref: str) -> Bundle:
    if path.is_dir():
        return folder.read_folder(path, what=ref)
    if not path.exists():
        raise KitError(f"kit not found: `{printable(path)}`")
    return archive.read_archive(path, what=ref)


def _is_below(name: str, prefix: str) -> bool:
    """Whether a source starts with a prefix, and the prefix ends where a part of a name ends."""
    if not name.startswith(prefix) or not prefix:
        return False
    rest = name[len(prefix) :]
    return not rest or prefix.endswith("/") or rest[0] in "/:@#"
