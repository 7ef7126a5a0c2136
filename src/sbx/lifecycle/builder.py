# SPDX-License-Identifier: Apache-2.0
"""A builder: a sandbox of the base template that works for us, with nothing of the user's.

What strangers and guests wrote is unpacked there and nowhere else. It sees what it is given
read-only, and one folder for what it makes, of which only the bytes are taken (docs/security.md).
One at a time: whoever holds the lock may clear away what a killed one left.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import secrets
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import cast

from sbx.errors import NotFoundError, PermanentError, SbxError, UserError
from sbx.image.cache import remove_tree
from sbx.image.store import ImageStore
from sbx.lifecycle import packer
from sbx.lifecycle.create import create
from sbx.lifecycle.inside import Command, Done, Sink, run_inside
from sbx.lifecycle.leftovers import AGENT, FOLDER, LOCK, PREFIX, clear_builders
from sbx.lifecycle.remove import remove
from sbx.lifecycle.request import CreateRequest
from sbx.lifecycle.start import Listener
from sbx.lifecycle.stop import StopResult, stop
from sbx.sandbox.spec import Mount, Resources, SandboxSpec
from sbx.store import paths as names
from sbx.store.paths import Paths, make_private
from sbx.system.codec import Json
from sbx.system.files import allocated_bytes, private_folder
from sbx.system.locks import hold_lock
from sbx.system.progress import Progress
from sbx.vm.resources import DEFAULT_DISK_BYTES, choose_resources, host_capacity

INPUT = Path("/mnt/sbx-in")
log = logging.getLogger(__name__)

MAX_CACHE_BYTES = 20 << 30
_CALL_SECONDS = 3600.0
_MAX_ANSWER_BYTES = 64 << 20
_SCRIPT = "packer.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """One that is up."""

    where: Paths
    spec: SandboxSpec
    out: Path  # the folder of what it makes; it may still write there

    def call(self, verb: str, args: Mapping[str, Json], *, what: str) -> dict[str, object]:
        """Let it do one thing of `packer`; its answer, which is not to be trusted further.

        Raises:
            UserError: what it was given is at fault; `what` begins the sentence.
            PermanentError: it failed.
            TransientError: it is gone.
        """
        answer = io.BytesIO()
        script = files("sbx.lifecycle").joinpath(_SCRIPT).read_bytes()
        command = Command(
            argv=("python3", "-I", "-", verb, json.dumps(args)),
            user="0",
            stdin=script,
            timeout_s=_CALL_SECONDS,
        )
        sink = Sink(file=answer, limit_bytes=_MAX_ANSWER_BYTES)
        done = run_inside(self.where, self.spec.name, command, sink=sink)
        if done.status == packer.WRONG:
            raise UserError(f"{what}: {_last_line(done)}")
        if done.status != 0 or sink.is_full:
            raise PermanentError(f"{what}: {done.why}", details=done.output or None)
        try:
            found: object = json.loads(answer.getvalue())
        except (ValueError, RecursionError) as error:
            raise PermanentError(f"{what}: the builder's answer is no JSON") from error
        if not isinstance(found, dict):
            raise PermanentError(f"{what}: the builder's answer is no object")
        return cast("dict[str, object]", found)


@contextlib.contextmanager
def builder(
    where: Paths,
    inputs: Sequence[Mount],
    *,
    progress: Progress,
    listener: Listener,
    disk: Path | None = None,
) -> Generator[Builder]:
    """A builder that sees `inputs`; it is gone at the end of the block.

    With `disk` its data disk is the file of that name, if there is one, and is put there again
    unless the block is left by an interrupt or it has become too large.

    Raises:
        SbxError: it cannot be made.
    """
    make_private(where)
    runtime, _tools = ImageStore(where.cache).prepare_machine(progress)
    with hold_lock(where.state / LOCK):
        clear_builders(where)
        name = f"{PREFIX}{secrets.token_hex(4)}"
        out = private_folder(where.cache / FOLDER / name)
        request = CreateRequest(
            name=name,
            agent=AGENT,
            mounts=(
                Mount(source=out, target=Path(packer.OUT)),
                Mount(source=runtime.root, target=Path(packer.RUNTIME), read_only=True),
                *inputs,
            ),
            resources=_resources(),
            disk=disk if disk is not None and disk.exists() else None,
            workdir="/",
            git_unsafe=True,  # there is no repository of anybody's
        )
        try:
            now = create(where, request, progress=progress, listener=listener)
            try:
                yield Builder(where=where, spec=now.spec, out=out)
            except SbxError:
                _put_back(where, name, disk)
                raise
            _put_back(where, name, disk)
        finally:
            with contextlib.suppress(NotFoundError):
                remove(where, name, force=True)
            remove_tree(out)


def _put_back(where: Paths, name: str, disk: Path | None) -> None:
    """Keep a builder's disk; a cache that cannot be kept is no failure."""
    if disk is None:
        return
    try:
        if stop(where, name) is not StopResult.STOPPED:
            return  # its file system was not left in order
        made = where.sandbox(name) / names.DATA_DISK
        if allocated_bytes(made) <= MAX_CACHE_BYTES:
            made.rename(private_folder(disk.parent) / disk.name)
    except (SbxError, OSError) as error:
        log.warning("the cache of builds is lost: %s", error)


def _resources() -> Resources:
    """The default shape: there is a snapshot of it."""
    chosen = choose_resources(host_capacity())
    return Resources(
        cpus=chosen.cpus, memory_bytes=chosen.memory_bytes, disk_bytes=DEFAULT_DISK_BYTES
    )


def _last_line(done: Done) -> str:
    return done.output.splitlines()[-1] if done.output else done.why
