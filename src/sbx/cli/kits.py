# SPDX-License-Identifier: Apache-2.0
"""From the words of a command line to kits: arguments, settings that count, lock files."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sbx.cli.app import App
from sbx.cli.options import kit_value_options
from sbx.cli.output import warn
from sbx.errors import UserError
from sbx.kit.args import GivenArgs, parse_args
from sbx.kit.builtin import NAMES
from sbx.kit.compose import Composition, Kit, compose, load_kit
from sbx.kit.fetch import Allowed, Fetcher
from sbx.kit.lock import read_lock
from sbx.kit.reference import LocalKit, is_local, parse_reference
from sbx.kit.registry import Credentials
from sbx.system.files import read_bounded

_ARGS_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class KitArgs:
    """What was given for the arguments of kits."""

    words: tuple[str, ...]
    file: str | None

    def parse(self) -> GivenArgs:
        """The values (UserError if one is malformed or the file cannot be read)."""
        return parse_args(self.words, _lines(self.file) if self.file is not None else ())


def kit_arg_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--kit-arg` and `--kit-args-file`; the function gets them as `kit_args`."""

    @functools.wraps(function)
    def gathered(
        *args: Any, kit_arg: tuple[str, ...], kit_args_file: str | None, **rest: Any
    ) -> Any:
        return function(*args, kit_args=KitArgs(words=kit_arg, file=kit_args_file), **rest)

    return kit_value_options(gathered)


def make_fetcher(app: App, ref: str, credentials: Credentials | None = None) -> Fetcher:
    """What fetches kits as the settings allow, held to the lock file of a kit in a folder.

    Without `credentials` the stored logins of registries are used.

    Raises:
        UserError: the settings, the reference or the lock file are malformed.
    """
    allowed = Allowed(
        sources=app.settings.texts("kit.allowedSources"),
        local=app.settings.flag("kit.allowLocalKits"),
    )
    known = credentials or registry_credentials(app)
    fetcher = Fetcher(cwd=Path.cwd(), allowed=allowed, credentials=known)
    reference = parse_reference(ref, cwd=fetcher.cwd)
    if isinstance(reference, LocalKit) and reference.path.is_dir() and allowed.local:
        lock = read_lock(reference.path)
        fetcher.pins = lock.pins if lock is not None else {}
    return fetcher


def registry_credentials(app: App) -> Credentials:
    """The stored logins of registries, looked at when one is asked for."""

    def find(registry: str) -> tuple[str, str] | None:
        from sbx.secret.registries import stored_credentials

        return stored_credentials(app.paths)(registry)

    return find


def load(app: App, ref: str, given: GivenArgs) -> Kit:
    """One kit with what it extends.

    Raises:
        UserError: it is not allowed, cannot be had, or is invalid.
        TransientError: its registry cannot be reached.
    """
    kit = load_kit(ref, make_fetcher(app, ref), given)
    given.check_used(kit.declared)
    return kit


def choose(app: App, agent: str, mixins: Sequence[str], values: KitArgs) -> Composition:
    """The agent, built in or a kit, with mixins.

    Raises:
        UserError: one is not allowed, cannot be had, or does not fit.
        TransientError: a registry cannot be reached.
    """
    given = values.parse()
    kits = [load_kit(ref, make_fetcher(app, ref), given) for ref in (agent, *mixins)]
    whole = compose(kits[0], kits[1:], given)
    for one in whole.warnings:
        warn(str(one))
    for kit in whole.kits:
        if (names := _not_applied(kit)) and kit.spec.name not in NAMES:
            warn(f"kit {kit.spec.name}: {', '.join(names)} not applied by this version")
    return whole


def _not_applied(kit: Kit) -> list[str]:
    """What a kit declares and no sandbox gets yet (docs/limitations.md)."""
    return [key for key in ("volumes",) if getattr(kit.spec, key)]


def local_word(ref: str) -> str:
    """A plain word that is a folder or file here, as a reference to it: verbs of kits take both."""
    return f"./{ref}" if not is_local(ref) and ":" not in ref and Path(ref).exists() else ref


def _lines(name: str) -> list[str]:
    try:
        return read_bounded(Path(name), limit_bytes=_ARGS_BYTES).decode().splitlines()
    except OSError as error:
        raise UserError(f"cannot read file `{name}`: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"cannot read file `{name}`: it is not UTF-8 text") from error
