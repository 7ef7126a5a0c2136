# SPDX-License-Identifier: Apache-2.0
"""A client of OCI registries, as small as kits need: manifests and blobs, both ways, bounded.

OCI Distribution Specification 1.1. TLS except to this machine; credentials go to the registry that
they were stored for and to the token server that it names, never to where it redirects.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import IO, cast
from urllib.parse import quote, urlencode, urljoin, urlsplit

from sbx.errors import TransientError
from sbx.kit.findings import KitError
from sbx.kit.reference import DEFAULT_REGISTRY, OciKit
from sbx.system.text import printable

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
_DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_MAX_MANIFEST_BYTES = 4 << 20
_MAX_TOKEN_BYTES = 1 << 20
_TIMEOUT_S = 60.0
_REDIRECTS = 5
_CHALLENGE = re.compile(r'([a-zA-Z]+)="([^"]*)"')
_LOCAL = re.compile(r"(localhost|127\.[0-9.]+|\[::1\])(:[0-9]+)?")

Credentials = Callable[[str], tuple[str, str] | None]  # registry to user and password


def accepts(registry: str, login: tuple[str, str]) -> bool:
    """Whether a registry lets a user in.

    Raises:
        KitError: its answer cannot be read.
        TransientError: it cannot be reached.
    """
    any_image = OciKit(registry=registry, repository="library/hello-world", tag="latest", digest="")
    return Registry(any_image, lambda _: login).is_let_in()


def no_credentials(registry: str) -> tuple[str, str] | None:
    """For registries that are read without signing in."""
    del registry
    return None


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]  # lower-case names
    body: bytes


@dataclass(slots=True)
class Registry:
    """One repository of a registry."""

    kit: OciKit
    credentials: Credentials = no_credentials
    authorization: str | None = None

    def manifest(self) -> tuple[str, dict[str, object]]:
        """The digest of the manifest that the reference means, and its content.

        Raises:
            KitError: there is none, or it is not what its digest says.
            TransientError: the registry cannot be reached.
        """
        wanted = self.kit.digest or self.kit.tag
        accept = {"Accept": f"{MANIFEST}, {_DOCKER_MANIFEST}, {INDEX}"}
        answer = self._call("GET", f"manifests/{wanted}", accept, limit=_MAX_MANIFEST_BYTES)
        if answer.status != 200:
            raise self._refused(answer, f"has no `{wanted}`")
        digest = digest_of(answer.body)
        if self.kit.digest and digest != self.kit.digest:
            raise self._broken("manifest")
        try:
            found: object = json.loads(answer.body)
        except (ValueError, RecursionError) as error:
            raise self._broken("manifest") from error
        if not isinstance(found, dict):
            raise self._broken("manifest")
        return digest, cast("dict[str, object]", found)

    def blob(self, digest: str, *, limit: int) -> bytes:
        """The bytes of a blob (raises as `manifest`)."""
        answer = self._call("GET", f"blobs/{digest}", {}, limit=limit)
        if answer.status != 200:
            raise self._refused(answer, f"has no blob `{digest[:19]}`")
        if digest_of(answer.body) != digest:
            raise self._broken("blob")
        return answer.body

    def push_blob(self, data: bytes) -> str:
        """Store a blob unless it is there (raises as `manifest`)."""
        digest = digest_of(data)
        if self._call("HEAD", f"blobs/{digest}", {}, limit=0).status == 200:
            return digest
        begun = self._call("POST", "blobs/uploads/", {}, body=b"")
        place = begun.headers.get("location")
        if begun.status != 202 or place is None:
            raise self._refused(begun, "takes no blob")
        joint = "&" if "?" in place else "?"
        target = urljoin(
            self._url("blobs/uploads/"), f"{place}{joint}{urlencode({'digest': digest})}"
        )
        if urlsplit(target).netloc != urlsplit(self._url("")).netloc:
            raise KitError(f"registry `{self.kit.registry}` sends uploads to another host")
        kind = {"Content-Type": "application/octet-stream"}
        done = self._call("PUT", target, kind, body=data)
        if done.status != 201:
            raise self._refused(done, "did not take a blob")
        return digest

    def push_manifest(self, data: bytes) -> str:
        """Store a manifest under the tag of the reference; its digest (raises as `manifest`)."""
        done = self._call("PUT", f"manifests/{self.kit.tag}", {"Content-Type": MANIFEST}, body=data)
        if done.status != 201:
            raise self._refused(done, "did not take the manifest")
        return digest_of(data)

    def is_let_in(self) -> bool:
        """Whether the registry takes the credentials (raises as `manifest`)."""
        scheme, _, rest = self._url("").partition("://")
        base = f"{scheme}://{rest.partition('/')[0]}/v2/"
        return self._call("GET", base, {}).status == 200

    def _url(self, path: str) -> str:
        registry = self.kit.registry
        host = f"registry-1.{DEFAULT_REGISTRY}" if registry == DEFAULT_REGISTRY else registry
        scheme = "http" if _LOCAL.fullmatch(host) else "https"
        return f"{scheme}://{host}/v2/{self.kit.repository}/{path}"

    def _call(
        self, method: str, path: str, headers: dict[str, str], *,
        body: bytes | None = None, limit: int = _MAX_MANIFEST_BYTES,
    ) -> _Answer:  # fmt: skip
        url = path if "://" in path else self._url(path)
        answer = self._once(method, url, headers, body, limit)
        if answer.status == 401 and self._sign_in(answer, pushes=method != "GET"):
            answer = self._once(method, url, headers, body, limit)
        return answer

    def _once(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None, limit: int
    ) -> _Answer:
        sent = dict(headers)
        if self.authorization is not None:
            sent["Authorization"] = self.authorization
        for _ in range(_REDIRECTS):
            answer = _exchange(urllib.request.Request(url, body, sent, method=method), limit)  # noqa: S310 - the scheme is ours, or checked below
            target = answer.headers.get("location")
            if answer.status not in (301, 302, 303, 307, 308) or target is None or method != "GET":
                return answer
            url = _follow(url, target, sent)
        raise KitError(f"registry `{self.kit.registry}` redirects without end")

    def _sign_in(self, answer: _Answer, *, pushes: bool) -> bool:
        """Get what the registry asks for; whether trying again makes sense."""
        known = self.credentials(self.kit.registry)
        basic = None
        if known is not None:
            basic = "Basic " + base64.b64encode(":".join(known).encode()).decode()
        challenge = answer.headers.get("www-authenticate", "")
        if challenge.lower().startswith("basic"):
            again = basic is not None and self.authorization != basic
            self.authorization = basic
            return again
        fields = {name.lower(): value for name, value in _CHALLENGE.findall(challenge)}
        realm = fields.get("realm", "")
        if not challenge.lower().startswith("bearer") or not _is_safe(realm):
            return False
        actions = "pull,push" if pushes else "pull"
        query = {"scope": f"repository:{self.kit.repository}:{actions}"}
        query |= {"service": fields["service"]} if "service" in fields else {}
        url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(query, quote_via=quote)}"
        headers = {"Authorization": basic} if basic is not None else {}
        token = _exchange(urllib.request.Request(url, headers=headers), _MAX_TOKEN_BYTES)  # noqa: S310 - checked by _is_safe
        try:
            found = json.loads(token.body)
            self.authorization = f"Bearer {found.get('token') or found['access_token']}"
        except (ValueError, KeyError, AttributeError, RecursionError):
            return False
        return token.status == 200

    def _refused(self, answer: _Answer, why: str) -> KitError:
        if answer.status in (401, 403):
            why = "does not let us in"
        text = f"registry `{self.kit.registry}`: `{self.kit.repository}` {why}"
        return KitError(f"{text} (status {answer.status})")

    def _broken(self, what: str) -> KitError:
        return KitError(
            f"registry `{self.kit.registry}` sent a {what} that is not what was asked for"
        )


def digest_of(data: bytes) -> str:
    """`sha256:…` of some bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Redirects are followed by us, without what must not go along."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str,
        headers: http.client.HTTPMessage, newurl: str,
    ) -> None:  # fmt: skip
        return None


