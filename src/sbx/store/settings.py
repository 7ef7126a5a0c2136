# SPDX-License-Identifier: Apache-2.0
"""The user's settings: a catalogue as data, and the values in force.

A value comes from an environment variable, else from the settings file, else from the catalogue.
A malformed file or value is an error with a remedy, never ignored. Only keys that this version acts
on are in the catalogue (docs/settings.md lists them; a test compares).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeVar, assert_never, cast

from sbx.errors import NotFoundError, UserError
from sbx.sandbox.units import parse_size
from sbx.store.paths import SETTINGS, Paths, make_private
from sbx.system.files import read_bounded, write_atomic
from sbx.system.locks import hold_lock

Value = bool | int | str | tuple[str, ...]

_T = TypeVar("_T", bound=Value)
_VERSION = 1
_LIMIT_BYTES = 1 << 20
_LOCK = "settings.lock"


class Type(StrEnum):
    """What a setting's value may be."""

    BOOL = "bool"
    INT = "int"
    STRING = "string"
    SIZE = "size"  # "20g"; empty: not set
    JSON = "json"  # a list of text; typed as JSON, or with commas between


class Source(StrEnum):
    """Where a value in force comes from."""

    ENV = "envvar"
    OVERRIDE = "override"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One line of the catalogue."""

    name: str
    type: Type
    default: Value
    description: str
    env_var: str = ""
    choices: tuple[str, ...] = ()
    requires_restart: bool = False  # running sandboxes keep the old value
    # Returns the text as it may be shown, or raises UserError; told whether it is from the file.
    check: Callable[[str, bool], str] | None = None


# Every command reads settings, and few have a proxy: what knows their form is loaded for those.


def _proxy(text: str, stored: bool) -> str:  # noqa: FBT001 - as `Key.check` has it
    from sbx.policy.routes import (  # noqa: PLC0415 - see above
        DIRECT,
        SYSTEM,
        check_setting,
        parse_way,
    )

    if stored or text in (SYSTEM, DIRECT):
        return check_setting(text)
    return str(parse_way(text))  # a variable may hold a password, which is not shown


def _no_proxy(text: str, stored: bool) -> str:  # noqa: FBT001 - as `Key.check` has it
    from sbx.policy.routes import parse_no_proxy  # noqa: PLC0415 - see above

    del stored
    parse_no_proxy(text)
    return text


CATALOGUE: tuple[Key, ...] = (
    Key(
        name="cli.confirmRemove",
        type=Type.BOOL,
        default=True,
        description="Ask before `rm` and `prune` remove anything",
        env_var="SBX_CONFIRM_REMOVE",
    ),
    Key(
        name="cli.detachKeys",
        type=Type.STRING,
        default="ctrl-p,ctrl-q",
        description="Keys that detach from a terminal session; empty for none",
        env_var="SBX_DETACH_KEYS",
    ),
    Key(
        name="kit.allowLocalKits",
        type=Type.BOOL,
        default=True,
        description="Kits may come from folders and archives of this machine",
        env_var="DOCKER_SANDBOXES_KIT_ALLOW_LOCAL",
    ),
    Key(
        name="kit.allowedSources",
        type=Type.JSON,
        default=("docker.io/",),
        description="Where other kits may come from: the beginnings of their references",
        env_var="DOCKER_SANDBOXES_KIT_ALLOWED_SOURCES",
    ),
    Key(
        name="login.clientId",
        type=Type.STRING,
        default="",
        description="Our name at the OpenID provider of `sbx login --device`",
    ),
    Key(
        name="login.issuer",
        type=Type.STRING,
        default="",
        description="The OpenID provider of `sbx login --device`, starting with https://",
    ),
    Key(
        name="machine.accel",
        type=Type.STRING,
        default="auto",
        description="Who runs the guest's instructions, for new sandboxes",
        env_var="SBX_ACCEL",
        choices=("auto", "kvm", "tcg"),
    ),
    Key(
        name="no_proxy",
        type=Type.STRING,
        default="",
        description="What is reached without a proxy: names, addresses, ranges; empty: NO_PROXY",
        requires_restart=True,
        check=_no_proxy,
    ),
    Key(
        name="no_proxy.daemon",
        type=Type.STRING,
        default="",
        description="The same for what sbx itself fetches, before `no_proxy`",
        check=_no_proxy,
    ),
    Key(
        name="no_proxy.sandbox",
        type=Type.STRING,
        default="",
        description="The same for sandboxes, before `no_proxy`",
        env_var="DOCKER_SANDBOXES_NO_PROXY",
        requires_restart=True,
        check=_no_proxy,
    ),
    Key(
        name="output.jsonCompat",
        type=Type.STRING,
        default="bare",
        description="Shape of JSON lists: bare arrays, or objects as older tools expect",
        env_var="SBX_JSON_COMPAT",
        choices=("bare", "wrapped"),
    ),
    Key(
        name="policy.approvals",
        type=Type.BOOL,
        default=False,
        description="Collect what no rule allows, for `sbx policy approval`",
        requires_restart=True,
    ),
    Key(
        name="proxy",
        type=Type.STRING,
        default="",
        description="Proxy of your network: URL, PAC file, `direct`, or `system` (HTTPS_PROXY ...)",
        requires_restart=True,
        check=_proxy,
    ),
    Key(
        name="proxy.daemon",
        type=Type.STRING,
        default="",
        description="The same for what sbx itself fetches, before `proxy`; an http:// URL",
        check=_proxy,
    ),
    Key(
        name="proxy.sandbox",
        type=Type.STRING,
        default="",
        description="The same for sandboxes, before `proxy`",
        env_var="DOCKER_SANDBOXES_PROXY",
        requires_restart=True,
        check=_proxy,
    ),
    Key(
        name="sandbox.autoStopSeconds",
        type=Type.INT,
        default=30,
        description="A sandbox that nobody uses stops after so many seconds",
        requires_restart=True,
    ),
    Key(
        name="sandbox.cpus",
        type=Type.INT,
        default=0,
        description="Processors of a new sandbox; 0 for all of the host's",
        env_var="SBX_CPUS",
    ),
    Key(
        name="sandbox.disk",
        type=Type.SIZE,
        default="32g",
        description="Size of a new sandbox's disk (sparse: it takes only what is written)",
        env_var="DOCKER_SANDBOXES_ROOT_SIZE",
    ),
    Key(
        name="sandbox.memory",
        type=Type.SIZE,
        default="",
        description="Memory of a new sandbox; empty for half of the host's, at most 32g",
        env_var="SBX_MEMORY",
    ),
    Key(
        name="sandbox.stopOnCanary",
        type=Type.BOOL,
        default=False,
        description="Stop a sandbox that sends a placeholder where it is not bound",
        requires_restart=True,
    ),
    Key(
        name="template.aliases",
        type=Type.JSON,
        default=("docker/sandbox-templates=opensbx",),
        description="Names of images that mean our own templates, as NAME=opensbx",
    ),
)

_BY_NAME: dict[str, Key] = {key.name: key for key in CATALOGUE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A value in force and where it comes from."""

    key: Key
    value: Value
    source: Source


