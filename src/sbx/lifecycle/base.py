# SPDX-License-Identifier: Apache-2.0
"""What a sandbox is made from: the base template, an agent's, or one of the user's.

Small on purpose: every `create` loads it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from sbx.errors import PermanentError
from sbx.image.store import ImageStore
from sbx.sandbox.parts import Template
from sbx.store.paths import APPLICATION, Paths
from sbx.system.progress import Progress

if TYPE_CHECKING:
    from sbx.store.templates import StoredTemplate


def find_template(where: Paths, name: str, progress: Progress) -> Template:
    """The template of a name in a request, its parts and the machine's built where missing.

    Raises:
        NotFoundError: there is none.
        PermanentError: a layer of it is gone.
        SbxError: a part cannot be built.
    """
    store = ImageStore(where.cache)
    if "/" not in name:
        return store.prepare(progress, template=name).template
    from sbx.store import templates  # noqa: PLC0415 - only for those who have some

    stored = templates.find(where, name)
    if stored is None:
        raise templates.not_found(name)
    store.prepare_machine(progress)
    return as_parts(store, stored)


def as_parts(store: ImageStore, stored: StoredTemplate) -> Template:
    """A stored template as a sandbox is made of it.

    Raises:
        PermanentError: a layer of it is gone.
    """
    layers = [store.layer(layer.digest) for layer in stored.layers]
    if None in layers:
        raise PermanentError(
            f"a layer of template `{stored.reference}` is missing or damaged",
            hint="Load, pull or save it again",
        )
    return Template(
        name=stored.reference,
        digest=stored.id.removeprefix("sha256:"),
        layers=tuple(layer for layer in layers if layer is not None),
        user=stored.user,
        workdir=stored.workdir,
        env=dict(stored.env),
        command=stored.command,
        versions={},
    )


def layer_digests(where: Iterable[Paths]) -> frozenset[str]:
    """The layers that the user's templates need, in all installations that share the cache."""
    from sbx.store import templates  # noqa: PLC0415 - only for those who have some

    return frozenset(
        layer.digest
        for one in where
        for stored in templates.read_all(one)
        for layer in stored.layers
    )


def installations(where: Paths) -> tuple[Paths, ...]:
    """This set of sandboxes and the others of this user (`--app-name`): they share the cache."""
    return tuple(
        replace(where, state=state, config=where.config.with_name(state.name))
        for state in sorted(where.state.parent.glob(f"{APPLICATION}*"))
        if state.is_dir() and (state.name == APPLICATION or state.name[len(APPLICATION)] == "-")
    )
