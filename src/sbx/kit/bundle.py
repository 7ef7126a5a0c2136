# SPDX-License-Identifier: Apache-2.0
"""A kit in memory: `spec.yaml` and files, bounded, with names that cannot lead anywhere else.

Every way to load a kit (folder, archive, git, registry) ends here, so its rules hold for all.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from sbx.kit.findings import SPEC, KitError
from sbx.system.text import printable

MAX_FILES = 5_000
MAX_TOTAL_BYTES = 64 << 20
MAX_FILE_BYTES = 16 << 20
MAX_PATH_BYTES = 1024
HOME, WORKSPACE = "files/home", "files/workspace"
TOP = (SPEC, "README.md", "LICENSE")


@dataclass(frozen=True, slots=True)
class KitFile:
    """One file of a kit: its bytes, or where a link points."""

    data: bytes
    executable: bool = False
    link: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A whole kit."""

    spec: bytes
    files: Mapping[str, KitFile]  # by relative path, `files/…`; without spec.yaml

    @property
    def digest(self) -> str:
        """`sha256:…` over names, modes and bytes; the same however the kit was loaded."""
        digest = hashlib.sha256()
        for name, file in sorted({SPEC: KitFile(self.spec), **self.files}.items()):
            sort = "l" if file.link is not None else "x" if file.executable else "f"
            data = file.data if file.link is None else file.link.encode()
            digest.update(f"{sort}\0{name}\0{len(data)}\0".encode())
            digest.update(data)
        return f"sha256:{digest.hexdigest()}"


@dataclass(slots=True)
class BundleBuilder:
    """Takes the entries of a kit one by one, refusing what no kit may hold."""

    what: str  # the kit, in errors
    _files: dict[str, KitFile] = field(default_factory=dict[str, KitFile])
    _total: int = 0

    def is_wanted(self, name: str) -> bool:
        """Whether an entry is part of a kit; what else lies beside it is left out."""
        return name in TOP or name.startswith("files/")

    def room(self) -> int:
        """The bytes that the next file may have at most."""
        return min(MAX_FILE_BYTES, MAX_TOTAL_BYTES - self._total)

    def add(self, name: str, data: bytes, *, mode: int = 0o644) -> None:
        """A regular file.

        Raises:
            KitError: its name leads out of the kit, or a bound is reached.
        """
        if len(data) > self.room():
            raise self.too_large(name)
        self._total += len(data)
        self._keep(self.check_name(name), KitFile(data, executable=bool(mode & stat.S_IXUSR)))

    def add_link(self, name: str, target: str) -> None:
        """A symbolic link, which must stay below `files/home` or `files/workspace`, where it is.

        Raises:
            KitError: it leads out.
        """
        clean = self.check_name(name)
        roots = (root for root in (HOME, WORKSPACE) if clean.startswith(f"{root}/"))
        depth = max((len(PurePosixPath(root).parts) for root in roots), default=1)
        if target.startswith("/") or not _stays(PurePosixPath(clean), target, depth):
            raise self.refused(name, f"is a link that leads out of the kit: {printable(target)}")
        self._keep(clean, KitFile(b"", link=target))

    def check_name(self, name: str) -> str:
        """The plain relative name of an entry.

        Raises:
            KitError: it is absolute, has a `..`, or is none.
        """
        parts = PurePosixPath(name).parts
        if name.startswith("/") or ".." in parts or "\0" in name or "\\" in name:
            raise self.refused(name, "leads out of the kit")
        if not parts or len(name.encode(errors="surrogateescape")) > MAX_PATH_BYTES:
            raise self.refused(name, "is no name of a file")
        return str(PurePosixPath(*parts))

    def refused(self, name: str, why: str) -> KitError:
        """The error for an entry."""
        return KitError(f"kit `{printable(self.what)}`: entry `{printable(name[:200])}` {why}")

    def too_large(self, name: str) -> KitError:
        """The error for an entry beyond the bounds."""
        limits = f"{MAX_FILE_BYTES >> 20} MiB a file, {MAX_TOTAL_BYTES >> 20} MiB in all"
        return self.refused(name, f"is too large (at most {limits})")

    def finish(self) -> Bundle:
        """The kit.

        Raises:
            KitError: there is no spec.yaml, or a file lies below a link or another file.
        """
        spec = self._files.pop(SPEC, None)
        if spec is None or spec.link is not None:
            raise KitError(
                f"kit `{printable(self.what)}` has no {SPEC}", hint="Run: sbx kit init DIR"
            )
        for name in self._files:
            if name not in TOP and not name.startswith((f"{HOME}/", f"{WORKSPACE}/")):
                raise self.refused(name, f"is neither below {HOME} nor {WORKSPACE}")
            for parent in PurePosixPath(name).parents:
                if str(parent) in self._files:
                    raise self.refused(
                        name, f"lies below `{printable(parent)}`, which is no folder"
                    )
        return Bundle(spec=spec.data, files=self._files)

    def _keep(self, name: str, file: KitFile) -> None:
        if not self.is_wanted(name):
            return
        if name in self._files:
            raise self.refused(name, "is there twice")
        if len(self._files) >= MAX_FILES:
            raise self.refused(name, f"is one too many: a kit has at most {MAX_FILES} files")
        self._files[name] = file


def _stays(name: PurePosixPath, target: str, depth: int) -> bool:
    """Whether a link at `name` resolves (as text) to something `depth` or more levels down."""
    level = list(name.parent.parts)
    for part in PurePosixPath(target).parts:
        if part == "..":
            if len(level) <= depth:
                return False
            level.pop()
        else:
            level.append(part)
    # Chains of links are harmless too: each of them stays by itself.
    return level[:depth] == list(name.parts[:depth])
