# SPDX-License-Identifier: Apache-2.0
"""The package indexes and mirrors that this user's own tools are set to, as rules to allow them.

Read are the settings of the user and of the machine, and the environment; never files of the
current folder, which a sandbox may write. Only host and port are taken: user names, passwords and
paths stay where they are. What is on the host's own loopback is not opened.
"""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from sbx.errors import HostError, UserError
from sbx.policy.addresses import Kind, classify
from sbx.policy.hosts import LOCALHOST, Address, Endpoint, HostName, Protocol, parse_host, to_ascii
from sbx.policy.patterns import parse_resource
from sbx.policy.rules import CreatedVia, Effect, Rule
from sbx.policy.ruleset import RuleSet
from sbx.store import mirror_formats as formats
from sbx.system.files import read_bounded

_LIMIT_BYTES = 1 << 20
_RESOLVE_S = 3.0  # for all names together
_PORTS = {"https": 443, "http": 80}
_PREFIX = re.compile(r"(?:sparse|registry|git|mirror)\+")
_OWN_NETWORKS = (Kind.PRIVATE, Kind.SHARED, Kind.RESERVED)

Resolve = Callable[[HostName], Iterable[Address]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """An index or mirror that a tool is set to."""

    tool: str
    to: Endpoint
    source: str  # a file, or a variable


@dataclass(slots=True)
class Found:
    """What was found, and what could not be understood."""

    mirrors: list[Mirror] = field(default_factory=list[Mirror])
    problems: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where settings are looked for."""

    home: Path
    environment: Mapping[str, str]
    root: Path = Path("/")

    @classmethod
    def own(cls) -> Machine:
        """This user on this machine."""
        return cls(home=Path.home(), environment=os.environ)

    def config(self) -> Path:
        value = self.environment.get("XDG_CONFIG_HOME", "")
        return Path(value) if value.startswith("/") else self.home / ".config"

    def variable(self, name: str, default: Path) -> Path:
        value = self.environment.get(name, "")
        return Path(value) if value else default


def find_mirrors(machine: Machine) -> Found:
    """Everything that the settings of pip, npm, apt, cargo and Go name."""
    found = Found()
    seen: set[tuple[str, Endpoint]] = set()
    for tool, source, url in _named(machine, found.problems):
        try:
            to = _endpoint(url)
        except UserError as error:
            found.problems.append(f"{tool}: {source}: {error.message}")
            continue
        if to is not None and (tool, to) not in seen:
            seen.add((tool, to))
            found.mirrors.append(Mirror(tool=tool, to=to, source=source))
    return found


def mirror_rules(
    rules: RuleSet, mirrors: Iterable[Mirror], resolve: Resolve | None = None
) -> tuple[Rule, ...]:
    """The rules that let these be reached, as far as they cannot be already.

    A host that is now at a private, shared or reserved address gets a rule that says so.
    """
    wanted = list(mirrors)
    inside = _inside({m.to.host for m in wanted if isinstance(m.to.host, str)}, resolve or _resolve)
    policy = rules.compile()
    groups: dict[tuple[str, bool], list[Mirror]] = {}
    for mirror in wanted:
        is_private = mirror.to.host in inside
        if is_private or not policy.connection(mirror.to).allowed:
            groups.setdefault((mirror.tool, is_private), []).append(mirror)
    return tuple(_rule(tool, group, private=private) for (tool, private), group in groups.items())


def _rule(tool: str, mirrors: list[Mirror], *, private: bool) -> Rule:
    name = f"mirror-{tool}{'-private' if private else ''}"
    sources = ", ".join(dict.fromkeys(mirror.source for mirror in mirrors))
    return Rule(
        id=name,
        name=name,
        effect=Effect.ALLOW,
        resources=tuple(dict.fromkeys(parse_resource(str(mirror.to)) for mirror in mirrors)),
        protocols=frozenset({Protocol.TCP}),
        created_via=CreatedVia.DEFAULT,
        private=private,
        note=f"the settings of {tool} name it: {sources}",
    )


def _named(machine: Machine, problems: list[str]) -> Iterator[tuple[str, str, str]]:
    """Tool, source and URL of everything that is named."""
    env = machine.environment
    for variable in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        yield from (("pip", variable, url) for url in env.get(variable, "").split())
    for name, value in env.items():
        key = name.lower()
        if key == "npm_config_registry" or re.fullmatch(r"npm_config_@[^:]+:registry", key):
            yield "npm", name, value
        if re.fullmatch(r"CARGO_REGISTRIES_\w+_INDEX", name):
            yield "cargo", name, value
    for variable in ("GOPROXY", "GOSUMDB"):
        yield from (
            ("go", variable, url) for url in formats.go_urls({variable: env.get(variable, "")})
        )
    read_already: set[tuple[str, Path]] = set()
    for tool, path, read in _files(machine):
        if (tool, path) in read_already:
            continue
        read_already.add((tool, path))
        try:
            text = read_bounded(path, limit_bytes=_LIMIT_BYTES).decode("utf-8", "replace")
            urls = read(text)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            continue
        except OSError as error:
            problems.append(f"{tool}: cannot read {path}: {error.strerror}")
        except (ValueError, HostError) as error:
            problems.append(f"{tool}: cannot read {path}: {error}")
        else:
            yield from ((tool, str(path), url) for url in urls)


def _files(machine: Machine) -> Iterator[tuple[str, Path, Callable[[str], list[str]]]]:
    """The files of the user and of the machine, and what reads each."""
    home, root, config, env = machine.home, machine.root, machine.config(), machine.environment
    for path in (
        root / "etc/pip.conf", root / "etc/xdg/pip/pip.conf",
        home / ".pip/pip.conf", config / "pip/pip.conf",
        machine.variable("PIP_CONFIG_FILE", home / ".pip/pip.conf"),
    ):  # fmt: skip
        yield "pip", path, formats.pip_urls
    for path in (
        root / "etc/npmrc", root / "usr/etc/npmrc", root / "usr/local/etc/npmrc",
        machine.variable("NPM_CONFIG_USERCONFIG", home / ".npmrc"),
        machine.variable("npm_config_userconfig", home / ".npmrc"),
    ):  # fmt: skip
        yield "npm", path, lambda text: formats.npm_urls(text, env)
    apt = root / "etc/apt"
    yield "apt", apt / "sources.list", formats.apt_list_urls
    parts = apt / "sources.list.d"
    for path in sorted(parts.glob("*.list")):
        yield "apt", path, formats.apt_list_urls
    for path in sorted(parts.glob("*.sources")):
        yield "apt", path, formats.apt_deb822_urls
    cargo = machine.variable("CARGO_HOME", home / ".cargo")
    for path in (cargo / "config.toml", cargo / "config"):
        yield "cargo", path, formats.cargo_urls
    go = machine.variable("GOENV", config / "go/env")
    yield "go", go, lambda text: formats.go_urls(formats.go_env(text))


def _endpoint(url: str) -> Endpoint | None:
    """Where a URL leads; None if it is not HTTP, or on the host's loopback."""
    try:
        parts = urlsplit(_PREFIX.sub("", url, count=1))
        port = parts.port
    except ValueError as error:
        raise UserError("a URL in it cannot be read") from error
    if parts.scheme not in _PORTS or not parts.hostname:
        return None
    text = f"[{parts.hostname}]" if ":" in parts.hostname else to_ascii(parts.hostname)
    host = parse_host(text)
    if host == LOCALHOST or not (
        isinstance(host, str) or classify(host) in (Kind.PUBLIC, *_OWN_NETWORKS)
    ):
        return None
    return Endpoint(host=host, port=port or _PORTS[parts.scheme])


def _inside(names: set[HostName], resolve: Resolve) -> set[HostName]:
    """Those that are at an address of one of the user's own networks, as far as is known in time.

    A name that is not found now gets no special rule: a block explains itself later.
    """
    found: set[HostName] = set()

    def look(name: HostName) -> None:
        if any(classify(address) in _OWN_NETWORKS for address in resolve(name)):
            found.add(name)

    threads = [threading.Thread(target=look, args=(name,), daemon=True) for name in names]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + _RESOLVE_S
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0))
    return set(found)


def _resolve(name: HostName) -> list[Address]:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
