# SPDX-License-Identifier: Apache-2.0
"""The rules of a spec that one value alone cannot break: kinds, hosts, names, paths, locks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from sbx.errors import UserError
from sbx.kit.credentials import CredentialFile, Inject, OAuth, Scheme
from sbx.kit.decode import Decoder
from sbx.kit.findings import Findings
from sbx.kit.model import LOCKED_PATH, Kind, Spec
from sbx.policy.patterns import Form, Resource, glob_regex, parse_kit_entry, parse_resource
from sbx.sandbox.units import parse_size

RESERVED_PREFIXES = ("DASH_", "SBX_", "DOCKER_", "LD_")
RESERVED_NAMES = frozenset({"HOME", "USER", "SHELL", "PATH"})
# The way out depends on them, whatever the case in which a program asks.
PROXY_NAMES = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"})
PLACEHOLDERS = ("AccessToken", "RefreshToken", "ExpiresAt", "Scopes")
_SANDBOX_ONLY = ("extends", "mixins", "sandbox")


@dataclass(slots=True)
class _Rules:
    """One pass over one spec."""

    spec: Spec
    decoder: Decoder
    unread: Findings  # what decoding found

    def error(self, path: str, text: str) -> None:
        """Report what is broken, unless what it is about could not be read in the first place."""
        if not self.unread.has_error_at(path):
            self.decoder.findings.error(path, text, self.decoder.mark(path))

    def warn(self, path: str, text: str) -> None:
        self.decoder.findings.warning(path, text, self.decoder.mark(path))

    def kinds(self) -> None:
        spec = self.spec
        if spec.kind is Kind.MIXIN:
            for key in _SANDBOX_ONLY:
                if getattr(spec, key):
                    self.error(key, f"`{key}` belongs to kind `sandbox`, and this is a mixin")
            if spec.agent_instructions and spec.agent_instructions.filename:
                self.warn(
                    "agentInstructions.filename",
                    "`agentInstructions.filename` has no effect in a mixin: the agent's counts",
                )
            return
        if spec.requires is not None:
            self.error("requires", "`requires` belongs to kind `mixin`, and this is a sandbox")
        if spec.mixins:
            self.warn("mixins", "`mixins` are not applied: name them with --kit")
        image = spec.sandbox.image if spec.sandbox else None
        if image is None and spec.extends is None:
            self.error("sandbox", "missing key `image` in `sandbox`: nothing is extended")
        if image is None and spec.sandbox and spec.sandbox.build:
            self.error("sandbox.build", "`sandbox.build` needs `sandbox.image` too")

    def repeated(self) -> None:
        self._once("credentials", (one.service for one in self.spec.credentials))
        self._once("volumes", (one.path for one in self.spec.volumes))
        self._once("setup.files", (one.path for one in self.spec.steps.files))
        self._once("ports", (f"{p.container}/{p.protocol or 'tcp'}" for p in self.spec.ports))

    def _once(self, path: str, names: Iterable[str]) -> None:
        for name in (name for name, count in Counter(names).items() if count > 1):
            self.error(path, f"`{path}`: `{name}` is there twice")

    def locked(self) -> None:
        for index, path in enumerate(self.spec.locked):
            if problem := LOCKED_PATH.problem(path):
                self.error(f"locked[{index}]", f"`locked[{index}]`: {problem}")

    def variables(self) -> None:
        names = [(f"environment.variables.{name}", name) for name in self.spec.variables]
        names += [
            (f"credentials[{i}].apiKey.name", one.api_key.name)
            for i, one in enumerate(self.spec.credentials)
            if one.api_key and one.api_key.name
        ]
        for path, name in names:
            if name.upper() in PROXY_NAMES:
                self.error(path, f"variable `{name}` is the sandbox's own: the way out needs it")
            elif name in RESERVED_NAMES or name.startswith(RESERVED_PREFIXES):
                self.error(path, f"variable `{name}` is reserved")

    def paths(self) -> None:
        found = [(f"setup.files[{i}].path", f.path) for i, f in enumerate(self.spec.steps.files)]
        found += [(f"volumes[{i}].path", v.path) for i, v in enumerate(self.spec.volumes)]
        for path, text in found:
            if ".." in PurePosixPath(text).parts or text.endswith("/"):
                self.error(path, f"`{path}`: `{text}` has a `..` or ends in `/`")

    def sizes(self) -> None:
        found = [(f"volumes[{i}].size", v.size) for i, v in enumerate(self.spec.volumes)]
        resources = self.spec.sandbox.resources if self.spec.sandbox else None
        found.append(("sandbox.resources.memory", resources.memory if resources else None))
        for path, text in found:
            try:
                if text is not None:
                    parse_size(text)
            except UserError as error:
                self.error(path, f"`{path}`: {error.message}")

    def hosts(self) -> None:
        allowed = [*self._entries("permissions.network.allow", self.spec.allow)]
        list(self._entries("permissions.network.deny", self.spec.deny))
        for index, one in enumerate(self.spec.credentials):
            for number, inject in enumerate(one.api_key.inject if one.api_key else ()):
                where = f"credentials[{index}].apiKey.inject[{number}]"
                self._inject(where, inject, allowed)

    def _entries(self, path: str, entries: Iterable[str]) -> Iterator[Resource]:
        for index, text in enumerate(entries):
            try:
                yield _parse(text)[0]
            except UserError as error:
                self.error(f"{path}[{index}]", f"`{path}[{index}]`: {error.message}")

    def _inject(self, where: str, inject: Inject, allowed: list[Resource]) -> None:
        try:
            wanted, url_path = _parse(inject.domain)
        except UserError as error:
            self.error(f"{where}.domain", f"`{where}.domain`: {error.message}")
            return
        if url_path is not None:
            self.error(f"{where}.domain", f"`{where}.domain`: a domain has no path")
        elif not any(covers(one, wanted) for one in allowed):
            text = f"`{inject.domain}` is not in `permissions.network.allow`"
            self.error(f"{where}.domain", f"`{where}.domain`: {text}")
        if inject.format is not None and inject.format.replace("%%", "").count("%s") != 1:
            self.error(f"{where}.format", f"`{where}.format` has one `%s` for the secret")
        if inject.format is not None and inject.scheme is not None:
            self.error(where, f"`{where}`: either `format` or `scheme`")
        if inject.format is not None and not inject.format.isprintable():
            self.error(f"{where}.format", f"`{where}.format` has a control character")
        if inject.username is not None and inject.scheme is not Scheme.BASIC:
            self.error(f"{where}.username", f"`{where}.username` belongs to scheme `basic`")

    def credentials(self) -> None:
        for index, one in enumerate(self.spec.credentials):
            where = f"credentials[{index}]"
            if one.api_key is None and one.oauth is None:
                self.error(where, f"`{where}`: neither `apiKey` nor `oauth`")
            if one.oauth is not None:
                self._oauth(f"{where}.oauth", one.oauth)

    def _oauth(self, where: str, oauth: OAuth) -> None:
        hosts = [(f"{where}.tokenEndpoint.host", oauth.token_endpoint.host)]
        hosts += [(f"{where}.resourceHosts[{i}]", h) for i, h in enumerate(oauth.resource_hosts)]
        for path, host in hosts:
            try:
                _parse(host)
            except UserError as error:
                self.error(path, f"`{path}`: {error.message}")
        if oauth.skip_if_env is not None:
            self.warn(f"{where}.skipIfEnv", f"`{where}.skipIfEnv` has no effect")
        if oauth.credential_file is not None:
            self._credential_file(f"{where}.credentialFile", oauth.credential_file)

    def _credential_file(self, where: str, file: CredentialFile) -> None:
        if (file.structure is None) == (file.template is None):
            self.error(where, f"`{where}`: either `structure` or `template`")
        text = file.template if file.template is not None else json.dumps(file.structure)
        # Split and not searched: a search for `{{…}}` in many `{{` would take for ever.
        inner = (part.partition("}}") for part in text.split("{{")[1:])
        for name in (name for name, closing, _rest in inner if closing):
            if name.strip().removeprefix(".") not in PLACEHOLDERS:
                known = ", ".join(f"`{{{{.{word}}}}}`" for word in PLACEHOLDERS)
                self.error(where, f"`{where}`: `{{{{{name}}}}}` is not one of {known}")


def check_spec(spec: Spec, decoder: Decoder) -> None:
    """Apply every rule; what is broken goes to the decoder's findings."""
    rules = _Rules(spec, decoder, Findings(found=list(decoder.findings.found)))
    for rule in (
        rules.kinds, rules.repeated, rules.locked, rules.variables, rules.paths, rules.sizes,
        rules.hosts, rules.credentials,
    ):  # fmt: skip
        rule()


def _parse(text: str) -> tuple[Resource, str | None]:
    """A host entry; its error for a URL says that it is one."""
    return (parse_resource(text), None) if "://" in text else parse_kit_entry(text)


def covers(allowed: Resource, wanted: Resource) -> bool:
    """Whether an entry of `allow` lets through everything that another one names."""
    if allowed.port is not None and allowed.port != wanted.port:
        return False
    if allowed.form is Form.ANY or (allowed.form, allowed.host) == (wanted.form, wanted.host):
        return True
    below = wanted.host.endswith(f".{allowed.host}")
    match allowed.form:
        case Form.TREE:
            return wanted.form in (Form.NAME, Form.CHILD, Form.TREE) and (
                below or wanted.host == allowed.host
            )
        case Form.CHILD:
            label = wanted.host.removesuffix(f".{allowed.host}")
            return wanted.form is Form.NAME and below and "." not in label
        case Form.GLOB:
            return wanted.form is Form.NAME and bool(
                glob_regex(allowed.host).fullmatch(wanted.host)
            )
        case _:
            return False
