# SPDX-License-Identifier: Apache-2.0
"""Every rule of a spec, with the sentence that its breach gives."""

from __future__ import annotations

import contextlib

import pytest

from sbx.kit.findings import KitError
from sbx.kit.rules import covers
from sbx.policy.patterns import parse_kit_entry
from tests.unit.kit.kits import MIXIN, SANDBOX, problems, read, warnings

_ALLOW = "permissions: {{network: {{allow: [api.example.com]}}}}\n"
_INJECT = _ALLOW + "credentials: [{{service: s, apiKey: {{inject: [{{{}}}]}}}}]\n"
_OAUTH = "credentials: [{{service: s, oauth: {{tokenEndpoint: {{host: a.com, path: /t}}, {}}}}}]\n"


@pytest.mark.parametrize(
    ("head", "body", "words"),
    [
        # kinds
        (MIXIN, "sandbox: {image: x}\n", "`sandbox` belongs to kind `sandbox`"),
        (MIXIN, "extends: shell\n", "`extends` belongs to kind `sandbox`"),
        (MIXIN, "mixins: [a]\n", "`mixins` belongs to kind `sandbox`"),
        (SANDBOX, "requires: {agent: claude}\n", "`requires` belongs to kind `mixin`"),
        (MIXIN.replace("mixin", "other"), "", "`other` is not one of `sandbox`, `mixin`"),
        (SANDBOX.replace("image: shell, ", ""), "", "missing key `image` in `sandbox`"),
        (
            SANDBOX.replace("{image: shell, entrypoint: [run]}", "{build: {context: .}}"),
            "extends: shell\n",
            "`sandbox.build` needs `sandbox.image` too",
        ),
        # names
        (MIXIN.replace("extra", "-a"), "", "`-a` is not 1 to 64 of a-z"),
        (MIXIN.replace("extra", "a" * 65), "", "is not 1 to 64 of a-z"),
        (MIXIN, "requires: {agent: A_B}\n", "`requires.agent`"),
        (MIXIN, "licenses: []\n", "`licenses`: it is empty"),
        (MIXIN, "licenses: [MIT, MIT]\n", "`MIT` is there twice"),
        (MIXIN, "locked: [Sandbox.image]\n", "is not a dotted path of keys"),
        (MIXIN, "locked: [sandbox..image]\n", "is not a dotted path of keys"),
        # ports, volumes, files
        (MIXIN, "ports: [{container: 65536}]\n", "`65536` is not from 1 to 65535"),
        (MIXIN, "ports: [{container: 1, protocol: sctp}]\n", "`sctp` is not one of `tcp`, `udp`"),
        (MIXIN, "ports: [{container: 1}, {container: 1}]\n", "`1/tcp` is there twice"),
        (MIXIN, "volumes: [{path: a}]\n", "`a` is not an absolute path"),
        (MIXIN, "volumes: [{path: /a/../b}]\n", "has a `..`"),
        (MIXIN, "volumes: [{path: /a, type: nfs}]\n", "`nfs` is not one of `tmpfs`"),
        (MIXIN, "volumes: [{path: /a, size: big}]\n", "invalid size: `big`"),
        (MIXIN, "volumes: [{path: /a, mode: '8'}]\n", "is not a file mode in octal"),
        (MIXIN, "volumes: [{path: /a}, {path: /a}]\n", "`/a` is there twice"),
        (MIXIN, "setup: {files: [{path: a, content: b}]}\n", "is not an absolute path"),
        (MIXIN, "setup: {files: [{path: /../a, content: b}]}\n", "has a `..`"),
        (MIXIN, "setup: {files: [{path: /a/, content: b}]}\n", "ends in `/`"),
        (MIXIN, "setup: {files: [{path: /a, content: b, mode: rw}]}\n", "file mode in octal"),
        # steps
        (MIXIN, "setup: {install: [{command: ''}]}\n", "`setup.install[0].command`: it is empty"),
        (MIXIN, "setup: {install: [{command: [a]}]}\n", "expected text, found a list"),
        (MIXIN, "setup: {install: [{command: a, user: 'a b'}]}\n", "is not a user"),
        (MIXIN, "setup: {startup: [{command: a}]}\n", "expected a list, found `a`"),
        # environment
        (MIXIN, "environment: {variables: {1A: x}}\n", "`1A` is not the name of a variable"),
        (MIXIN, "environment: {variables: {A-B: x}}\n", "`A-B` is not the name of a variable"),
        *(
            (MIXIN, f"environment: {{variables: {{{name}: x}}}}\n", f"`{name}` is reserved")
            for name in (
                "DASH_A", "SBX_A", "DOCKER_HOST", "HOME", "USER", "SHELL", "PATH", "LD_PRELOAD",
            )
        ),
        *(
            (MIXIN, f"environment: {{variables: {{{name}: x}}}}\n", "is the sandbox's own")
            for name in ("HTTP_PROXY", "https_proxy", "NO_PROXY", "all_proxy")
        ),
        # hosts
        (MIXIN, "permissions: {network: {allow: ['*']}}\n", "a bare `*` is not accepted"),
        (MIXIN, "permissions: {network: {deny: ['https://a.com']}}\n", "hosts, not URLs"),
        (MIXIN, "permissions: {network: {allow: ['a.com:0']}}\n", "invalid port"),
        # credentials
        (MIXIN, "credentials: [{service: A}]\n", "is not kebab-case"),
        (MIXIN, "credentials: [{service: a}]\n", "neither `apiKey` nor `oauth`"),
        (
            MIXIN,
            "credentials: [{service: a, apiKey: {}}, {service: a, apiKey: {}}]\n",
            "`a` is there twice",
        ),
        (MIXIN, "credentials: [{service: a, apiKey: {name: HOME}}]\n", "`HOME` is reserved"),
        (MIXIN, _INJECT.format("domain: other.com"), "not in `permissions.network.allow`"),
        (MIXIN, _INJECT.format("domain: 'api.example.com:80'"), "not in `permissions.network"),
        (MIXIN, _INJECT.format("domain: api.example.com/x"), "a domain has no path"),
        (MIXIN, _INJECT.format("domain: api.example.com, format: x"), "has one `%s`"),
        (MIXIN, _INJECT.format("domain: api.example.com, format: '%s %s'"), "has one `%s`"),
        (MIXIN, _INJECT.format("domain: api.example.com, header: 'a b'"), "name of an HTTP header"),
        (MIXIN, _INJECT.format('domain: api.example.com, format: "%s\\n"'), "a control character"),
        (MIXIN, _INJECT.format("domain: api.example.com, scheme: digest"), "`bearer`, `basic`"),
        (
            MIXIN,
            _INJECT.format("domain: api.example.com, scheme: bearer, format: '%s'"),
            "either `format` or `scheme`",
        ),
        (
            MIXIN,
            _INJECT.format("domain: api.example.com, scheme: bearer, username: x"),
            "belongs to scheme `basic`",
        ),
        (MIXIN, "credentials: [{service: a, oauth: {}}]\n", "missing key `tokenEndpoint`"),
        (MIXIN, _OAUTH.format("resourceHosts: ['*']"), "a bare `*` is not accepted"),
        (MIXIN, _OAUTH.format("credentialFile: {path: /a}"), "either `structure` or `template`"),
        (
            MIXIN,
            _OAUTH.format("credentialFile: {path: /a, template: '{{.Secret}}'}"),
            "`{{.Secret}}` is not one of `{{.AccessToken}}`",
        ),
        # the agent's file
        (SANDBOX, "agentInstructions: {filename: ../x}\n", "relative path without `..`"),
        (SANDBOX, "agentInstructions: {filename: /etc/x}\n", "relative path without `..`"),
    ],
)  # fmt: skip
def test_a_breach_is_told(head: str, body: str, words: str) -> None:
    found = problems(head, body)
    assert [line for line in found if words in line], found


