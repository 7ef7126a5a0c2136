# SPDX-License-Identifier: Apache-2.0
"""The typed form of a `spec.yaml` of schemaVersion 2; what each key is for and what it takes.

The decoder, the JSON Schema and the merging of kits read these types; docs/kits.md describes them.
Rules that need more than one value are in `rules`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, ClassVar

from sbx.kit.credentials import Credential
from sbx.kit.shapes import (
    Between,
    Doc,
    Key,
    Keyed,
    Names,
    NonEmpty,
    OneOf,
    Pattern,
    Replaces,
    Unique,
)  # fmt: skip

SCHEMA_VERSION = "2"
_NAME = Pattern(
    r"[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?",
    "1 to 64 of a-z, 0-9 and `-`, with a letter or digit at both ends",
)
_DOTTED = Pattern(
    r"[a-z][a-zA-Z0-9]*(\.[a-z][a-zA-Z0-9]*)*", "a dotted path of keys, such as `sandbox.image`"
)
_ARG = Pattern(r"[A-Za-z_][A-Za-z0-9_-]*", "a letter or `_`, then letters, digits, `_` and `-`")
_VARIABLE = Pattern(r"[A-Za-z_][A-Za-z0-9_]*", "the name of a variable: letters, digits and `_`")
_PATH = Pattern(r"/(?!/)[^\0]*", "an absolute path")
_MODE = Pattern(r"0?[0-7]{3,4}", "a file mode in octal, such as `0644`")
_USER = Pattern(
    r"([0-9]{1,10}|[a-z_][a-z0-9_-]{0,31})(:([0-9]{1,10}|[a-z_][a-z0-9_-]{0,31}))?",
    "a user: a number or a name, and `:group` behind it if needed",
)


class Kind(StrEnum):
    """What a kit is."""

    SANDBOX = "sandbox"  # an agent and what it runs in
    MIXIN = "mixin"  # something added to an agent


class Protocol(StrEnum):
    """What a port is for."""

    ANY = ""
    TCP = "tcp"
    UDP = "udp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    privileged: Annotated[bool | None, Doc("Accepted: a sandbox has a kernel of its own")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arg:
    default: Annotated[str | None, Doc("The value if none is given")] = None
    required: Annotated[bool | None, Doc("A value must be given")] = None
    description: Annotated[str | None, Doc("What it is for")] = None
    enum: Annotated[tuple[str, ...], Doc("The values that it takes"), Unique()] = ()
    pattern: Annotated[str | None, Doc("What a value must match as a whole (RE2 syntax)")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Requires:
    agent: Annotated[str, Doc("The agent that this mixin is made for"), _NAME]


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    context: Annotated[str | None, Doc("The folder that is built")] = None
    dockerfile: Annotated[str | None, Doc("The Dockerfile in it")] = None
    args: Annotated[dict[str, str], Doc("Build arguments")] = field(default_factory=dict[str, str])
    target: Annotated[str | None, Doc("The stage of the Dockerfile")] = None
    platforms: Annotated[tuple[str, ...], Doc("The platforms to build for")] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A bare list is `default`."""

    SHORTHAND: ClassVar[str] = "default"

    default: Annotated[tuple[str, ...], Doc("Arguments behind the entrypoint"), Replaces()] = ()
    interactive: Annotated[
        tuple[str, ...], Doc("Arguments instead, where there is a terminal"), Replaces()
    ] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxResources:
    cpu: Annotated[str | None, Doc("Processors"), Pattern(r"[0-9]{1,3}", "a whole number")] = None
    memory: Annotated[str | None, Doc("Memory, such as `4g`")] = None
    gpu: Annotated[str | None, Doc("Accepted and without effect")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    image: Annotated[str | None, Doc("The template that it starts from"), NonEmpty()] = None
    build: Annotated[Build | None, Doc("How the image is built; `image` is needed too")] = None
    entrypoint: Annotated[
        tuple[str, ...], Doc("The program that is started, with its first arguments"), Replaces()
    ] = ()
    command: Annotated[Command | None, Doc("A list, or `default` and `interactive`")] = None
    resources: Annotated[SandboxResources | None, Doc("The size it works best with")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentInstructions:
    filename: Annotated[
        str | None,
        Doc("The file that the agent reads, such as `CLAUDE.md`"),
        Pattern(
            r"(?=[^\0]{1,200}$)(?!.*(^|/)\.{0,2}(/|$))[^\0]+", "a short relative path without `..`"
        ),
    ] = None
    content: Annotated[str | None, Doc("What the agent is told, as Markdown")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPermissions:
    allow: Annotated[tuple[str, ...], Doc("Hosts it may reach; without a port, port 443")] = ()
    deny: Annotated[tuple[str, ...], Doc("Hosts that stay out of reach; wins over allow")] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    network: Annotated[NetworkPermissions | None, Doc("The way out")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    container: Annotated[int, Doc("The port inside"), Between(1, 65535)]
    protocol: Annotated[Protocol, Doc("Of the port")] = Protocol.ANY
    name: Annotated[str | None, Doc("What serves there")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    variables: Annotated[
        dict[str, str], Doc("Variables of every command"), Names(_VARIABLE)
    ] = field(default_factory=dict[str, str])  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Install:
    command: Annotated[str, Doc("Run once with `sh -c`"), NonEmpty()]
    user: Annotated[str, Doc("Who runs it"), _USER] = "0"
    description: Annotated[str | None, Doc("What it does")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Startup:
    command: Annotated[tuple[str, ...], Doc("Run at every start, without a shell"), NonEmpty()]
    user: Annotated[str, Doc("Who runs it"), _USER] = "1000"
    background: Annotated[bool | None, Doc("The start does not wait for its end")] = None
    description: Annotated[str | None, Doc("What it does")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupFile:
    path: Annotated[str, Doc("Where it is written"), _PATH]
    content: Annotated[str, Doc("Its text; `${WORKDIR}` is the workspace")]
    mode: Annotated[str, Doc("Its mode in octal"), _MODE] = "0644"
    only_if_missing: Annotated[bool | None, Doc("A file that is there already stays")] = None
    description: Annotated[str | None, Doc("What it is for")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    install: Annotated[tuple[Install, ...], Doc("What is installed once")] = ()
    startup: Annotated[tuple[Startup, ...], Doc("What is run at every start")] = ()
    files: Annotated[tuple[SetupFile, ...], Doc("Files that are written"), Keyed("path")] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    path: Annotated[str, Doc("Where it is mounted"), _PATH]
    type: Annotated[str, Doc("Empty or `tmpfs`"), OneOf(("", "tmpfs"))] = ""
    size: Annotated[str | None, Doc("Such as `512m`")] = None
    mode: Annotated[str | None, Doc("Its mode in octal"), _MODE] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A whole spec.yaml."""

    schema_version: Annotated[str, Doc("`2`"), OneOf((SCHEMA_VERSION,))]
    kind: Annotated[Kind, Doc("An agent (`sandbox`), or an addition to one (`mixin`)")]
    name: Annotated[str, Doc("Its name, once in a composition"), _NAME]
    version: Annotated[str | None, Doc("Its own version")] = None
    display_name: Annotated[str | None, Doc("Its name for people")] = None
    description: Annotated[str | None, Doc("What it is")] = None
    source_url: Annotated[str | None, Doc("Where it comes from"), Key("sourceURL")] = None
    licenses: Annotated[tuple[str, ...] | None, Doc("SPDX names"), NonEmpty(), Unique()] = None
    locked: Annotated[
        tuple[str, ...], Doc("Keys that a kit which extends this one may not set")
    ] = ()
    security: Annotated[Security | None, Doc("Rights inside")] = None
    args: Annotated[
        dict[str, Arg], Doc("What can be given as `--kit-arg`"), Names(_ARG)
    ] = field(default_factory=dict[str, Arg])  # fmt: skip
    requires: Annotated[Requires | None, Doc("For mixins: what it needs")] = None
    extends: Annotated[str | None, Doc("The agent that this one builds on"), NonEmpty()] = None
    mixins: Annotated[tuple[str, ...], Doc("Accepted and not applied; use --kit")] = ()
    sandbox: Annotated[Sandbox | None, Doc("What the agent runs in, and how it starts")] = None
    agent_instructions: Annotated[AgentInstructions | None, Doc("What the agent is told")] = None
    permissions: Annotated[Permissions | None, Doc("What it may do")] = None
    ports: Annotated[tuple[Port, ...], Doc("Ports published on 127.0.0.1, any free one")] = ()
    credentials: Annotated[
        tuple[Credential, ...], Doc("Secrets that are put in on the way out"), Keyed("service")
    ] = ()
    environment: Annotated[Environment | None, Doc("The environment inside")] = None
    setup: Annotated[Setup | None, Doc("How the sandbox is prepared")] = None
    volumes: Annotated[tuple[Volume, ...], Doc("Mounts of its own"), Keyed("path")] = ()

    @property
    def allow(self) -> tuple[str, ...]:
        """Hosts it may reach, as written."""
        network = self.permissions.network if self.permissions else None
        return network.allow if network else ()

    @property
    def deny(self) -> tuple[str, ...]:
        """Hosts that stay out of reach, as written."""
        network = self.permissions.network if self.permissions else None
        return network.deny if network else ()

    @property
    def variables(self) -> dict[str, str]:
        return self.environment.variables if self.environment else {}

    @property
    def steps(self) -> Setup:
        """What is installed, started and written."""
        return self.setup or Setup()


LOCKED_PATH = _DOTTED