@dataclass(frozen=True, slots=True)
class Settings:
    """All values in force."""

    overrides: Mapping[str, Value]
    environment: Mapping[str, str]

    def get(self, name: str) -> Setting:
        """The value in force for one key.

        Raises:
            NotFoundError: there is no such key.
            UserError: the variable of this key holds no such value.
        """
        key = find_key(name)
        text = self.environment.get(key.env_var, "") if key.env_var else ""
        if text:
            try:
                value = parse(key, text, stored=False)
                return Setting(key=key, value=value, source=Source.ENV)
            except UserError as error:
                raise UserError(
                    f"variable {key.env_var}: {error.message}", hint=error.hint
                ) from error
        if name in self.overrides:
            return Setting(key=key, value=self.overrides[name], source=Source.OVERRIDE)
        return Setting(key=key, value=key.default, source=Source.DEFAULT)

    def flag(self, name: str) -> bool:
        """A setting of type bool."""
        return self._typed(name, bool)

    def text(self, name: str) -> str:
        """A setting of type string or size."""
        return self._typed(name, str)

    def number(self, name: str) -> int:
        """A setting of type int."""
        return self._typed(name, int)

    def texts(self, name: str) -> tuple[str, ...]:
        """A setting of type json."""
        value = self.get(name).value
        assert isinstance(value, tuple), f"{name} is not a list"
        return value

    def all(self) -> tuple[Setting, ...]:
        """Every key of the catalogue with its value in force (raises as `get`)."""
        return tuple(self.get(key.name) for key in CATALOGUE)

    def _typed(self, name: str, kind: type[_T]) -> _T:
        value = self.get(name).value
        assert type(value) is kind, f"{name} is not of type {kind.__name__}"
        return value


