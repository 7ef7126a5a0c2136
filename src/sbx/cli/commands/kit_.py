# SPDX-License-Identifier: Apache-2.0
"""`sbx kit`: check, show, make, pack, fetch, publish and lock kits."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import assert_never

import click

from sbx.cli.app import App, Format
from sbx.cli.exit_status import ExitStatus
from sbx.cli.group import Group
from sbx.cli.kit_views import describe
from sbx.cli.kits import (
    KitArgs,
    kit_arg_options,
    load,
    local_word,
    make_fetcher,
    registry_credentials,
)
from sbx.cli.options import format_options, pass_app
from sbx.cli.output import Json, clean, emit, out, print_document, talk, warn
from sbx.errors import ConflictError, SbxError, UserError
from sbx.kit import archive, lock, oci
from sbx.kit.args import NO_ARGS
from sbx.kit.bundle import Bundle
from sbx.kit.compose import Kit, load_kit
from sbx.kit.findings import SPEC, Finding, KitError, Level
from sbx.kit.model import Kind
from sbx.kit.read import read_spec
from sbx.kit.reference import (
    BuiltIn,
    GitKit,
    LocalKit,
    OciKit,
    Reference,
    parse_oci,
    parse_reference,
)  # fmt: skip
from sbx.kit.registry import Credentials
from sbx.kit.render import document
from sbx.kit.schema import spec_schema
from sbx.kit.starter import starter
from sbx.system.files import write_atomic

_EXAMPLES = """
# A kit of your own, checked, and what an agent gets from it
sbx kit init ./my-kit
sbx kit validate ./my-kit
sbx kit inspect ./my-kit

# What a built-in agent brings
sbx kit inspect claude

