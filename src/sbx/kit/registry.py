# SPDX-License-Identifier: Apache-2.0
"""A client of OCI registries, as small as kits and templates need: manifests and blobs, bounded.

OCI Distribution Specification 1.1. TLS except to this machine; credentials go to the registry that
they were stored for and to the token server that it names, never to where it redirects.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import cast
from urllib.parse import quote, urlencode, urljoin, urlsplit

from sbx.errors import TransientError
from sbx.kit.findings import KitError
from sbx.kit.reference import DEFAULT_REGISTRY, OciKit
from sbx.system.fetch import open_url
from sbx.system.files import sha256_file
from sbx.system.text import printable

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
_DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
_MAX_MANIFEST_BYTES = 4 << 20
_MAX_TOKEN_BYTES = 1 << 20
_TIMEOUT_S = 60.0
_REDIRECTS = 5
_TRIES = 3
_READ_BYTES = 1 << 20
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
        accept = {"Accept": f"{MANIFEST}, {_DOCKER_MANIFEST}, {INDEX}, {_DOCKER_INDEX}"}
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

    def download(
        self, digest: str, target: Path, *, size_bytes: int, told: Callable[[int], None]
    ) -> None:
        """Write a blob to a file; what an earlier try left there is gone on with.

        `told` hears how many bytes are there. What is broken off is tried again as long as more
        comes each time (raises as `manifest`).
        """
        failures = 0
        while (have := target.stat().st_size if target.exists() else 0) < size_bytes:
            try:
                self._append(digest, target, have, size_bytes, told)
            except TransientError:
                failures = 0 if target.exists() and target.stat().st_size > have else failures + 1
                if failures >= _TRIES:
                    raise
            else:
                if target.stat().st_size < size_bytes:
                    failures = failures + 1 if target.stat().st_size <= have else 0
                    if failures >= _TRIES:
                        raise self._broken("blob")
        if have > size_bytes or f"sha256:{sha256_file(target)}" != digest:
            target.unlink()
            raise self._broken("blob")

    def _append(
        self, digest: str, target: Path, have: int, size_bytes: int, told: Callable[[int], None]
    ) -> None:
        """Ask for what is missing of a blob, and write what comes."""
        headers = {"Range": f"bytes={have}-"} if have else {}
        with self._opened(f"blobs/{digest}", headers) as answer:
            if answer.status not in (200, 206):
                text = _Answer(answer.status or 0, {}, b"")
                raise self._refused(text, f"has no blob `{digest[:19]}`")
            with target.open("ab") as file:
                if answer.status == 200:  # from the beginning, whatever was asked for
                    file.truncate(0)
                done = file.tell() if answer.status == 206 else 0
                while data := _read_some(answer, self.kit.registry):
                    done += len(data)
                    if done > size_bytes:
                        raise self._broken("blob")
                    file.write(data)
                    told(done)

    @contextlib.contextmanager
    def _opened(
        self, path: str, headers: dict[str, str]
    ) -> Generator[http.client.HTTPResponse | urllib.error.HTTPError]:
        """The answer to a GET, signed in and redirected as the others, its body still to come."""
        url, sent = self._url(path), dict(headers)
        if self.authorization is not None:
            sent["Authorization"] = self.authorization
        for _ in range(_REDIRECTS):
            with _open(urllib.request.Request(url, headers=sent)) as answer:  # noqa: S310 - as in `_once`
                place = answer.headers.get("location")
                if answer.status == 401 and url == self._url(path):
                    fields = {name.lower(): value for name, value in answer.headers.items()}
                    if self._sign_in(_Answer(401, fields, b""), pushes=False):
                        sent["Authorization"] = self.authorization or ""
                        continue
                if answer.status not in (301, 302, 303, 307, 308) or place is None:
                    yield answer
                    return
                url = _follow(url, place, sent)
        raise KitError(f"registry `{self.kit.registry}` redirects without end")

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


def _exchange(request: urllib.request.Request, limit: int) -> _Answer:
    with _open(request) as response:
        try:
            failed = isinstance(response, urllib.error.HTTPError)
            most = (limit or 1) if failed else limit + 1
            bound = (limit or 1) if failed else limit
            return _answer(response.status or 0, response.headers, response.read(most), bound)
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(request.host, error) from error


def _open(request: urllib.request.Request) -> http.client.HTTPResponse | urllib.error.HTTPError:
    """Send a request; the answer, whatever its status."""
    try:
        return open_url(request, timeout_s=_TIMEOUT_S)
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(request.host, error) from error


def _unreachable(host: str, error: Exception) -> TransientError:
    why = getattr(error, "reason", error)
    return TransientError(
        f"cannot reach `{host}`: {printable(why)}", hint="Check the name and the network"
    )


def _read_some(answer: http.client.HTTPResponse | urllib.error.HTTPError, host: str) -> bytes:
    try:
        return answer.read(_READ_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(host, error) from error


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
