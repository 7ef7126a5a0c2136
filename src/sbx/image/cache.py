# SPDX-License-Identifier: Apache-2.0
"""The cache of built things: complete or absent, never half-made, never trusted when changed.

A `Shelf` holds entries of one kind, `<shelf>/<digest>/`, each with its files, a `manifest.json`
with the digest of every file, and a `stamp` by which the hot path sees that nothing was touched.
`<shelf>/<key>.ref` leads from a key of build inputs to the digest of what they gave. An entry is
built in a folder beside and renamed when it is complete and on the disk. When the stamp does not
fit, all digests are computed; when one of them does not fit either, the entry is set aside.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR

from sbx.errors import HostError, PermanentError
from sbx.system.files import private_folder, read_bounded, sha256_file, sync_folder, write_atomic
from sbx.system.locks import hold_lock

_MANIFEST = "manifest.json"
_STAMP = "stamp"
_CONTENT = "content"
_TEMP = "temp-"
_DAMAGED = "damaged-"
_VERSION = 1
_MANIFEST_LIMIT_BYTES = 8 << 20
_SMALL_LIMIT_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a builder tells about an entry beside its files."""

    packages: dict[str, str]  # Debian package name -> version
    notes: dict[str, str]  # such as the kernel's release


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A complete entry."""

    digest: str
    folder: Path  # the content
    facts: Facts


class Shelf:
    """The entries of one kind."""

    def __init__(self, cache: Path, kind: str) -> None:
        self._kind = kind
        self._cache = cache
        self._folder = cache / kind

    def find(self, key: str) -> Entry | None:
        """The entry for these inputs, or None if it is absent or damaged. Cheap."""
        return self._load(key, full=False)

    def check(self, key: str) -> Entry | None:
        """As `find`, but every byte is read again."""
        return self._load(key, full=True)

    def make(self, key: str, build: Callable[[Path], Facts]) -> Entry:
        """The entry for these inputs, built by `build` into an empty folder if it is absent.

        Other processes that want it meanwhile wait for it.

        Raises:
            HostError: no space, no permission; and whatever `build` raises.
        """
        private_folder(self._folder)
        with hold_lock(self._folder / ".lock"):
            self._clean()
            found = self.find(key)
            return found if found is not None else self._build(key, build)

    def digests(self) -> tuple[str, ...]:
        """The digests of all entries, whole or not."""
        return tuple(sorted(path.name for path in self._listing() if _is_entry(path)))

    def sizes(self) -> tuple[tuple[str, int], ...]:
        """Digest and disk space of each entry."""
        return tuple((each, tree_bytes(self._folder / each)) for each in self.digests())

    def prune(self, keep: frozenset[str]) -> int:
        """Remove the entries that are not in `keep`, and leftovers; returns the bytes freed."""
        if not self._folder.is_dir():
            return 0
        before = tree_bytes(self._folder)
        with hold_lock(self._folder / ".lock"):
            self._clean()
            for path in self._listing():
                if path.suffix == ".ref" and _read_small(path) not in keep:
                    path.unlink()
            for digest in self.digests():
                if digest not in keep:
                    remove_tree(self._folder / digest)
        return max(0, before - tree_bytes(self._folder))

    def _listing(self) -> list[Path]:
        try:
            return sorted(self._folder.iterdir())
        except FileNotFoundError:
            return []

    def _clean(self) -> None:
        """Remove what broken-off builds left; the lock is held, so none is under way."""
        for path in self._listing():
            if path.name.startswith((_TEMP, _DAMAGED)):
                remove_tree(path)

    def _load(self, key: str, *, full: bool) -> Entry | None:
        digest = _read_small(self._folder / f"{key}.ref")
        if digest is None:
            return None
        folder = self._folder / digest
        try:
            raw = read_bounded(folder / _MANIFEST, limit_bytes=_MANIFEST_LIMIT_BYTES)
            whole = hashlib.sha256(raw).hexdigest() == digest
            whole = whole and self._is_whole(folder, raw, full=full)
            entry = _parse(raw, folder) if whole else None
        except (OSError, ValueError, KeyError, TypeError, HostError):
            entry = None
        if entry is None and folder.exists():
            self._set_aside(folder)
        return entry

    def _is_whole(self, folder: Path, raw: bytes, *, full: bool) -> bool:
        content = folder / _CONTENT
        now = stamp(content, raw)
        if not full and _read_small(folder / _STAMP) == now:
            return True
        if list_files(content) != json.loads(raw)["files"]:
            return False
        # Touched but equal, such as a copied cache: remember that.
        with contextlib.suppress(HostError):
            write_atomic(folder / _STAMP, now.encode())
        return True

    def _set_aside(self, folder: Path) -> None:
        with contextlib.suppress(OSError):  # somebody else may have done it just now
            folder.rename(self._folder / f"{_DAMAGED}{secrets.token_hex(4)}")

    def _build(self, key: str, build: Callable[[Path], Facts]) -> Entry:
        temp = self._folder / f"{_TEMP}{secrets.token_hex(4)}"
        content = temp / _CONTENT
        try:
            content.mkdir(parents=True, mode=0o700)
            facts = build(content)
            sync_tree(content)
            manifest = {
                "version": _VERSION,
                "kind": self._kind,
                "key": key,
                "packages": facts.packages,
                "notes": facts.notes,
                "files": list_files(content),
            }
            raw = json.dumps(manifest, sort_keys=True, indent=1).encode()
            digest = hashlib.sha256(raw).hexdigest()
            write_atomic(temp / _MANIFEST, raw)
            write_atomic(temp / _STAMP, stamp(content, raw).encode())
            target = self._folder / digest
            if target.exists():  # the same bytes under a lost reference
                remove_tree(target)
            temp.rename(target)
            sync_folder(self._folder)
            write_atomic(self._folder / f"{key}.ref", digest.encode())
        except OSError as error:
            raise storage_error(error, self._folder) from error
        finally:
            remove_tree(temp)
        entry = _parse(raw, target)
        if entry is None:
            raise PermanentError(f"cache entry is not readable after its making: `{target}`")
        return entry


def list_files(folder: Path) -> dict[str, list[str | int]]:
    """Every file and link below `folder`: its kind, mode and digest (or target)."""
    found: dict[str, list[str | int]] = {}
    for path, facts in _walk(folder):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = ["link", str(path.readlink())]
        elif path.is_dir():
            found[name] = ["folder", facts.st_mode & 0o7777]
        else:
            found[name] = ["file", facts.st_mode & 0o7777, facts.st_size, sha256_file(path)]
    return found


def stamp(folder: Path, manifest: bytes) -> str:
    """A digest over names, sizes and change times: equal as long as nobody touched anything.

    The change time and not the modification time: no program can set it back.
    """
    digest = hashlib.sha256(manifest)
    for path, facts in _walk(folder):
        name = path.relative_to(folder)
        # A folder's size and times say nothing about the bytes of its files.
        detail = "" if S_ISDIR(facts.st_mode) else f"{facts.st_size}\0{facts.st_ctime_ns}"
        digest.update(f"{name}\0{facts.st_mode}\0{detail}\n".encode())
    return digest.hexdigest()


def sync_tree(folder: Path) -> None:
    """Make all files below `folder` durable."""
    for path, _ in _walk(folder):
        if path.is_dir() and not path.is_symlink():
            sync_folder(path)
        elif path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    sync_folder(folder)


def tree_bytes(folder: Path) -> int:
    """The disk space of all files below `folder`."""
    return sum(facts.st_blocks * 512 for _, facts in _walk(folder))


def remove_tree(folder: Path) -> None:
    """Remove a folder with everything in it, if it is there."""
    shutil.rmtree(folder, ignore_errors=True)


def storage_error(error: OSError, folder: Path) -> HostError:
    """The error for a failed write below `folder`."""
    hint = "Free some disk space, then run: sbx setup" if error.errno == 28 else None
    return HostError(f"cannot write below `{folder}`: {error.strerror}", hint=hint)


def _walk(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for base, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(folders + files):
            path = Path(base, name)
            with contextlib.suppress(FileNotFoundError):
                yield path, path.lstat()


def _is_entry(path: Path) -> bool:
    return len(path.name) == 64 and path.is_dir()


def _read_small(path: Path) -> str | None:
    try:
        return read_bounded(path, limit_bytes=_SMALL_LIMIT_BYTES).decode().strip()
    except (OSError, HostError, UnicodeDecodeError):
        return None


def _parse(raw: bytes, folder: Path) -> Entry | None:
    manifest = json.loads(raw)
    if manifest.get("version") != _VERSION:
        return None
    facts = Facts(packages=dict(manifest["packages"]), notes=dict(manifest["notes"]))
    return Entry(digest=folder.name, folder=folder / _CONTENT, facts=facts)
