# SPDX-License-Identifier: Apache-2.0
"""A Dockerfile as a template: built by the Docker engine of a builder, under the user's policy.

The folder is shared read-only. Our own templates and the user's are images of that engine, made of
their layers as they are, so `FROM` copies nothing, and the template that comes out stands on the
same layers. What the engine keeps for the next build is the builder's disk, which stays.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from sbx.errors import PermanentError, UserError
from sbx.image import oci
from sbx.image.oci import ImageConfig
from sbx.lifecycle import templates as naming
from sbx.lifecycle.builder import INPUT, Builder, builder
from sbx.lifecycle.caches import BUILD_CACHE, CACHE_DISK
from sbx.lifecycle.convert import MOST_LAYERS
from sbx.lifecycle.export import image_config
from sbx.lifecycle.inside import Command, run_inside
from sbx.lifecycle.save import layer_mounts, layer_paths, take
from sbx.lifecycle.start import Listener
from sbx.sandbox.spec import Mount
from sbx.store import templates
from sbx.store.paths import Paths
from sbx.store.templates import Origin, StoredLayer, StoredTemplate
from sbx.system.codec import Json
from sbx.system.files import read_bounded
from sbx.system.progress import Progress

DOCKERFILE = "Dockerfile"
_RESULT = "sbx-result:latest"
_BUILD_SECONDS = 7200.0
_KEPT = "8GB"  # of the engine's layers for the next build
_MAX_DOCKERFILE_BYTES = 1 << 20
_FROM = re.compile(r"^\s*FROM\s+(?:--\S+\s+)*(\S+)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """What is built."""

    folder: Path
    reference: str
    # Templates of ours and the user's that the Dockerfile starts from, by the name in it.
    bases: Mapping[str, StoredTemplate]
    on_line: Callable[[str], None] | None  # hears each line of the engine
    arguments: Sequence[str] = ()  # NAME=VALUE, as of ARG
    target: str | None = None  # the stage that is meant; None: the last one


def bases_in(folder: Path) -> tuple[str, ...]:
    """The images that a folder's Dockerfile starts from.

    Raises:
        UserError: there is no Dockerfile.
    """
    path = folder / DOCKERFILE
    try:
        text = read_bounded(path, limit_bytes=_MAX_DOCKERFILE_BYTES).decode(errors="replace")
    except OSError as error:
        raise UserError(
            f"no {DOCKERFILE} in `{folder}`", hint="Name a folder that has one, or a sandbox"
        ) from error
    return tuple(dict.fromkeys(_FROM.findall(text)))


def build(
    where: Paths, request: BuildRequest, *, progress: Progress, listener: Listener
) -> StoredTemplate:
    """Build a folder's Dockerfile; nothing is left of a build that fails.

    Raises:
        UserError: the engine says that the Dockerfile cannot be built, or it has no shell.
        SbxError: the builder failed.
    """
    layers = tuple({one.digest: one for one in _layers(request)}.values())
    inputs = (
        Mount(source=request.folder, target=INPUT, read_only=True),
        *layer_mounts(where, layers),
    )
    disk = where.cache / BUILD_CACHE / CACHE_DISK
    with builder(where, inputs, progress=progress, listener=listener, disk=disk) as made:
        what = f"cannot build `{request.folder.name}`"
        made.call("prepare", {"images": _images(request, layers)}, what=what)
        _run(made, request)
        progress.begin(f"Packing template {request.reference}")
        stored = _take(made, request, {one.digest: one for one in layers})
        progress.end()
        _tidy(made)
    templates.write(where, stored)
    return stored


def _layers(request: BuildRequest) -> Iterator[StoredLayer]:
    for base in request.bases.values():
        yield from base.layers


def _images(request: BuildRequest, layers: Sequence[StoredLayer]) -> list[Json]:
    """The bases as the builder is told of them."""
    places = dict(zip((one.digest for one in layers), layer_paths(layers), strict=True))
    found: list[Json] = []
    for name, base in request.bases.items():
        diff_ids = [f"sha256:{layer.digest}" for layer in base.layers]
        stack: list[Json] = [
            {"digest": layer.digest, "path": places[layer.digest]} for layer in base.layers
        ]
        tag = _engine_tag(name)
        config = image_config(base, *diff_ids).decode()
        found.append({"tags": [tag], "config": config, "layers": stack})
    return found


def _engine_tag(name: str) -> str:
    """A name as the engine keeps it."""
    short = name.removeprefix("docker.io/").removeprefix("library/")
    return short if ":" in short.rpartition("/")[2] else f"{short}:latest"


def _run(made: Builder, request: BuildRequest) -> None:
    more = [f"--build-arg={argument}" for argument in request.arguments]
    if request.target is not None:
        more.append(f"--target={request.target}")
    command = Command(
        argv=("docker", "build", "--progress=plain", "--tag", _RESULT, *more, str(INPUT)),
        user="0",
        env={"DOCKER_BUILDKIT": "1"},
        timeout_s=_BUILD_SECONDS,
    )
    done = run_inside(made.where, made.spec.name, command, request.on_line, every_line=True)
    if done.timed_out or done.status is None:
        raise PermanentError(f"the build was cut off: {done.why}")
    if done.status != 0:
        raise UserError(
            f"the build failed: {request.folder / DOCKERFILE}",
            hint="Hosts that were refused: sbx policy log",
            details=done.output if request.on_line is None else None,
        )


def _take(made: Builder, request: BuildRequest, known: Mapping[str, StoredLayer]) -> StoredTemplate:
    """The template of what was built: layers of ours as they are, the engine's packed."""
    what = "cannot read what was built"
    answer = made.call("built", {"tag": _RESULT, "known": [*known]}, what=what)
    try:
        image = cast("dict[str, object]", answer["image"])
        below = [known[digest] for digest in cast("list[str]", answer["below"])]
        folders = [str(one) for one in cast("list[object]", answer["folders"])]
        config = _config(image)
        image_id = str(image["Id"])
    except (KeyError, TypeError, AttributeError) as error:
        raise PermanentError(f"{what}: the builder's answer makes no sense") from error
    layers = list(below)
    for group in groups(len(below), len(folders)):
        args: dict[str, Json] = {
            "folders": [*folders[group.start : group.stop]],
            "bottom": not layers,
        }
        layers.append(take(made, "folders", args, what=what))
    return naming.make(
        request.reference,
        image_id=image_id,
        origin=Origin.BUILT,
        config=config,
        layers=layers,
    )


def groups(below: int, count: int) -> tuple[range, ...]:
    """Which of `count` new layers become one, on `below` that are there; the lowest go together."""
    room = max(1, MOST_LAYERS - below)
    if count <= room:
        return tuple(range(number, number + 1) for number in range(count))
    first = count - room + 1
    return (range(first), *(range(number, number + 1) for number in range(first, count)))


def _config(image: Mapping[str, object]) -> ImageConfig:
    """The configuration in what `docker image inspect` says."""
    return oci.parse_config({
        "architecture": image.get("Architecture"), "os": image.get("Os"),
        "config": image.get("Config"),
    })  # fmt: skip


def _tidy(made: Builder) -> None:
    """Let the engine keep no more than its share, and nothing of the result but its cache."""
    for argv in (
        ("docker", "image", "rm", "--force", _RESULT),
        ("docker", "builder", "prune", "--force", "--keep-storage", _KEPT),
    ):
        run_inside(made.where, made.spec.name, Command(argv=argv, user="0", timeout_s=300.0))
