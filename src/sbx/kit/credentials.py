# SPDX-License-Identifier: Apache-2.0
"""The `credentials` of a spec: which secret goes into which requests, and what stands in for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

from sbx.kit.shapes import Doc, Free, NonEmpty, Pattern
from sbx.system.codec import Json

_SERVICE = Pattern(r"[a-z0-9]+(-[a-z0-9]+)*", "kebab-case: a-z, 0-9 and single `-`")
_HEADER = Pattern(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}", "the name of an HTTP header")
_HOST_PATH = Pattern(r"/[!-~]*", "a path that starts with `/`")
_VARIABLE = Pattern(r"[A-Za-z_][A-Za-z0-9_]*", "the name of a variable: letters, digits and `_`")
_PATH = Pattern(r"(/|~/)(?!/)[^\0]*", "an absolute path, or one that starts with `~/`")


class Scheme(StrEnum):
    """How a secret is written into a header."""

    BEARER = "bearer"
    BASIC = "basic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inject:
    """One place where the secret is put in."""

    domain: Annotated[str, Doc("The host, which `permissions.network.allow` must hold"), NonEmpty()]
    header: Annotated[str | None, Doc("The header, `Authorization` if not given"), _HEADER] = None
    format: Annotated[str | None, Doc("Its value, with one `%s` for the secret")] = None
    scheme: Annotated[Scheme | None, Doc("The usual value instead of `format`")] = None
    username: Annotated[str | None, Doc("The user of `basic`")] = None

    @property
    def header_name(self) -> str:
        return self.header or "Authorization"

    @property
    def value_format(self) -> str:
        """The header's value with `%s` for the secret; for `basic`, before it is encoded."""
        if self.format is not None:
            return self.format
        match self.scheme:
            case Scheme.BASIC:
                return f"{self.username or ''}:%s"
            case Scheme.BEARER:
                return "Bearer %s"
            case None:
                return "%s"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A secret that is one text."""

    name: Annotated[str | None, Doc("The variable that holds a placeholder inside"), _VARIABLE] = (
        None
    )
    proxy_managed: Annotated[bool | None, Doc("The variable is set inside")] = None
    inject: Annotated[tuple[Inject, ...], Doc("Where it is put in")] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenEndpoint:
    host: Annotated[str, Doc("Where tokens are given out"), NonEmpty()]
    path: Annotated[str, Doc("And at which path"), _HOST_PATH]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentinels:
    access_token: Annotated[str, Doc("What stands in for the access token"), NonEmpty()]
    refresh_token: Annotated[str | None, Doc("What stands in for the refresh token")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialFile:
    path: Annotated[str, Doc("The file that the agent reads"), _PATH]
    structure: Annotated[Json, Doc("Its content as a tree, written as JSON"), Free()] = None
    template: Annotated[str | None, Doc("Its content as text")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth:
    """A secret that is a pair of tokens."""

    token_endpoint: Annotated[TokenEndpoint, Doc("Where tokens are given out")]
    resource_hosts: Annotated[tuple[str, ...], Doc("Hosts that take the access token")] = ()
    sentinels: Annotated[Sentinels | None, Doc("What stands in for the tokens inside")] = None
    credential_file: Annotated[CredentialFile | None, Doc("Where the agent keeps them")] = None
    response_fields: Annotated[
        dict[str, str], Doc("Where the answer has what: field to JSON key")
    ] = field(default_factory=dict[str, str])  # fmt: skip
    skip_if_env: Annotated[Json, Doc("Accepted and without effect"), Free()] = None
    passthrough: Annotated[bool | None, Doc("Tokens go through as they are")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A secret of a service."""

    service: Annotated[str, Doc("The service, as `sbx secret set` names it"), _SERVICE]
    description: Annotated[str | None, Doc("What it is for")] = None
    required: Annotated[bool | None, Doc("Without it the agent cannot work")] = None
    provider: Annotated[str | None, Doc("Accepted and without effect")] = None
    api_key: Annotated[ApiKey | None, Doc("A key")] = None
    oauth: Annotated[OAuth | None, Doc("A pair of tokens")] = None