def load_settings(where: Paths, environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings file; a missing one is empty.

    Raises:
        UserError: it is malformed.
    """
    path = where.config / SETTINGS
    overrides: dict[str, Value] = {}
    for name, value in _read_raw(path).items():
        if name not in _BY_NAME:
            raise UserError(
                f"unknown setting `{name}` in `{path}`", hint=f"Run: sbx settings unset {name}"
            )
        overrides[name] = _check_stored(_BY_NAME[name], value, path)
    return Settings(overrides, os.environ if environment is None else environment)


def find_key(name: str) -> Key:
    """The catalogue's line for a key; the spelling's case does not matter.

    Raises:
        NotFoundError: there is no such key.
    """
    key = _BY_NAME.get(name) or next((k for k in CATALOGUE if k.name.lower() == name.lower()), None)
    if key is None:
        raise NotFoundError(f'unknown setting: "{name}"', hint="Run: sbx settings ls")
    return key


def set_value(where: Paths, name: str, text: str) -> Setting:
    """Store a value for all later calls.

    Raises:
        NotFoundError: there is no such key.
        UserError: the key takes no such value, or the file is malformed.
    """
    key = find_key(name)
    value = parse(key, text)
    make_private(where)
    with hold_lock(where.config / _LOCK):
        _write(where, {**_read_raw(where.config / SETTINGS), key.name: value})
    return Setting(key=key, value=value, source=Source.OVERRIDE)


def unset_value(where: Paths, name: str) -> bool:
    """Remove a stored value, also one of a key that this version does not know.

    Returns whether there was one.

    Raises:
        NotFoundError: it is neither stored nor in the catalogue.
        UserError: the file is malformed.
    """
    make_private(where)
    with hold_lock(where.config / _LOCK):
        stored = _read_raw(where.config / SETTINGS)
        real = name if name in stored else find_key(name).name
        if real not in stored:
            return False
        del stored[real]
        _write(where, stored)
    return True


def parse(key: Key, text: str, *, stored: bool = True) -> Value:
    """The value that a text means for a key; `stored` in the file, else it is from a variable.

    Raises:
        UserError: the key takes no such value.
    """
    match key.type:
        case Type.BOOL:
            return _parse_bool(key, text)
        case Type.INT:
            if not text.isascii() or not text.isdigit():
                raise _bad(key, text, "a whole number, 0 or more")
            return int(text)
        case Type.STRING:
            if key.choices and text not in key.choices:
                raise _bad(key, text, f"one of {', '.join(key.choices)}")
            return key.check(text, stored) if key.check else text
        case Type.SIZE:
            return _parse_size(key, text.strip())
        case Type.JSON:
            return _parse_list(key, text.strip())
        case _:
            assert_never(key.type)


def show(value: Value) -> str:
    """A value as `settings get` prints it and `settings set` takes it."""
    if isinstance(value, tuple):
        return json.dumps(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parse_bool(key: Key, text: str) -> bool:
    word = text.lower()
    if word in ("true", "1", "yes", "on"):
        return True
    if word in ("false", "0", "no", "off"):
        return False
    raise _bad(key, text, "true or false")


def _parse_size(key: Key, text: str) -> str:
    """Sizes are kept as they were written; what the host allows is checked where they are used."""
    try:
        if text:
            parse_size(text)
    except UserError as error:
        raise _bad(key, text, "a size such as 512m or 20g") from error
    return text


def _parse_list(key: Key, text: str) -> tuple[str, ...]:
    if not text.startswith("["):
        return tuple(word.strip() for word in text.split(",") if word.strip())
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    words = _texts(found)
    if words is None:
        raise _bad(key, text, 'a JSON array such as ["docker.io/"], or words with commas between')
    return words


def _texts(value: object) -> tuple[str, ...] | None:
    """A JSON array of text as a tuple; None if it is something else."""
    if not isinstance(value, list):
        return None
    words = [word for word in cast("list[object]", value) if isinstance(word, str)]
    return tuple(words) if len(words) == len(cast("list[object]", value)) else None


def _bad(key: Key, text: str, wanted: str) -> UserError:
    return UserError(f'invalid value for `{key.name}`: "{text}"', hint=f"Use {wanted}")


def _check_stored(key: Key, value: Value, path: Path) -> Value:
    wanted = {Type.BOOL: bool, Type.INT: int, Type.JSON: tuple}.get(key.type, str)
    try:
        if type(value) is wanted and parse(key, show(value)) == value:
            return value
    except UserError:
        pass
    raise UserError(
        f"invalid value for `{key.name}` in `{path}`: {json.dumps(value)}",
        hint=f"Run: sbx settings unset {key.name}",
    )


def _read_raw(path: Path) -> dict[str, Value]:
    try:
        data: object = json.loads(read_bounded(path, limit_bytes=_LIMIT_BYTES))
    except FileNotFoundError:
        return {}
    except (ValueError, OSError) as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(data, dict):
        raise _damaged(path, "it is not an object")
    fields = cast("dict[str, object]", data)
    if fields.keys() != {"version", "settings"} or fields["version"] != _VERSION:
        raise _damaged(path, f"it is not of version {_VERSION}")
    values = fields["settings"]
    if not isinstance(values, dict):
        raise _damaged(path, "`settings` is not an object")
    found: dict[str, Value] = {}
    for name, value in cast("dict[str, object]", values).items():
        plain = value if isinstance(value, bool | int | str) else _texts(value)
        if plain is None:
            raise _damaged(path, f"`{name}` is neither text, number, true or false nor a list")
        found[name] = plain
    return found


def _damaged(path: Path, why: str) -> UserError:
    return UserError(
        f"cannot read settings file `{path}`: {why}",
        hint=f"Correct it, or return to the defaults with: rm '{path}'",
    )


def _write(where: Paths, values: Mapping[str, Value]) -> None:
    text = json.dumps({"version": _VERSION, "settings": dict(sorted(values.items()))}, indent=2)
    write_atomic(where.config / SETTINGS, (text + "\n").encode())
