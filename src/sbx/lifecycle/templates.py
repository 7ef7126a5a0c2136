# SPDX-License-Identifier: Apache-2.0
"""The user's templates: names, defaults of what runs in them, finding and removing them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from sbx.errors import ConflictError, NotFoundError, PermanentError, UserError
from sbx.image.oci import ImageConfig
from sbx.image.template import SHELL
from sbx.kit.reference import DEFAULT_REGISTRY, OciKit, parse_oci
from sbx.lifecycle.convert import find_shell
from sbx.store import records, templates
from sbx.store.paths import Paths
from sbx.store.templates import Origin, StoredLayer, StoredTemplate

AGENT_USER = "agent"
FLAVOR = "com.docker.sandboxes.flavor"
OWN = "opensbx"  # the namespace of our own templates: opensbx/shell, opensbx/<agent>
_WORKDIR = f"/home/{AGENT_USER}/workspace"
_DASHES = re.compile(r"[^a-z0-9]+")


def full_reference(text: str) -> str:
    """The reference under which a tag is kept: `x` is docker.io/library/x:latest.

    Raises:
        UserError: it is malformed.
    """
    return reference_of(parse_oci(text))


def reference_of(image: OciKit) -> str:
    """A parsed reference as it is kept."""
    return f"{image.source}@{image.digest}" if image.digest else f"{image.source}:{image.tag}"


def check_tag(text: str) -> str:
    """The full reference for a new template.

    Raises:
        UserError: it is malformed, has a digest, or is a name of ours.
    """
    image = parse_oci(text)
    if image.digest:
        raise UserError(f"a template is saved under a tag, not a digest: `{text}`")
    repository = image.repository.removeprefix("library/")
    if image.registry == DEFAULT_REGISTRY and (
        repository == SHELL or repository.split("/")[0] == OWN
    ):
        raise UserError(f"`{text}` is a name of our own templates", hint="Use another tag")
    return reference_of(image)


def check_free(where: Paths, reference: str, *, image_id: str = "") -> None:
    """Raise ConflictError if a tag is taken by another image."""
    there = templates.find(where, reference)
    if there is not None and (not image_id or there.id != image_id):
        raise templates.taken(reference)


def folder_tag(name: str) -> str:
    """The tag that a folder's name makes."""
    found = _DASHES.sub("-", name.lower()).strip("-")
    if not found:
        raise UserError(f"the folder's name makes no tag: `{name}`", hint="Name a tag after it")
    return found


def has_registry(text: str) -> bool:
    """Whether a reference names its registry, so that it may be pulled."""
    first, slash, _rest = text.partition("/")
    return bool(slash) and ("." in first or ":" in first or first == "localhost")


def make(
    reference: str,
    *,
    image_id: str,
    origin: Origin,
    config: ImageConfig,
    layers: Sequence[StoredLayer],
    digest: str = "",
) -> StoredTemplate:
    """A template of an image's configuration and layers.

    Raises:
        UserError: it has no shell.
    """
    shell = find_shell(layers, f"image `{reference}`")
    own = (shell, "-l") if shell.endswith("bash") else (shell,)
    return StoredTemplate(
        reference=reference,
        id=image_id,
        origin=origin,
        created_at=datetime.now(UTC),
        digest=digest,
        flavor=config.labels.get(FLAVOR, ""),
        user=config.user or AGENT_USER,
        # Builders write "/" where nobody chose a folder.
        workdir=config.workdir if config.workdir.strip("/") else _WORKDIR,
        env=dict(config.env),
        command=(*config.entrypoint, *config.command) or own,
        labels=dict(config.labels),
        layers=tuple(layers),
    )


def find_any(where: Paths, text: str) -> tuple[StoredTemplate, ...]:
    """The template of a tag, or those of an id's beginning.

    Raises:
        NotFoundError: there is none.
        ConflictError: the beginning is that of several images.
    """
    try:
        found = templates.find(where, full_reference(text))
    except UserError:
        found = None
    if found is not None:
        return (found,)
    several = templates.by_id(where, text)
    if not several:
        raise templates.not_found(text)
    if len({one.id for one in several}) > 1:
        raise ConflictError(f"several templates begin with `{text}`", hint="Write more of the id")
    return several


def users_of(where: Iterable[Paths], stored: StoredTemplate) -> tuple[str, ...]:
    """The sandboxes that were made from a template."""
    found: list[str] = []
    for one in where:
        for name in records.names(one):
            try:
                spec = records.read_spec(one, name)
            except (NotFoundError, PermanentError):
                continue
            if spec.template == stored.reference:
                found.append(name)
    return tuple(found)