@pytest.mark.parametrize(
    ("head", "body", "words"),
    [
        (SANDBOX, "mixins: [a]\n", "`mixins` are not applied"),
        (MIXIN, "agentInstructions: {filename: X.md}\n", "has no effect in a mixin"),
        (MIXIN, _OAUTH.format("skipIfEnv: [A]"), "skipIfEnv` has no effect"),
    ],
)
def test_what_is_accepted_with_a_warning(head: str, body: str, words: str) -> None:
    (only,) = warnings(head, body)
    assert words in only


@pytest.mark.parametrize(
    "body",
    [
        "permissions: {network: {allow: ['**.a.com', '10.0.0.0/8', 'b.com:80', 'c.org/book/']}}\n",
        "setup: {install: [{command: a, user: agent}, {command: b, user: '1000:1000'}]}\n",
        _INJECT.format("domain: api.example.com, scheme: basic, username: x"),
        _INJECT.format("domain: api.example.com, header: x-key, format: 'token=%s'"),
        _OAUTH.format("credentialFile: {path: ~/x, structure: {a: ['{{.Scopes}}']}}"),
        "security: {privileged: true}\n",
        "volumes: [{path: /a, type: tmpfs, size: 64m, mode: '1777'}]\n",
    ],
)
def test_what_is_right(body: str) -> None:
    assert read(MIXIN, body).warnings == ()