# Hand it on
sbx kit pack ./my-kit
sbx kit push ./my-kit registry.example.com/team/my-kit:1
"""


@click.group("kit", cls=Group, examples=_EXAMPLES)
def command() -> None:
    """Check, show, make and publish kits.

    A kit declares an agent, or an addition to one, in a spec.yaml: what is installed, how it
    starts, which hosts and credentials it needs. REF is a folder, a .zip or .tar.gz, a
    built-in agent, git+https://HOST/PATH#ref=COMMIT&dir=FOLDER, or an image of a registry.
    """


@command.command("validate", examples="sbx kit validate ./my-kit\nsbx kit validate claude --json")
@click.argument("ref")
@kit_arg_options
@format_options
@pass_app
def _validate(app: App, ref: str, kit_args: KitArgs) -> int:
    """Check a kit, and list everything that is wrong with it."""
    ref = local_word(ref)
    try:
        kit = load(app, ref, kit_args.parse())
    except SbxError as error:
        return _tell_invalid(app, error)
    sort = _sort(parse_reference(ref, cwd=Path.cwd()))
    if app.format is Format.TABLE:
        _warn(kit)
        out(f"VALID ({sort})")
    else:
        warnings = [_finding(one) for one in kit.warnings]
        emit(app, {
            "valid": True, "source": sort, "name": kit.spec.name, "kind": kit.spec.kind.value,
            "warnings": warnings,
        })  # fmt: skip
    return ExitStatus.OK


def _tell_invalid(app: App, error: SbxError) -> int:
    talk(f"INVALID: {clean(error.message)}")
    for line in (error.details or "").splitlines():
        talk(f"  {clean(line)}")
    if error.hint is not None:
        talk(f"  {clean(error.hint)}")
    if app.format is not Format.TABLE:
        found = error.findings if isinstance(error, KitError) else ()
        print_document(app, {
            "valid": False, "message": error.message,
            "errors": [_finding(one) for one in found if one.level is Level.ERROR],
            "warnings": [_finding(one) for one in found if one.level is Level.WARNING],
        })  # fmt: skip
    return ExitStatus.FAILURE


@command.command("inspect", examples="sbx kit inspect claude\nsbx kit inspect ./my-kit --json")
@click.argument("ref")
@kit_arg_options
@format_options
@pass_app
def _inspect(app: App, ref: str, kit_args: KitArgs) -> None:
    """Show what an agent gets from a kit: tools, hosts, credentials, environment, files.

    What the kit extends is merged in, and arguments have their values.
    """
    kit = load(app, local_word(ref), kit_args.parse())
    if app.format is Format.TABLE:
        _warn(kit)
        out(describe(kit))
    else:
        emit(app, document(kit))


@command.command("schema", examples="sbx kit schema > spec.schema.json")
@format_options
@pass_app
def _schema(app: App) -> None:
    """Print the JSON Schema of spec.yaml, for editors."""
    del app
    out(json.dumps(spec_schema(), indent=2))


@command.command("init", examples="sbx kit init ./my-kit\nsbx kit init ./my-agent --kind sandbox")
@click.argument("folder", metavar="DIR", type=click.Path())
@click.option(
    "--kind", type=click.Choice([kind.value for kind in Kind]), default=Kind.MIXIN.value,
    metavar="KIND", help="`sandbox` for an agent, `mixin` for an addition (default mixin)",
)  # fmt: skip
@click.option("--name", metavar="NAME", help="The kit's name (default: the folder's)")
@format_options
@pass_app
def _init(app: App, folder: str, kind: str, name: str | None) -> None:
    """Write a spec.yaml to start from."""
    target = Path(folder)
    own = name or re.sub(r"[^a-z0-9-]+", "-", target.resolve().name.lower()).strip("-") or "kit"
    path = target / SPEC
    if path.exists() or path.is_symlink():
        raise ConflictError(f"`{path}` is there already", hint=f"Run: sbx kit validate {folder}")
    text = starter(Kind(kind), own).encode()
    read_spec(text, NO_ARGS, what=folder)  # a name that cannot be one is told before anything is
    target.mkdir(parents=True, exist_ok=True)
    write_atomic(path, text, mode=0o644)
    if app.format is Format.TABLE:
        talk(f"✓ Wrote {clean(path)}")
        talk(f"\nTo check it, run:\n  sbx kit validate {clean(_as_ref(target))}")
    else:
        emit(app, {"path": str(path), "name": own, "kind": kind})


@command.command("pack", examples="sbx kit pack ./my-kit\nsbx kit pack ./my-kit -o my-kit.tar.gz")
@click.argument("ref", metavar="DIR")
@click.option("-o", "--output", metavar="FILE", type=click.Path(), help="Default: <name>.zip")
@kit_arg_options
@format_options
@pass_app
def _pack(app: App, ref: str, output: str | None, kit_args: KitArgs) -> None:
    """Pack a kit into an archive; equal kits give equal bytes."""
    kit = load(app, local_word(ref), kit_args.parse())
    _write(app, kit.sources[0].bundle, Path(output or f"{kit.spec.name}.zip"), "Packed artifact to")


@command.command("pull", examples="sbx kit pull registry.example.com/team/my-kit:1")
@click.argument("ref")
@click.option("-o", "--output", metavar="FILE", type=click.Path(), help="Default: <name>.tar.gz")
@click.option("--username", metavar="USER", help="Sign in to the registry")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input")
@kit_arg_options
@format_options
@pass_app
def _pull(
    app: App, ref: str, output: str | None, username: str | None, password_stdin: bool,
    kit_args: KitArgs,
) -> None:  # fmt: skip
    """Fetch a kit into an archive."""
    given = kit_args.parse()
    fetcher = make_fetcher(app, ref, _credentials(app, username, password_stdin=password_stdin))
    kit = load_kit(ref, fetcher, given)
    target = Path(output or f"{kit.spec.name}.tar.gz")
    _write(app, kit.sources[0].bundle, target, f"Pulled {kit.sources[0].resolved} to")


@command.command("push", examples="sbx kit push ./my-kit registry.example.com/team/my-kit:1")
@click.argument("folder", metavar="DIR")
@click.argument("ref")
@click.option("--username", metavar="USER", help="Sign in to the registry")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input")
@kit_arg_options
@format_options
@pass_app
def _push(
    app: App, folder: str, ref: str, username: str | None, password_stdin: bool, kit_args: KitArgs
) -> None:
    """Publish a kit to a registry."""
    target = parse_oci(ref)
    if target.digest:
        raise UserError("a kit is pushed to a tag, not to a digest", hint="Write REGISTRY/NAME:TAG")
    kit = load(app, local_word(folder), kit_args.parse())
    if kit.spec.sandbox and kit.spec.sandbox.build:
        warn("sandbox.build is not carried out: the kit names sandbox.image as it is")
    credentials = _credentials(app, username, password_stdin=password_stdin)
    digest = oci.push(kit.sources[0].bundle, kit.spec, target, credentials)
    if app.format is Format.TABLE:
        out(target.pinned(digest))
    else:
        emit(app, {"ref": target.pinned(digest), "digest": digest, "tag": target.tag})


@command.command("lock", examples="sbx kit lock ./my-kit\nsbx kit lock ./my-kit --check")
@click.argument("ref", metavar="DIR")
@click.option("--check", is_flag=True, help="Change nothing; fail if the file would change")
@kit_arg_options
@format_options
@pass_app
def _lock(app: App, ref: str, check: bool, kit_args: KitArgs) -> None:
    """Fix what a kit brings: versions, commits and digests, in sbx-kit.lock beside spec.yaml."""
    ref = local_word(ref)
    reference = parse_reference(ref, cwd=Path.cwd())
    if not isinstance(reference, LocalKit) or not reference.path.is_dir():
        raise UserError(f"not a folder with a kit: `{ref}`", hint="Run: sbx kit lock ./my-kit")
    given = kit_args.parse()
    fetcher = make_fetcher(app, ref)
    fetcher.pins = {}
    kit = load_kit(ref, fetcher, given)
    made = lock.lock_of(kit)
    if check and lock.read_lock(reference.path) != made:
        raise ConflictError(f"{lock.NAME} does not fit the kit", hint=f"Run: sbx kit lock {ref}")
    path = reference.path / lock.NAME if check else lock.write_lock(reference.path, made)
    if app.format is Format.TABLE:
        talk(f"✓ {clean(path)}: {len(made.kits)} kits, {len(made.images)} images")
    else:
        rows: list[Json] = [
            {"ref": k.ref, "resolved": k.resolved, "digest": k.digest, "name": k.name}
            for k in made.kits
        ]
        emit(app, {"path": str(path), "kits": rows, "images": list(made.images)})


def _write(app: App, bundle: Bundle, target: Path, what: str) -> None:
    as_tar = target.name.endswith((".tar.gz", ".tgz"))
    if not as_tar and target.suffix != ".zip":
        raise UserError(f"unknown kind of archive: `{target}`", hint="End it in .zip or .tar.gz")
    data = archive.to_tar_gz(bundle) if as_tar else archive.to_zip(bundle)
    write_atomic(target, data, mode=0o644)
    if app.format is Format.TABLE:
        out(f"{clean(what)} {clean(target)}")
    else:
        emit(app, {"path": str(target), "size": len(data), "digest": bundle.digest})


def _credentials(app: App, username: str | None, *, password_stdin: bool) -> Credentials:
    if (username is None) == password_stdin:
        raise UserError("--username and --password-stdin belong together")
    if username is None:
        return registry_credentials(app)
    password = sys.stdin.readline(4096).rstrip("\n")
    return lambda _registry: (username, password)


def _warn(kit: Kit) -> None:
    for one in kit.warnings:
        warn(str(one))


def _finding(one: Finding) -> dict[str, Json]:
    return {
        "level": one.level.value, "message": one.message, "path": one.path, "file": one.file,
        "line": one.mark.line, "column": one.mark.column,
    }  # fmt: skip


def _sort(reference: Reference) -> str:
    """What kind of source a kit comes from, as `validate` says it."""
    match reference:
        case BuiltIn():
            return "built-in"
        case LocalKit(path):
            return "directory" if path.is_dir() else "archive"
        case GitKit():
            return "git"
        case OciKit():
            return "registry"
        case _:
            assert_never(reference)


def _as_ref(folder: Path) -> str:
    return str(folder) if folder.is_absolute() or str(folder).startswith(".") else f"./{folder}"
