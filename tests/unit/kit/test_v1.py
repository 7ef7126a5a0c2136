# SPDX-License-Identifier: Apache-2.0
"""The former form is read with warnings and means the same as before."""

from __future__ import annotations

import textwrap

from sbx.kit.model import Kind, Port, Volume
from tests.unit.kit.kits import problems, read, warnings

OLD = textwrap.dedent("""\
    schemaVersion: "1"
    kind: agent
    name: old
    agent:
      image: docker/sandbox-templates:old
      aiFileName: OLD.md
      persistence: none
      entrypoint: {run: [old], args: [--headless], ttyArgs: [--tui]}
    memory: Be brief
    credentials:
      sources:
        thing: {env: [THING_KEY], required: true}
    network:
      allowedDomains: [a.com]
      deniedDomains: [b.com]
      serviceDomains: {api.thing.com: thing}
      serviceAuth: {thing: {headerName: x-key, valueFormat: "token %s"}}
      publishedPorts: [{container: 80}]
    environment:
      variables: {A: b}
      proxyManaged: [THING_KEY]
    commands:
      install: [{command: install it}]
      startup: [{command: [start]}]
      initFiles: [{path: /a, content: b}]
    tmpfs: [/scratch]
    caps: [NET_ADMIN]
    """)


def test_every_part_finds_its_place() -> None:
    spec = read(OLD).spec
    assert (spec.schema_version, spec.kind, spec.name) == ("2", Kind.SANDBOX, "old")
    assert spec.sandbox is not None
    assert spec.sandbox.image == "docker/sandbox-templates:old"
    assert spec.sandbox.entrypoint == ("old",)
    assert spec.sandbox.command is not None
    assert spec.sandbox.command.default == ("--headless",)
    assert spec.sandbox.command.interactive == ("--tui",)
    assert spec.agent_instructions is not None
    assert (spec.agent_instructions.filename, spec.agent_instructions.content) == (
        "OLD.md",
        "Be brief",
    )
    assert (spec.allow, spec.deny) == (("a.com", "api.thing.com"), ("b.com",))
    assert spec.ports == (Port(container=80),)
    assert spec.variables == {"A": "b"}
    assert spec.volumes == (Volume(path="/scratch", type="tmpfs"),)
    assert [step.command for step in spec.steps.install] == ["install it"]
    assert [step.command for step in spec.steps.startup] == [("start",)]
    assert [file.path for file in spec.steps.files] == ["/a"]


def test_sources_domains_and_auth_become_one_credential() -> None:
    (one,) = read(OLD).spec.credentials
    assert (one.service, one.required) == ("thing", True)
    assert one.api_key is not None
    assert (one.api_key.name, one.api_key.proxy_managed) == ("THING_KEY", True)
    (inject,) = one.api_key.inject
    assert (inject.domain, inject.header_name, inject.value_format) == (
        "api.thing.com",
        "x-key",
        "token %s",
    )


def test_it_warns_of_its_age_and_of_what_is_left_out() -> None:
    found = warnings(OLD)
    assert [line for line in found if 'schemaVersion "1" is deprecated' in line]
    for key in ("caps", "agent.persistence"):
        assert [line for line in found if f"`{key}` is not carried over" in line]


def test_it_is_as_strict() -> None:
    found = problems('schemaVersion: "1"\nkind: mixin\nname: x\ncommand: {}\n')
    assert found == ["spec.yaml:4:1: unknown key `command`; did you mean `commands`?"]
    assert problems('schemaVersion: "1"\nkind: agent\nname: x\n') == [
        "spec.yaml:1:1: missing key `image` in `sandbox`: nothing is extended"
    ]