@pytest.mark.parametrize(
    ("allowed", "wanted", "fits"),
    [
        ("a.com", "a.com", True), ("a.com", "b.a.com", False), ("a.com:80", "a.com", False),
        ("**.a.com", "a.com", True), ("**.a.com", "c.b.a.com", True), ("**.a.com", "xa.com", False),
        ("*.a.com", "b.a.com", True), ("*.a.com", "c.b.a.com", False), ("*.a.com", "a.com", False),
        ("**", "a.com", True), ("**:443", "a.com", True), ("crl*.a.com", "crl3.a.com", True),
        ("**.a.com", "*.a.com", True), ("a.com", "**.a.com", False), ("10.0.0.0/8", "a.com", False),
    ],
)  # fmt: skip
def test_an_entry_covers_a_domain(allowed: str, wanted: str, fits: bool) -> None:
    assert covers(parse_kit_entry(allowed)[0], parse_kit_entry(wanted)[0]) is fits


@pytest.mark.parametrize(
    "body",
    [
        "agentInstructions: {filename: '" + "a" * 400_000 + "'}\n",
        _OAUTH.format("credentialFile: {path: /a, template: '" + "{{" * 200_000 + "'}"),
        "licenses: [" + ", ".join(f"l{i}" for i in range(9_000)) + "]\n",
        "k" * 400_000 + ": 1\n",
        "description: '" + "${{ " * 100_000 + "'\n",
    ],
    ids=["filename", "template", "list", "key", "reference"],
)
def test_no_text_makes_the_rules_slow(body: str) -> None:
    """Each of these once cost seconds or more; the tier's time limit is the bound."""
    with contextlib.suppress(KitError):
        read(SANDBOX, body)


@pytest.mark.parametrize("name", ["A.md", ".a/B.md", ".github/c.instructions.md", "..a", "a..b"])
def test_names_of_the_agent_s_file(name: str) -> None:
    assert read(SANDBOX, f"agentInstructions: {{filename: {name}}}\n").warnings == ()


@pytest.mark.parametrize("name", ["..", ".", "a/..", "../a", "a//b", "/a", "a/", "a/./b"])
def test_names_that_lead_elsewhere(name: str) -> None:
    assert "relative path" in problems(SANDBOX, f"agentInstructions: {{filename: {name}}}\n")[0]
