# SPDX-License-Identifier: Apache-2.0
"""Create: make the parts that are missing, write the sandbox's folder, bring it up."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from sbx.errors import SbxError
from sbx.image.store import ImageStore
from sbx.lifecycle import branch
from sbx.lifecycle.remove import forget_rules, remove
from sbx.lifecycle.request import CreateRequest
from sbx.lifecycle.start import Listener, start
from sbx.sandbox.name import check_name
from sbx.sandbox.parts import Template
from sbx.sandbox.record import SandboxRecord
from sbx.sandbox.spec import SandboxSpec
from sbx.sandbox.status import SandboxStatus
from sbx.store import records
from sbx.store.paths import Paths, make_private
from sbx.system.progress import Progress

_UUID = Path("/proc/sys/kernel/random/uuid")  # a new one each time (random(4)); the module is slow


def create(
    where: Paths, request: CreateRequest, *, progress: Progress, listener: Listener
) -> SandboxStatus:
    """Make a sandbox and start it; on an interrupt nothing of it stays.

    A sandbox whose first start fails stays, with its evidence, so that `inspect` can tell and
    `run` can try again.

    Raises:
        ConflictError: the name is taken.
        UserError: hosts shall be denied, and no network posture was chosen.
        SbxError: a part cannot be built, or the start failed.
    """
    check_name(request.name)
    make_private(where)
    records.sweep(where)
    prepared = ImageStore(where.cache).prepare(progress, template=request.template)
    spec = _spec(request, prepared.template)
    records.create_folder(where, spec, SandboxRecord(published=request.published))
    forget_rules(where, request.name)  # of an earlier one, whose removal did not get that far
    try:
        if request.deny_network:
            from sbx.lifecycle.denials import add_denials  # noqa: PLC0415 - rarely needed, and large

            add_denials(where, request)
    except BaseException:  # it must not be there without what was to be denied
        remove(where, request.name, force=True)
        raise
    try:
        _make_branch(where, spec)
        return start(where, request.name, progress=progress, listener=listener)
    except SbxError:
        raise
    except BaseException:
        remove(where, request.name, force=True)
        raise


def _spec(request: CreateRequest, template: Template) -> SandboxSpec:
    return SandboxSpec(
        id=_UUID.read_text().strip(),
        name=request.name,
        agent=request.agent,
        template=template.name,
        layers=tuple(layer.digest for layer in template.layers),
        user=template.user,
        command=request.command or template.command,
        mounts=request.mounts,
        workdir=_workdir(request, template),
        env={**template.env, **request.env},
        resources=request.resources,
        accel=request.accel,
        created_at=datetime.now(UTC),
        git=request.git,
        masks=request.masks,
        private_paths=request.private_paths,
        git_unsafe=request.git_unsafe,
    )


def _workdir(request: CreateRequest, template: Template) -> str:
    if request.workdir is not None:
        return request.workdir
    return str(request.mounts[0].target) if request.mounts else template.workdir


def _make_branch(where: Paths, spec: SandboxSpec) -> None:
    """Without its branch or clone there is no sandbox to try again with."""
    try:
        branch.make(where, spec)
    except SbxError:
        records.delete_folder(where, spec.name)
        raise
