# SPDX-License-Identifier: Apache-2.0
"""The former form of a spec.yaml (schemaVersion 1), read with warnings and made the new one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from sbx.kit import model
from sbx.kit.credentials import ApiKey, Credential, Inject
from sbx.kit.decode import Decoder
from sbx.kit.nodes import Table
from sbx.kit.shapes import Doc, Free, Key, OneOf
from sbx.system.codec import Json

_Texts = dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    env: tuple[str, ...] = ()
    required: bool | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Credentials:
    sources: dict[str, _Source] = field(default_factory=dict[str, _Source])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Auth:
    header_name: str
    value_format: str = "%s"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Network:
    allowed_domains: tuple[str, ...] = ()
    denied_domains: tuple[str, ...] = ()
    service_domains: _Texts = field(default_factory=dict[str, str])  # host to service
    service_auth: dict[str, _Auth] = field(default_factory=dict[str, _Auth])
    published_ports: tuple[model.Port, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Environment:
    variables: _Texts = field(default_factory=dict[str, str])
    proxy_managed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Commands:
    install: tuple[model.Install, ...] = ()
    startup: tuple[model.Startup, ...] = ()
    init_files: tuple[model.SetupFile, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entrypoint:
    run: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    tty_args: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Agent:
    image: str
    ai_file_name: str | None = None
    persistence: Annotated[Json, Free()] = None
    entrypoint: _Entrypoint | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecV1:
    """A whole spec.yaml of schemaVersion 1."""

    schema_version: Annotated[str, OneOf(("1",))]
    kind: Annotated[str, OneOf(("sandbox", "agent", "mixin"))]
    name: Annotated[str, Doc("Its name")]
    version: str | None = None
    display_name: str | None = None
    description: str | None = None
    source_url: Annotated[str | None, Key("sourceURL")] = None
    licenses: tuple[str, ...] | None = None
    args: dict[str, model.Arg] = field(default_factory=dict[str, model.Arg])
    credentials: _Credentials | None = None
    network: _Network | None = None
    environment: _Environment | None = None
    oauth: Annotated[Json, Free()] = None
    memory: str | None = None
    agent_context: str | None = None
    commands: _Commands | None = None
    agent: _Agent | None = None
    volumes: tuple[model.Volume, ...] = ()
    tmpfs: tuple[str, ...] = ()
    caps: Annotated[Json, Free()] = None


def read_v1(node: Table, decoder: Decoder) -> model.Spec:
    """The spec in the new form."""
    old = decoder.decode(SpecV1, node)
    findings = decoder.findings
    mark = decoder.mark("schemaVersion")
    findings.warning("schemaVersion", 'schemaVersion "1" is deprecated: write "2"', mark)
    for key, value in (
        ("oauth", old.oauth), ("caps", old.caps),
        ("agent.persistence", old.agent.persistence if old.agent else None),
    ):  # fmt: skip
        if value is not None:
            findings.warning(key, f"`{key}` is not carried over", decoder.mark(key))
    commands = old.commands or _Commands()
    network = old.network or _Network()
    text = old.agent_context or old.memory
    name = old.agent.ai_file_name if old.agent else None
    return model.Spec(
        schema_version=model.SCHEMA_VERSION,
        kind=model.Kind.MIXIN if old.kind == "mixin" else model.Kind.SANDBOX,
        name=old.name,
        version=old.version,
        display_name=old.display_name,
        description=old.description,
        source_url=old.source_url,
        licenses=old.licenses,
        args=old.args,
        sandbox=_sandbox(old.agent) if old.agent else None,
        agent_instructions=model.AgentInstructions(filename=name, content=text)
        if name or text
        else None,
        permissions=_permissions(network),
        ports=network.published_ports,
        credentials=_credentials(old),
        environment=model.Environment(variables=old.environment.variables)
        if old.environment
        else None,
        setup=model.Setup(
            install=commands.install, startup=commands.startup, files=commands.init_files
        ),
        volumes=(*old.volumes, *(model.Volume(path=path, type="tmpfs") for path in old.tmpfs)),
    )


def _sandbox(agent: _Agent) -> model.Sandbox:
    start = agent.entrypoint or _Entrypoint()
    return model.Sandbox(
        image=agent.image,
        entrypoint=start.run,
        command=model.Command(default=start.args, interactive=start.tty_args),
    )


def _permissions(network: _Network) -> model.Permissions:
    # A service's hosts were reachable without being named again.
    hosts = dict.fromkeys((*network.allowed_domains, *network.service_domains))
    return model.Permissions(
        network=model.NetworkPermissions(allow=tuple(hosts), deny=network.denied_domains)
    )


def _credentials(old: SpecV1) -> tuple[Credential, ...]:
    network = old.network or _Network()
    managed = old.environment.proxy_managed if old.environment else ()
    sources = old.credentials.sources if old.credentials else {}
    found: list[Credential] = []
    for service in dict.fromkeys((*sources, *network.service_domains.values())):
        source = sources.get(service, _Source())
        auth = network.service_auth.get(service)
        names = source.env
        key = ApiKey(
            name=names[0] if names else None,
            proxy_managed=any(name in managed for name in names),
            inject=tuple(
                Inject(domain=host, header=auth.header_name, format=auth.value_format)
                for host, owner in network.service_domains.items()
                if owner == service and auth is not None
            ),
        )
        found.append(Credential(service=service, required=source.required, api_key=key))
    return tuple(found)
