# SPDX-License-Identifier: Apache-2.0
"""Create: make the parts that are missing, write the sandbox's folder, bring it up."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sbx.errors import SbxError
from sbx.lifecycle import branch
from sbx.lifecycle.base import find_template
from sbx.lifecycle.leftovers import sweep_builders
from sbx.lifecycle.remove import forget_rules, remove
from sbx.lifecycle.request import CreateRequest
from sbx.lifecycle.standby import Standby
from sbx.lifecycle.start import Listener, start
from sbx.lifecycle.status import status
from sbx.sandbox.name import check_name
from sbx.sandbox.parts import Template
from sbx.sandbox.ports import Publication
from sbx.sandbox.recipe import NO_RECIPE, Recipe
from sbx.sandbox.record import SandboxRecord
from sbx.sandbox.spec import SandboxSpec
from sbx.sandbox.status import SandboxStatus
from sbx.store import paths as names
from sbx.store import records
from sbx.store.paths import Paths, make_private
from sbx.system.files import write_atomic
from sbx.system.progress import Progress

if TYPE_CHECKING:
    from sbx.kit.compose import Composition

_UUID = Path("/proc/sys/kernel/random/uuid")  # a new one each time (random(4)); the module is slow


def create(
    where: Paths,
    request: CreateRequest,
    *,
    progress: Progress,
    listener: Listener,
    standby: Standby | None = None,
) -> SandboxStatus:
    """Make a sandbox and start it; on an interrupt nothing of it stays.

    A sandbox whose first start fails stays, with its evidence, so that `inspect` can tell and
    `run` can try again. One with kits does not stay: what they bring was never carried out.

    Raises:
        ConflictError: the name is taken.
        UserError: hosts shall be denied, and no network posture was chosen.
        SbxError: a part cannot be built, or the start failed.
    """
    check_name(request.name)
    make_private(where)
    records.sweep(where)
    sweep_builders(where)
    spec = _spec(request, _template(where, request, progress=progress, listener=listener))
    records.create_folder(where, spec, SandboxRecord(published=_published(request)))
    if request.disk is not None:
        with contextlib.suppress(OSError):  # gone meanwhile, or elsewhere: a new one is made
            request.disk.rename(where.sandbox(request.name) / names.DATA_DISK)
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
        if request.kits is not None:
            _apply_rules(where, request)
        now = start(
            where, request.name, progress=progress, listener=listener, is_new=True, standby=standby
        )
    except SbxError:
        if request.kits is not None:
            remove(where, request.name, force=True)
        raise
    except BaseException:
        remove(where, request.name, force=True)
        raise
    if request.kits is None:
        return now
    try:
        _carry_out(where, now.spec, request.kits, progress)
    except BaseException:  # half of what was asked for is nothing
        remove(where, request.name, force=True)
        raise
    return status(where, request.name)


# What kits need is loaded for those who have some: their parser alone costs as much as the rest.


def _apply_rules(where: Paths, request: CreateRequest) -> None:
    from sbx.lifecycle.kit_rules import apply_kit_rules  # noqa: PLC0415 - see above

    assert request.kits is not None
    apply_kit_rules(where, request.name, request.kits, agreed=request.kit_hosts)


def _carry_out(where: Paths, spec: SandboxSpec, kits: Composition, progress: Progress) -> None:
    from sbx.lifecycle import provision, startup  # noqa: PLC0415 - see above

    if not kits.install:  # otherwise it is in the agent's layer
        provision.install(where, spec, kits, progress)
    provision.configure(where, spec, kits)
    startup.run_startup(where, spec.name, spec.recipe.startup)
    provision.provision_workspace(where, spec, kits)
    write_atomic(where.sandbox(spec.name) / names.KITS_DONE, b"")


def _template(
    where: Paths, request: CreateRequest, *, progress: Progress, listener: Listener
) -> Template:
    """What was asked for, with what the kits install on top."""
    if request.kits is None or not request.kits.install:
        return find_template(where, request.template, progress)
    from sbx.lifecycle.agent_layer import agent_template  # noqa: PLC0415 - see above

    return agent_template(where, request, progress=progress, listener=listener)


def _recipe(request: CreateRequest) -> Recipe:
    if request.kits is None:
        return NO_RECIPE
    from sbx.lifecycle.provision import recipe_of  # noqa: PLC0415 - see above

    return recipe_of(request.kits, request.kit_services)


def _published(request: CreateRequest) -> tuple[Publication, ...]:
    if request.kits is None or not request.kits.ports:
        return request.published
    from sbx.lifecycle.provision import publications_of  # noqa: PLC0415 - see above

    return request.published + publications_of(request.kits, request.published)


def _spec(request: CreateRequest, template: Template) -> SandboxSpec:
    kits = request.kits
    return SandboxSpec(
        id=_UUID.read_text().strip(),
        name=request.name,
        agent=request.agent,
        template=template.name,
        layers=tuple(layer.digest for layer in template.layers),
        user=template.user,
        command=_command(request, template),
        mounts=request.mounts,
        workdir=_workdir(request, template),
        env={**template.env, **(kits.variables if kits else {}), **request.env},
        resources=request.resources,
        accel=request.accel,
        created_at=datetime.now(UTC),
        recipe=_recipe(request),
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


def _command(request: CreateRequest, template: Template) -> tuple[str, ...]:
    own = request.kits.launch((), terminal=False) if request.kits is not None else ()
    return request.command or own or template.command
