# SPDX-License-Identifier: Apache-2.0
"""`sbx template`: list, show, load, save and remove what sandboxes start from."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sbx.cli import engine
from sbx.cli.actions import each
from sbx.cli.app import App, Format
from sbx.cli.exit_status import ExitStatus
from sbx.cli.group import Group
from sbx.cli.options import format_options, pass_app, quiet_option
from sbx.cli.output import Json, clean, emit, out, talk, timestamp
from sbx.cli.output import table as columns
from sbx.cli.progress import Steps
from sbx.errors import ConflictError, NotFoundError, UserError
from sbx.sandbox.units import format_size
from sbx.store import templates
from sbx.store.templates import StoredTemplate

if TYPE_CHECKING:
    from sbx.lifecycle.build import BuildRequest
    from sbx.system.progress import Progress

_ID_CHARACTERS = 12
_EXAMPLES = """
# What there is
sbx template ls

# An image of your own Docker engine
docker save my-image -o my-image.tar
sbx template load my-image.tar
sbx run --template my-image shell .

# What you installed in a sandbox, for other sandboxes
sbx stop my-sandbox
sbx template save my-sandbox my-tools:1

# The Dockerfile of the current folder
sbx template save .
"""


@click.group("template", cls=Group, examples=_EXAMPLES)
def command() -> None:
    """List, load, save and remove templates: what sandboxes start from.

    TAG is NAME[:TAG], as docker writes it. An image of a registry needs no command of its own:
    `sbx run --template REGISTRY/NAME:TAG` fetches it.
    """


@command.command("ls", examples="sbx template ls\nsbx template ls --json")
@quiet_option("Print references only, one per line")
@format_options
@pass_app
def _ls(app: App, quiet: bool) -> None:
    """List templates."""
    found = templates.read_all(app.paths)
    if quiet:
        for one in found:
            out(clean(one.reference))
    elif app.format is not Format.TABLE:
        emit(app, [_row(one) for one in found], wrap="images")
    elif not found:
        out("No templates found.")
        talk("\nTo make one of a stopped sandbox, run:\n  sbx template save SANDBOX TAG")
    else:
        rows = [
            [
                one.repository,
                one.tag,
                _short(one.id),
                one.flavor or "-",
                timestamp(one.created_at) or "",
                format_size(one.size_bytes),
            ]
            for one in found
        ]
        out(columns(("REPOSITORY", "TAG", "IMAGE ID", "FLAVOR", "CREATED", "SIZE"), rows))


@command.command("inspect", examples="sbx template inspect my-tools:1")
@click.argument("tag")
@format_options
@pass_app
def _inspect(app: App, tag: str) -> None:
    """Show what a template consists of, and how it is run."""
    from sbx.lifecycle.templates import find_any

    found = find_any(app.paths, tag)[0]
    document: dict[str, Json] = {
        **_row(found),
        "reference": found.reference,
        "origin": found.origin.value,
        "digest": found.digest,
        "user": found.user,
        "workdir": found.workdir,
        "env": {**found.env},
        "command": list(found.command),
        "labels": {**found.labels},
        "layers": [
            {"digest": f"sha256:{layer.digest}", "size": layer.size_bytes} for layer in found.layers
        ],
    }
    if app.format is not Format.TABLE:
        emit(app, document)
        return
    lines = [
        ("template", found.reference),
        ("id", found.id),
        ("origin", found.origin.value),
        ("created", timestamp(found.created_at) or ""),
        ("user", found.user),
        ("workdir", found.workdir),
        ("command", " ".join(found.command)),
        *(("env", f"{name}={value}") for name, value in sorted(found.env.items())),
        *(("layer", f"{one.digest[:12]} {format_size(one.size_bytes)}") for one in found.layers),
    ]
    out("\n".join(f"{key:<10}{clean(value)}" for key, value in lines))


@command.command("rm", examples="sbx template rm my-tools:1\nsbx template rm 3f2a91c04d7e")
@click.argument("tags", metavar="TAG...", nargs=-1, required=True)
@click.option("-f", "--force", is_flag=True, help="Also one that sandboxes were made from")
@format_options
@pass_app
def _rm(app: App, tags: tuple[str, ...], force: bool) -> ExitStatus:
    """Remove templates, by tag or by the beginning of their id.

    Layers that no sandbox and no other template needs are removed with it.
    """
    engine.begin(app)
    return each(app, tags, lambda tag: _remove(app, tag, force=force))


def _remove(app: App, tag: str, *, force: bool) -> dict[str, Json]:
    from sbx.image.store import ImageStore
    from sbx.lifecycle import templates as naming

    found = naming.find_any(app.paths, tag)
    users = [name for one in found for name in naming.users_of((app.paths,), one)]
    if users and not force:
        raise ConflictError(
            f"template `{tag}` is in use by {', '.join(sorted(users))}",
            hint=f"They keep working without it: sbx template rm -f {tag}",
        )
    for one in found:
        templates.remove(app.paths, one.reference)
    digests = frozenset(layer.digest for one in found for layer in one.layers)
    freed = ImageStore(app.paths.cache).drop_layers(
        digests, keep=engine.used_layers(app), bases=engine.template_layers(app)
    )
    if app.format is Format.TABLE:
        for one in found:
            out(f"✓ Removed template {clean(one.reference)}")
        talk(f"Freed {format_size(freed)}")
    return {
        "action": "removed",
        "resource": "template",
        "name": found[0].reference,
        "id": found[0].id,
        "freed_bytes": freed,
    }


@command.command(
    "load", examples="docker save my-image -o my-image.tar\nsbx template load my-image.tar"
)
@click.argument("file", type=click.Path())
@click.option("-f", "--force", is_flag=True, help="Replace templates of the same tags")
@click.option("-q", "--quiet", "--no-progress", "quiet", is_flag=True, help="No progress")
@format_options
@pass_app
def _load(app: App, file: str, force: bool, quiet: bool) -> None:
    """Make templates of the images in a file.

    FILE is what `docker save` writes, or an OCI layout as a tar archive; either may be compressed.
    """
    from sbx.lifecycle.load import load

    engine.begin(app)
    with (
        Steps(quiet=quiet) as progress,
        engine.start_listener("that converts", progress) as listener,
    ):
        found = load(app.paths, Path(file), overwrite=force, progress=progress, listener=listener)
    _tell_made(app, found)


@command.command("save", examples="\n\n".join(_EXAMPLES.strip().split("\n\n")[-2:]))
@click.argument("source", metavar="SANDBOX|DIR")
@click.argument("tag", required=False)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(),
    help="Also write an archive that docker load takes",
)
@click.option(
    "--build-arg", "arguments", multiple=True, metavar="NAME=VALUE",
    help="A value for an ARG of the Dockerfile; not for secrets",
)  # fmt: skip
@click.option("--target", metavar="STAGE", help="The stage of the Dockerfile to build")
@click.option("-f", "--force", is_flag=True, help="Replace a template of the same tag")
@click.option("-q", "--quiet", "--no-progress", "quiet", is_flag=True, help="No progress")
@format_options
@pass_app
def _save(
    app: App,
    *,
    source: str,
    tag: str | None,
    output: str | None,
    arguments: tuple[str, ...],
    target: str | None,
    force: bool,
    quiet: bool,
) -> None:
    """Make a template of a stopped sandbox, or of a folder with a Dockerfile.

    Of a sandbox: its changes become a layer on the template that it was made from. Shared folders
    and the data of its Docker engine stay out.

    Of a folder (`.`, or any path): its Dockerfile is built in a microVM, under your policy. `FROM
    opensbx/shell` and `FROM opensbx/AGENT` are our own templates. Without a TAG the template is
    named after the folder.
    """
    from sbx.lifecycle import templates as naming
    from sbx.lifecycle.export import export

    engine.begin(app)
    folder = _folder(app, source)
    if tag is None and folder is None:
        raise UserError("the template needs a tag", hint=f"Run: sbx template save {source} TAG")
    if folder is None and (arguments or target is not None):
        raise UserError("--build-arg and --target are for a folder with a Dockerfile")
    reference = naming.check_tag(tag or naming.folder_tag(folder.name if folder else ""))
    # A folder is built again and again; its own name is replaced by what comes out.
    if not force and not (folder is not None and _is_built(app, reference)):
        naming.check_free(app.paths, reference)
    with (
        Steps(quiet=quiet) as progress,
        engine.start_listener("that builds", progress) as listener,
    ):
        if folder is None:
            from sbx.lifecycle.save import save

            name = engine.known(source)
            made = save(app.paths, name, reference, progress=progress, listener=listener)
        else:
            from sbx.lifecycle.build import build

            wanted = replace(
                _build_request(app, folder, reference, progress),
                arguments=arguments,
                target=target,
                on_line=None if quiet else _tell_line,
            )
            made = build(app.paths, wanted, progress=progress, listener=listener)
        if output is not None:
            try:
                export(app.paths, made, Path(output), progress=progress, listener=listener)
            except BaseException:
                _remove_quietly(app, made)
                raise
    _tell_made(app, (made,))


def _folder(app: App, source: str) -> Path | None:
    """The folder that is meant; None: a sandbox is."""
    path = Path(source)
    looks_like_path = source in (".", "..", "~") or "/" in source
    if not looks_like_path and (not path.is_dir() or engine.find(app, source) is not None):
        return None
    if not path.is_dir():
        raise UserError(f"no such folder: `{source}`")
    return path.resolve()


def _is_built(app: App, reference: str) -> bool:
    there = templates.find(app.paths, reference)
    return there is not None and there.origin is templates.Origin.BUILT


def _build_request(app: App, folder: Path, reference: str, progress: Progress) -> BuildRequest:
    from sbx.cli.templates import build_bases
    from sbx.lifecycle.build import BuildRequest, bases_in

    return BuildRequest(
        folder=folder,
        reference=reference,
        bases=build_bases(app, bases_in(folder), progress),
        on_line=None,
    )


def _tell_line(line: str) -> None:
    talk(clean(line))


def _remove_quietly(app: App, made: StoredTemplate) -> None:
    with contextlib.suppress(NotFoundError):
        templates.remove(app.paths, made.reference)


def _tell_made(app: App, found: tuple[StoredTemplate, ...]) -> None:
    if app.format is not Format.TABLE:
        emit(app, [_row(one) for one in found])
        return
    for one in found:
        out(f"✓ Template {clean(one.reference)} ({_short(one.id)}, {format_size(one.size_bytes)})")
    first = clean(_typed(found[0]))
    talk(f"\nTo start a sandbox from it, run:\n  sbx run --template {first} shell .")


def _typed(one: StoredTemplate) -> str:
    return one.reference.removeprefix("docker.io/library/").removesuffix(":latest")


def _row(one: StoredTemplate) -> dict[str, Json]:
    return {
        "id": one.id,
        "repository": one.repository,
        "tag": one.tag,
        "flavor": one.flavor,
        "created_at": timestamp(one.created_at),
        "size": one.size_bytes,
    }


def _short(image_id: str) -> str:
    return image_id.removeprefix("sha256:")[:_ID_CHARACTERS]