def _exchange(request: urllib.request.Request, limit: int) -> _Answer:
    opener = urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=ssl.create_default_context()), _NoRedirects()
    )
    request.add_header("User-Agent", "opensbx")
    try:
        with opener.open(request, timeout=_TIMEOUT_S) as response:
            return _answer(response.status, response.headers, response.read(limit + 1), limit)
    except urllib.error.HTTPError as error:
        with error:
            return _answer(error.code, error.headers, error.read(limit or 1), limit or 1)
    except (OSError, http.client.HTTPException) as error:
        why = getattr(error, "reason", error)
        raise TransientError(f"cannot reach `{request.host}`: {printable(why)}") from error


def _answer(status: int, headers: Message, body: bytes, limit: int) -> _Answer:
    if len(body) > limit:
        raise KitError(f"the registry's answer is larger than {limit} bytes")
    return _Answer(status, {name.lower(): value for name, value in headers.items()}, body)


def _follow(url: str, target: str, headers: dict[str, str]) -> str:
    """The next address; another host gets no credentials, and nothing leaves TLS."""
    following = urljoin(url, target)
    before, after = urlsplit(url), urlsplit(following)
    if not _is_safe(following) or (before.scheme == "https" and after.scheme != "https"):
        raise KitError(f"registry redirects to an unsafe address: {printable(following[:200])}")
    if (before.scheme, before.netloc) != (after.scheme, after.netloc):
        headers.pop("Authorization", None)
    return following


def _is_safe(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" or (
        parts.scheme == "http" and _LOCAL.fullmatch(parts.netloc) is not None
    )
