# SPDX-License-Identifier: Apache-2.0
"""The stored forms of a sandbox: read and written in its folder, versioned, strict."""

from __future__ import annotations

import json
import secrets
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from sbx.errors import ConflictError, HostError
from sbx.sandbox.record import SandboxRecord
from sbx.sandbox.spec import SandboxSpec
from sbx.store import paths
from sbx.store.identity import VERSION, damaged, not_found, read_fields
from sbx.store.paths import Paths
from sbx.system import codec
from sbx.system.files import owned_fd, sync_folder, write_atomic
from sbx.system.locks import hold_lock, try_lock

_NEW = ".new-"  # folders that are being written; no sandbox name starts with a dot
_CREATE_LOCK = "create.lock"
_GONE = ".gone-"  # folders that are being deleted

T = TypeVar("T")


def create_folder(where: Paths, spec: SandboxSpec, record: SandboxRecord | None = None) -> Path:
    """Write a new sandbox's folder, complete or not at all, and claim its name by a rename.

    Raises:
        ConflictError: the name is taken.
        HostError: no space or no permission.
    """
    temp = where.sandboxes / f"{_NEW}{spec.id}"
    with hold_lock(where.state / _CREATE_LOCK):
        try:
            temp.mkdir(mode=0o700)
            _write(temp / paths.SPEC, spec)
            _write(temp / paths.RECORD, record or SandboxRecord())
            if where.sandbox(spec.name).exists():
                raise ConflictError(
                    f"a sandbox named `{spec.name}` already exists",
                    hint=f"Use another --name, or run: sbx rm {spec.name}",
                )
            temp.rename(where.sandbox(spec.name))
        except OSError as error:
            raise HostError(f"cannot write `{temp}`: {error.strerror}") from error
        finally:
            shutil.rmtree(temp, ignore_errors=True)
    sync_folder(where.sandboxes)
    return where.sandbox(spec.name)


def delete_folder(where: Paths, name: str) -> None:
    """Remove a folder: first its name, then its bytes, so that a crash leaves no half one."""
    gone = where.sandboxes / f"{_GONE}{secrets.token_hex(8)}"
    try:
        where.sandbox(name).rename(gone)
    except FileNotFoundError as error:
        raise not_found(name) from error
    shutil.rmtree(gone, ignore_errors=True)


def sweep(where: Paths) -> None:
    """Delete what a killed create or remove left behind; never in the way of one at work."""
    if not where.sandboxes.is_dir():
        return
    lock = try_lock(where.state / _CREATE_LOCK)
    if lock is None:
        return
    with owned_fd(lock):
        for entry in where.sandboxes.iterdir():
            if entry.name.startswith((_NEW, _GONE)):
                shutil.rmtree(entry, ignore_errors=True)


def names(where: Paths) -> tuple[str, ...]:
    """The names of all sandboxes, sorted."""
    if not where.sandboxes.is_dir():
        return ()
    return tuple(sorted(e.name for e in where.sandboxes.iterdir() if not e.name.startswith(".")))


def read_spec(where: Paths, name: str) -> SandboxSpec:
    """Read what was asked for.

    Raises:
        NotFoundError: there is no such sandbox.
        PermanentError: the file is damaged or of a newer version.
    """
    return _read(SandboxSpec, where.sandbox(name) / paths.SPEC, name)


def read_record(where: Paths, name: str) -> SandboxRecord:
    """Read what was made on the host (raises as `read_spec`)."""
    return _read(SandboxRecord, where.sandbox(name) / paths.RECORD, name)


def write_record(where: Paths, name: str, record: SandboxRecord) -> None:
    """Replace the record.

    Raises:
        HostError: no space or no permission.
    """
    _write(where.sandbox(name) / paths.RECORD, record)


def update_record(where: Paths, name: str, **changes: object) -> SandboxRecord:
    """Change some fields of the record; callers hold the sandbox's lock."""
    record = replace(read_record(where, name), **changes)  # type: ignore[arg-type]  # replace is untyped
    write_record(where, name, record)
    return record


def _write(path: Path, value: SandboxSpec | SandboxRecord) -> None:
    fields = codec.to_json(value)
    assert isinstance(fields, dict)
    text = json.dumps({"version": VERSION, **fields}, indent=2, ensure_ascii=False)
    write_atomic(path, (text + "\n").encode())


def _read(kind: type[T], path: Path, name: str) -> T:
    try:
        return codec.from_json(kind, read_fields(path, name))
    except codec.CodecError as error:
        raise damaged(path, name, str(error)) from error
