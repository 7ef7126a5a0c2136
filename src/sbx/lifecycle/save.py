# SPDX-License-Identifier: Apache-2.0
"""A stopped sandbox as a template: what it changed becomes a layer on those it was made from.

Its disk is mounted in a builder and nowhere else. Shared folders and the data of its Docker engine
are not part of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from sbx.errors import ConflictError, PermanentError
from sbx.image.store import ImageStore
from sbx.lifecycle import packer
from sbx.lifecycle import templates as naming
from sbx.lifecycle.builder import INPUT, Builder, builder
from sbx.lifecycle.convert import MAX_LAYER_BYTES, MOST_LAYERS, stored_layer
from sbx.lifecycle.start import Listener
from sbx.lifecycle.status import status
from sbx.sandbox.parts import Layer, Template
from sbx.sandbox.spec import Mount, SandboxSpec
from sbx.sandbox.state import State
from sbx.store import paths as names
from sbx.store import templates
from sbx.store.paths import Paths
from sbx.store.templates import Origin, StoredLayer, StoredTemplate
from sbx.system.codec import Json
from sbx.system.locks import hold_lock
from sbx.system.progress import Progress

_LAYERS = Path("/mnt/sbx-layers")
_SHELLS = ("/bin/bash",)  # of the base template


def save(
    where: Paths, name: str, reference: str, *, progress: Progress, listener: Listener
) -> StoredTemplate:
    """Make a template of a stopped sandbox.

    Raises:
        NotFoundError: there is no such sandbox.
        ConflictError: it is running.
        SbxError: it cannot be packed.
    """
    spec = status(where, name).spec
    with hold_lock(where.sandbox(name) / names.VERB_LOCK):  # it must not start meanwhile
        if status(where, name).state not in (State.STOPPED, State.FAILED):
            raise ConflictError(
                f"sandbox `{name}` is running and must be stopped before saving",
                hint=f"Run: sbx stop {name}",
            )
        disk = where.sandbox(name) / names.DATA_DISK
        if not disk.exists():
            raise ConflictError(f"sandbox `{name}` was never started: there is nothing to save")
        base = _base(where, spec)
        below = base.layers[: MOST_LAYERS - 1]
        along = base.layers[MOST_LAYERS - 1 :]
        inputs = (
            Mount(source=disk, target=INPUT, read_only=True, is_file=True),
            *layer_mounts(where, along),
        )
        with builder(where, inputs, progress=progress, listener=listener) as made:
            progress.begin(f"Packing sandbox {name}")
            args: dict[str, Json] = {"disk": str(INPUT), "layers": [*layer_paths(along)]}
            top = take(made, "upper", args, what=f"cannot save sandbox `{name}`")
            progress.end()
    layers = (*below, top)
    stored = replace(
        base,
        reference=reference,
        id=stack_id(base, layers),
        origin=Origin.SAVED,
        created_at=datetime.now(UTC),
        digest="",
        flavor=spec.agent,
        labels={**base.labels, naming.FLAVOR: spec.agent},
        layers=layers,
    )
    templates.write(where, stored)
    return stored


def take(made: Builder, verb: str, args: dict[str, Json], *, what: str) -> StoredLayer:
    """Let a builder make a layer, and take it over."""
    answer = made.call(verb, args, what=what)
    store = ImageStore(made.where.cache)
    layer = store.take_layer(made.out / packer.IMAGE, limit_bytes=MAX_LAYER_BYTES)
    return stored_layer(layer, answer)


def layer_mounts(where: Paths, layers: Sequence[StoredLayer]) -> tuple[Mount, ...]:
    """Layers as files that a builder sees."""
    store = ImageStore(where.cache)
    found: list[Mount] = []
    for number, one in enumerate(layers):
        layer = store.layer(one.digest)
        if layer is None:
            raise PermanentError(f"a layer is missing or damaged: {one.digest[:12]}")
        target = Path(layer_paths(layers)[number])
        found.append(Mount(source=layer.path, target=target, read_only=True, is_file=True))
    return tuple(found)


def layer_paths(layers: Sequence[StoredLayer]) -> list[str]:
    """Where a builder sees them."""
    return [str(_LAYERS / str(number)) for number in range(len(layers))]


def stack_id(base: StoredTemplate, layers: Sequence[StoredLayer]) -> str:
    """The id of a template that has no image's configuration: over what it consists of."""
    parts = [[layer.digest for layer in layers], base.user, base.workdir, base.env, base.command]
    return f"sha256:{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}"


def stored_form(template: Template, reference: str) -> StoredTemplate:
    """A template of ours, as one of the user's would be kept."""
    return StoredTemplate(
        reference=reference,
        id=f"sha256:{template.digest}",
        origin=Origin.SAVED,
        created_at=datetime.now(UTC),
        user=template.user,
        workdir=template.workdir,
        env=dict(template.env),
        command=template.command,
        labels={},
        layers=tuple(_as_stored(layer) for layer in template.layers),
    )


def _base(where: Paths, spec: SandboxSpec) -> StoredTemplate:
    """What a sandbox was made from: its layers as they were then, defaults as they are now."""
    store = ImageStore(where.cache)
    stored = templates.find(where, spec.template) if "/" in spec.template else None
    if stored is None:
        template = store.template(spec.template) or store.template("shell")
        assert template is not None  # the builder's
        stored = stored_form(template, spec.template)
    known = {layer.digest: layer for layer in stored.layers}
    layers: list[StoredLayer] = []
    for digest in spec.layers:
        layer = store.layer(digest)
        if layer is None:
            raise PermanentError(f"a layer of the sandbox is missing or damaged: {digest[:12]}")
        layers.append(known.get(digest) or _as_stored(layer))
    return replace(stored, layers=tuple(layers), user=spec.user)


def _as_stored(layer: Layer) -> StoredLayer:
    return StoredLayer(digest=layer.digest, size_bytes=layer.size_bytes, shells=_SHELLS)
