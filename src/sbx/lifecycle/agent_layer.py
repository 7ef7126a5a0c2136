# SPDX-License-Identifier: Apache-2.0
"""The layer of an agent: what its install steps leave, made once and shared by its sandboxes.

A builder sandbox without any folder of the host runs the steps. What changed comes out as a tar
archive, which the host never opens: a jailed mkfs.erofs packs it (docs/security.md, I8). The key is
everything that the result depends on, so another version is another layer.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Generator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from sbx.errors import NotFoundError, PermanentError
from sbx.image.recipe import input_key
from sbx.image.store import ImageStore
from sbx.kit.compose import Composition
from sbx.lifecycle.base import find_template
from sbx.lifecycle.create import create
from sbx.lifecycle.inside import Command, Sink, run_inside
from sbx.lifecycle.kit_rules import apply_kit_rules
from sbx.lifecycle.provision import install
from sbx.lifecycle.remove import remove
from sbx.lifecycle.request import CreateRequest
from sbx.lifecycle.start import Listener
from sbx.sandbox.parts import Template
from sbx.sandbox.spec import SandboxSpec
from sbx.store import records
from sbx.store.paths import Paths, make_private
from sbx.system.locks import hold_lock
from sbx.system.progress import Progress

_RECIPE = 1  # raise it when the same steps give another layer
_LOCK = "agents.lock"
_MAX_ARCHIVE_BYTES = 8 << 30
_EXPORT_SECONDS = 1800.0
_SCRIPT = "changes.py"


def layer_key(whole: Composition, base: Template) -> str:
    """The key of the layer of a composition on a template."""
    home = sorted(
        (name, hashlib.sha256(file.data).hexdigest(), file.executable, file.link)
        for name, file in whole.home_files.items()
    )
    steps = [[step.user, step.command] for step in whole.install]
    return input_key("agent", _RECIPE, base.digest, steps, home, sorted(whole.variables.items()))


def template_name(whole: Composition, key: str) -> str:
    """The name of the template that holds the layer."""
    return f"agent-{whole.agent.spec.name[:40]}-{key[:16]}"


def agent_template(
    where: Paths, request: CreateRequest, *, progress: Progress, listener: Listener
) -> Template:
    """The template on which the install steps of a request's kits are carried out already.

    Built if it is absent; others that want it meanwhile wait. A build that fails leaves nothing.

    Raises:
        PermanentError: a step failed or took too long, or what it left cannot be packed.
        SbxError: the builder sandbox cannot be made.
    """
    assert request.kits is not None
    store = ImageStore(where.cache)
    base = find_template(where, request.template, progress)
    key = layer_key(request.kits, base)
    name = template_name(request.kits, key)
    make_private(where)
    with hold_lock(where.cache / _LOCK):
        found = store.template(name)
        if found is not None:
            return found
        with _builder(where, request, key, progress=progress, listener=listener) as spec:
            install(where, spec, request.kits, progress)
            progress.begin(f"Packing the layer of agent {request.kits.agent.spec.name}")
            made = store.add_layer(
                replace(base, name=name), key, lambda path: _export(where, spec.name, path)
            )
            progress.end()
            return made


@contextlib.contextmanager
def _builder(
    where: Paths, request: CreateRequest, key: str, *, progress: Progress, listener: Listener
) -> Generator[SandboxSpec]:
    """A sandbox with nothing of the host, for the steps alone; it is gone afterwards."""
    assert request.kits is not None
    wanted = replace(
        request,
        name=f"build-{key[:12]}",
        agent="builder",
        mounts=(),
        kits=None,
        workdir=None,
        git=None,
        masks=(),
        private_paths=(),
        published=(),
        env=dict(request.kits.variables),
    )
    if wanted.name in records.names(where):  # left by a build that was killed
        remove(where, wanted.name, force=True)
    try:
        now = create(where, wanted, progress=progress, listener=listener)
        apply_kit_rules(where, wanted.name, request.kits, agreed=request.kit_hosts)
        begin = Command(argv=("python3", "-", "begin"), user="0", stdin=_script())
        _must(where, wanted.name, begin, "cannot look at the sandbox")
        yield now.spec
    finally:
        with contextlib.suppress(NotFoundError):
            remove(where, wanted.name, force=True)


def _export(where: Paths, name: str, archive: Path) -> None:
    """Write what changed in the builder to an archive, as bytes that are not looked at."""
    command = Command(
        argv=("python3", "-", "export"), user="0", stdin=_script(), timeout_s=_EXPORT_SECONDS
    )
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(archive, flags, 0o600), "wb") as file:
        sink = Sink(file=file, limit_bytes=_MAX_ARCHIVE_BYTES)
        _must(where, name, command, "cannot take the layer out of the sandbox", sink)
        if sink.is_full:
            raise PermanentError(f"the layer is larger than {_MAX_ARCHIVE_BYTES >> 30} GiB")


def _must(where: Paths, name: str, command: Command, what: str, sink: Sink | None = None) -> None:
    done = run_inside(where, name, command, sink=sink)
    if done.status != 0 and not (sink is not None and sink.is_full):
        raise PermanentError(f"{what}: {done.why}", details=done.output or None)


def _script() -> bytes:
    return files("sbx.lifecycle").joinpath(_SCRIPT).read_bytes()
