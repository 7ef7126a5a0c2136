# SPDX-License-Identifier: Apache-2.0
"""A template from a folder with a Dockerfile, built by the Docker engine of a builder.

The builder sees the folder read-only and goes out as the policy for all sandboxes says. Our own
templates are images there without a copy: their layers are mounted where the engine keeps an
image's files, so what a build adds to one of them becomes one more layer on the same ones.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from sbx.errors import PermanentError, UserError
from sbx.image import oci
from sbx.image.oci import ImageConfig
from sbx.lifecycle import templates as naming
from sbx.lifecycle.builder import INPUT, Builder, builder
from sbx.lifecycle.convert import Source, convert
from sbx.lifecycle.inside import Command, Sink, run_inside
from sbx.lifecycle.load import find_images, read_archive
from sbx.lifecycle.save import layer_mounts, layer_paths, stored_form, take
from sbx.lifecycle.start import Listener
from sbx.sandbox.parts import Template
from sbx.sandbox.spec import Mount
from sbx.store import templates
from sbx.store.paths import Paths
from sbx.store.templates import Origin, StoredLayer, StoredTemplate
from sbx.system.codec import Json
from sbx.system.progress import Progress

DOCKERFILE = "Dockerfile"
_IMAGE = "opensbx-build:latest"
_ARCHIVE = Path("/var/tmp/image.tar")  # noqa: S108 - inside the builder
_BUILD_SECONDS = 4 * 3600.0
_OUTPUT_BYTES = 256 << 20
_KEPT_LINES = 30
_LINE_BYTES = 8192
_FROM = re.compile(r"^\s*FROM\s+(?:--\S+\s+)*(\S+)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A template of ours that a Dockerfile starts from, under the name that it has there."""

    name: str
    template: Template


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is to be built."""

    folder: Path
    reference: str  # of the template
    bases: Sequence[Base]


def named_bases(folder: Path) -> tuple[str, ...]:
    """The images that the folder's Dockerfile names after FROM, each once.

    Raises:
        UserError: there is no Dockerfile that can be read.
    """
    file = folder / DOCKERFILE
    try:
        text = file.read_text(errors="replace")
    except OSError as error:
        raise UserError(f"cannot read `{file}`: {error.strerror}") from error
    return tuple(dict.fromkeys(_FROM.findall(text)))


def build(
    where: Paths,
    job: Job,
    *,
    progress: Progress,
    listener: Listener,
    on_line: Callable[[str], None] | None,
) -> StoredTemplate:
    """Build a folder's Dockerfile and keep the result; `on_line` gets each line of the build.

    Raises:
        UserError: the build failed.
        SbxError: the builder failed.
    """
    stacks = [stored_form(base.template, base.name).layers for base in job.bases]
    every = [layer for stack in stacks for layer in stack]
    paths = layer_paths(every)
    context = Mount(source=job.folder.resolve(), target=INPUT, read_only=True)
    inputs = (context, *layer_mounts(where, every))
    with builder(where, inputs, progress=progress, listener=listener) as made:
        progress.begin("Starting the Docker engine")
        known: dict[str, tuple[StoredLayer, ...]] = {}
        for base, stack in zip(job.bases, stacks, strict=True):
            here, paths = paths[: len(stack)], paths[len(stack) :]
            args = _base_arguments(base, here)
            known[str(made.call("base", args, what=f"cannot use {base.name}")["layer"])] = stack
        progress.end()
        _build(made, job.folder, on_line)
        progress.begin("Packing the template")
        found = made.call("built", {"image": _IMAGE}, what="cannot use what was built")
        image_id, config = _described(found)
        below = known.get(config.diff_ids[0]) if config.diff_ids else None
        if below is None:
            progress.end()
            layers = _all_layers(made, config, progress)
        else:
            layers = below
            if len(config.diff_ids) > 1:
                image: dict[str, Json] = {"image": _IMAGE}
                layers = (*below, take(made, "added", image, what="cannot use what was built"))
            progress.end()
    stored = naming.make(
        job.reference, image_id=image_id, origin=Origin.BUILT, config=config, layers=layers
    )
    templates.write(where, stored)
    return stored


def _base_arguments(base: Base, paths: Sequence[str]) -> dict[str, Json]:
    template = base.template
    variables = " ".join(f"{name}={json.dumps(value)}" for name, value in template.env.items())
    changes = [
        f"USER {template.user}",
        f"WORKDIR {template.workdir}",
        f"CMD {json.dumps(list(template.command))}",
        f"LABEL {naming.FLAVOR}={json.dumps(template.name)}",
        *([f"ENV {variables}"] if variables else []),
    ]
    return {"layers": [*paths], "name": base.name, "mark": template.digest, "changes": [*changes]}


def _build(made: Builder, folder: Path, on_line: Callable[[str], None] | None) -> None:
    words = ("docker", "build", "--progress", "plain", "--tag", _IMAGE, str(INPUT))
    lines = _Lines(on_line)
    command = Command(
        argv=("sh", "-c", f"exec {shlex.join(words)} 2>&1"), user="0", timeout_s=_BUILD_SECONDS
    )
    sink = Sink(file=cast("IO[bytes]", lines), limit_bytes=_OUTPUT_BYTES)
    done = run_inside(made.where, made.spec.name, command, sink=sink)
    if done.status != 0:
        shown = "\n".join(lines.kept) if on_line is None else None
        raise UserError(f"the build of `{folder}` failed: {done.why}", details=shown or None)


class _Lines:
    """What a build prints, handed on line by line; the last lines are kept."""

    def __init__(self, on_line: Callable[[str], None] | None) -> None:
        self.kept: list[str] = []
        self._on_line = on_line
        self._rest = b""

    def write(self, data: bytes) -> int:
        *whole, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-_LINE_BYTES:]
        for line in whole:
            text = line.decode(errors="replace").rstrip("\r")
            self.kept = [*self.kept, text][-_KEPT_LINES:]
            if self._on_line is not None:
                self._on_line(text)
        return len(data)


def _described(found: Mapping[str, object]) -> tuple[str, ImageConfig]:
    """The id and the configuration of an image, from what the engine in the builder says."""
    image_id, document = found.get("id"), found.get("config")
    if not isinstance(image_id, str) or not isinstance(document, dict):
        raise PermanentError("cannot use what was built: the builder's answer makes no sense")
    data = json.dumps(document).encode()
    return image_id, oci.parse_config(oci.parse_json(data, "the configuration"))


def _all_layers(made: Builder, config: ImageConfig, progress: Progress) -> tuple[StoredLayer, ...]:
    """The layers of an image that stands on none of ours."""
    args: dict[str, Json] = {"image": _IMAGE, "path": str(_ARCHIVE)}
    made.call("archive", args, what="cannot use what was built")
    archive = read_archive(made, _ARCHIVE.name, path=_ARCHIVE)
    image = find_images(archive)[0]
    sources: list[Source] = []
    for number, name in enumerate(image.layers):
        place = archive.files.get(archive.follow(name))
        if place is None or number >= len(config.diff_ids):
            raise PermanentError("cannot use what was built: a layer is missing")
        # The host saw none of these bytes, so nothing of it is shared with another image.
        sources.append(
            Source(
                path=archive.path,
                offset=place[0],
                size_bytes=place[1],
                digest="",
                diff_id=config.diff_ids[number],
            )
        )
    return convert(made, sources, {}, what="what was built", progress=progress)
