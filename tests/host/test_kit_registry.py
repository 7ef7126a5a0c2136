# SPDX-License-Identifier: Apache-2.0
"""Kits in a real registry: pushed, pulled, pinned, and what a hostile one gets from us."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from sbx.errors import TransientError
from sbx.kit import oci
from sbx.kit.args import NO_ARGS
from sbx.kit.bundle import Bundle, KitFile
from sbx.kit.fetch import Allowed, Fetcher
from sbx.kit.findings import KitError
from sbx.kit.read import read_spec
from sbx.kit.reference import OciKit, parse_oci
from sbx.kit.registry import MANIFEST, Registry, digest_of
from tests.host.registry import PASSWORD, USER, running_registry

SPEC = b'schemaVersion: "2"\nkind: mixin\nname: extra\nversion: "1.2"\n'
KIT = Bundle(spec=SPEC, files={"files/home/a": KitFile(b"hello", executable=True)})


@pytest.fixture(scope="module", name="registry")
def _registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


def push(address: str, tag: str = "1", bundle: Bundle = KIT) -> str:
    spec = read_spec(bundle.spec, NO_ARGS, what="k").spec
    return oci.push(bundle, spec, parse_oci(f"{address}/team/extra:{tag}"))


def test_what_is_pushed_is_pulled(registry: str) -> None:
    digest = push(registry)
    assert oci.pull(parse_oci(f"{registry}/team/extra:1")) == (digest, KIT)
    assert push(registry) == digest  # equal kits are one artifact


def test_a_digest_stays_when_the_tag_moves(registry: str, tmp_path: Path) -> None:
    fetch = Fetcher(cwd=tmp_path, allowed=Allowed(sources=(f"{registry}/team/",)))
    push(registry, "moving")
    first = fetch(f"{registry}/team/extra:moving")
    assert first.resolved.startswith(f"{registry}/team/extra@sha256:")
    other = Bundle(spec=SPEC + b"description: new\n", files={})
    push(registry, "moving", other)
    again = Fetcher(cwd=tmp_path, allowed=fetch.allowed)
    assert again(f"{registry}/team/extra:moving").bundle == other
    assert again(first.resolved).bundle == KIT


def test_what_is_not_there(registry: str) -> None:
    with pytest.raises(KitError, match="has no `9`"):
        oci.pull(parse_oci(f"{registry}/team/extra:9"))
    with pytest.raises(KitError, match="has no `sha256:"):
        oci.pull(parse_oci(f"{registry}/team/extra@sha256:{'0' * 64}"))


def test_an_image_that_is_no_kit(registry: str) -> None:
    target = Registry(parse_oci(f"{registry}/team/image:1"))
    layer = target.push_blob(b"not an archive")
    empty = target.push_blob(b"{}")
    describe = {"mediaType": "application/octet-stream", "digest": layer, "size": 14}
    config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2}
    for layers, words in (([describe], "neither a .zip nor"), ([describe] * 2, "has one layer")):
        document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}
        target.push_manifest(json.dumps(document).encode())
        with pytest.raises(KitError, match=words):
            oci.pull(target.kit)


def test_a_password_is_needed_and_enough(tmp_path: Path) -> None:
    spec = read_spec(SPEC, NO_ARGS, what="k").spec
    with running_registry(tmp_path, with_password=True) as address:
        target = parse_oci(f"{address}/team/extra:1")
        with pytest.raises(KitError, match="does not let us in"):
            oci.push(KIT, spec, target)
        digest = oci.push(KIT, spec, target, lambda _: (USER, PASSWORD))
        assert oci.pull(target, lambda _: (USER, PASSWORD)) == (digest, KIT)
        with pytest.raises(KitError, match="does not let us in"):
            oci.pull(target, lambda _: (USER, "wrong"))


def test_a_registry_that_is_not_there() -> None:
    with pytest.raises(TransientError, match="cannot reach"):
        oci.pull(OciKit("127.0.0.1:1", "a/b", "1", ""))


class _Hostile(http.server.BaseHTTPRequestHandler):
    """Answers as the test says and remembers what it was asked."""

    answers: ClassVar[dict[str, tuple[int, dict[str, str], bytes]]] = {}
    asked: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Authorization")))
        status, headers, body = self.answers.get(self.path, (404, {}, b""))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        del format, args


@pytest.fixture(name="hostile")
def _hostile() -> Iterator[str]:
    _Hostile.answers, _Hostile.asked = {}, []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hostile) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_bytes_that_are_not_what_was_asked_for(hostile: str) -> None:
    manifest = b'{"layers": []}'
    wanted = digest_of(b"other")
    _Hostile.answers = {
        f"/v2/a/manifests/{wanted}": (200, {}, manifest),
        f"/v2/a/blobs/{wanted}": (200, {}, b"bytes"),
    }
    registry = Registry(OciKit(hostile, "a", "1", wanted))
    with pytest.raises(KitError, match="not what was asked for"):
        registry.manifest()
    with pytest.raises(KitError, match="not what was asked for"):
        registry.blob(wanted, limit=100)


@pytest.mark.parametrize("body", [b"[]", b"{", b"[" * 100_000])
def test_a_manifest_that_is_none(hostile: str, body: bytes) -> None:
    _Hostile.answers = {"/v2/a/manifests/1": (200, {}, body)}
    with pytest.raises(KitError, match="manifest"):
        Registry(OciKit(hostile, "a", "1", "")).manifest()


def test_an_answer_without_end_is_cut(hostile: str) -> None:
    digest = digest_of(b"x" * 101)
    _Hostile.answers = {f"/v2/a/blobs/{digest}": (200, {}, b"x" * 101)}
    with pytest.raises(KitError, match="larger than 100 bytes"):
        Registry(OciKit(hostile, "a", "1", "")).blob(digest, limit=100)


@pytest.mark.parametrize(
    "target", ["http://example.com/x", "file:///etc/passwd", "ftp://127.0.0.1/x"]
)
def test_a_redirect_to_an_unsafe_address_is_not_followed(hostile: str, target: str) -> None:
    _Hostile.answers = {"/v2/a/manifests/1": (307, {"Location": target}, b"")}
    with pytest.raises(KitError, match="redirects to an unsafe address"):
        Registry(OciKit(hostile, "a", "1", "")).manifest()


def test_a_redirect_to_another_host_gets_no_credentials(hostile: str) -> None:
    elsewhere = f"http://localhost:{hostile.partition(':')[2]}/elsewhere"
    _Hostile.answers = {
        "/v2/a/manifests/1": (307, {"Location": elsewhere}, b""),
        "/elsewhere": (200, {}, b'{"layers": []}'),
    }
    registry = Registry(OciKit(hostile, "a", "1", ""), lambda _: (USER, PASSWORD))
    registry.authorization = "Bearer secret"
    registry.manifest()
    assert _Hostile.asked == [("/v2/a/manifests/1", "Bearer secret"), ("/elsewhere", None)]


def test_a_redirect_in_a_circle_ends(hostile: str) -> None:
    _Hostile.answers = {"/v2/a/manifests/1": (307, {"Location": "/v2/a/manifests/1"}, b"")}
    with pytest.raises(KitError, match="without end"):
        Registry(OciKit(hostile, "a", "1", "")).manifest()


def test_a_token_server_is_asked_over_tls_only(hostile: str) -> None:
    challenge = 'Bearer realm="http://example.com/token",service="x"'
    _Hostile.answers = {"/v2/a/manifests/1": (401, {"WWW-Authenticate": challenge}, b"")}
    with pytest.raises(KitError, match="does not let us in"):
        Registry(OciKit(hostile, "a", "1", ""), lambda _: (USER, PASSWORD)).manifest()


def test_a_token_is_fetched_and_used(hostile: str) -> None:
    challenge = f'Bearer realm="http://{hostile}/token",service="x"'
    scope = "repository%3Aa%3Apull"
    _Hostile.answers = {
        "/v2/a/manifests/1": (401, {"WWW-Authenticate": challenge}, b""),
        f"/token?scope={scope}&service=x": (200, {}, b'{"token": "t"}'),
    }
    with pytest.raises(KitError, match="does not let us in"):
        Registry(OciKit(hostile, "a", "1", "")).manifest()
    assert [asked for asked in _Hostile.asked if asked[1] == "Bearer t"]
