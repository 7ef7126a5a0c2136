# SPDX-License-Identifier: Apache-2.0
"""Dockerfiles as templates: built in a microVM, on our own layers and on an image of a registry."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from sbx.kit.reference import parse_oci
from tests.host.registry import running_registry
from tests.internet.client import Internet
from tests.internet.facts import WEB
from tests.kit.images import Image, busybox, push, tiny_root
from tests.kit.installation import Installation

pytestmark = pytest.mark.timeout(900)

REGISTRY = "registry.test:5000"
SITE = "site.test"
# Two stages: one of a registry, one of ours, and a step that uses the network.
FIRST = f"""
FROM {REGISTRY}/tiny:1 AS other
RUN echo of another stage >/from-other
FROM docker/sandbox-templates:shell-docker
USER root
COPY hello /usr/local/bin/hello
COPY --from=other /from-other /from-other
RUN curl -sS --fail http://{SITE}/say?body=fetched >/fetched && rm /etc/debian_version
RUN chmod u+s /usr/local/bin/hello && rm -r /opt && mkdir /opt && echo new >/opt/new
RUN touch /one
RUN touch /two
USER agent
ENV GREETING=hi
WORKDIR /srv
LABEL com.docker.sandboxes.flavor=shell
"""
SECOND = f"""
FROM {REGISTRY}/tiny:1 AS wanted
ARG WORD
RUN echo $WORD >/built
FROM wanted
RUN false
"""
BROKEN = """
FROM opensbx/shell
ARG WORD
RUN echo $WORD && false
"""
CHOSEN = ("--build-arg", "WORD=built", "--target", "wanted")
LOOK = (
    "id -un; pwd; echo $GREETING; hello; cat /fetched /from-other /opt/new; ls /one /two; "
    "stat -c %a /usr/local/bin/hello; ls /etc/debian_version || echo gone"
)


TRUSTED = "/usr/local/share/ca-certificates"


@pytest.fixture(name="trust", autouse=True)
def _trust(internet: Internet, tmp_path: Path) -> Iterator[None]:
    """The administrator of this host trusts the test internet's authority: so do sandboxes."""
    folder = tmp_path / "trusted"
    folder.mkdir()
    (folder / "test.crt").write_bytes(internet.ca.read_bytes())
    done = internet.run("mount", "--bind", folder, TRUSTED)
    assert done.returncode == 0, done.stderr
    yield
    internet.run("umount", TRUSTED)


@pytest.fixture(name="policy", scope="module", autouse=True)
def _policy(online: Installation) -> None:
    online.ok("policy", "init", "balanced", "--no-mirrors")
    online.ok("policy", "allow", "network", f"{REGISTRY},{SITE}:80")


@pytest.fixture(name="folder")
def _folder(online: Installation) -> Path:
    folder = online.home / "My Project"
    folder.mkdir(exist_ok=True)
    (folder / "hello").write_text("#!/bin/sh\necho hello\n")
    (folder / "hello").chmod(0o755)
    return folder


def test_dockerfiles(
    online: Installation, internet: Internet, folder: Path, tmp_path: Path
) -> None:
    program = busybox(online.cache / "opensbx")
    with running_registry(tmp_path) as host:
        push(Image(layers=[tiny_root(program).done()]), parse_oci(f"{host}/tiny:1"))
    certificate = internet.certificate("registry.test")
    with running_registry(
        tmp_path, enter=internet.enter(), listen=f"{WEB}:5000", certificate=certificate
    ):
        (folder / "Dockerfile").write_text(FIRST)
        built = online.ok("template", "save", ".", cwd=folder)
        assert b"docker.io/library/my-project:latest" in built.out
        shown = json.loads(online.ok("template", "inspect", "my-project", "--json").out)
        assert len(shown["layers"]) == 4
        assert (shown["origin"], shown["user"]) == ("built", "agent")

        again = online.ok("template", "save", ".", cwd=folder)
        assert again.err.count(b" CACHED") >= 8, again.describe()
        kept = json.loads(online.ok("df", "-v", "--json").out)["images"]
        assert [row["active"] for row in kept if row["kind"] == "build-cache"] == [False]

        (folder / "Dockerfile").write_text(SECOND)
        online.ok("template", "save", str(folder), "tiny:1", *CHOSEN)
        online.ok("create", "shell", "-q", "--name", "tiny", "--template", "tiny:1")
        assert online.inside("tiny", "cat", "/built").ok().out == b"built\n"

    online.ok("create", "shell", "-q", "--name", "one", "--template", "my-project")
    done = online.inside("one", "sh", "-c", LOOK).ok()
    assert done.text.split() == [
        "agent", "/srv", "hi", "hello", "fetchedof", "another", "stage", "new", "/one", "/two",
        "4755", "gone",
    ], done.describe()  # fmt: skip

    (folder / "Dockerfile").write_text(BROKEN)
    failed = online.call(
        "template", "save", ".", "broken:1", "--build-arg", "WORD=to-be-seen", cwd=folder
    )
    assert failed.returncode == 1
    assert b"to-be-seen" in failed.err
    assert b'"/bin/sh -c echo $WORD && false" did not complete' in failed.err
    assert b"the build failed" in failed.err
    assert b"broken" not in online.ok("template", "ls").out
    assert online.names() == ["one", "tiny"]

    refused = online.call("template", "save", str(online.home), "x")
    assert b"no Dockerfile in" in refused.err
    online.ok("rm", "-f", "one", "tiny")
    online.ok("template", "rm", "my-project", "tiny:1")


def test_an_interrupted_build_leaves_nothing(online: Installation, folder: Path) -> None:
    (folder / "Dockerfile").write_text("FROM opensbx/shell\nRUN echo be''gun && sleep 3000\n")
    with online.popen("template", "save", ".", "broken:1", cwd=folder) as building:
        assert building.stderr is not None
        assert any(b"begun" in line for line in building.stderr), "the step is running"
        building.send_signal(signal.SIGINT)
        building.communicate(timeout=200)
    assert building.returncode == 130
    assert online.names() == []
    assert online.ok("template", "ls", "-q").out == b""
