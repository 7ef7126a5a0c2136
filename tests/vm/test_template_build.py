# SPDX-License-Identifier: Apache-2.0
"""A template from a Dockerfile, and a sandbox from that template, in the test internet."""

from __future__ import annotations

import json
from typing import cast

import pytest

from tests.internet.client import Internet
from tests.kit.installation import Installation

pytestmark = pytest.mark.timeout(300)

DOCKERFILE = """
FROM docker/sandbox-templates:shell-docker
USER root
COPY --chmod=755 tool /usr/local/bin/tool
RUN curl -sS --fail http://site.test/say?body=fetched >/etc/fetched && rm /usr/bin/unzip
RUN echo and more >>/etc/fetched
ENV TOOL=given
USER agent
"""


def test_a_dockerfile_on_our_base_makes_a_template(
    online: Installation, internet: Internet
) -> None:
    online.ok("policy", "init", "balanced", "--no-mirrors")
    online.ok("policy", "allow", "network", "site.test")
    project = online.home / "project"
    project.mkdir()
    (project / "tool").write_text("#!/bin/sh\necho tool works, $TOOL\n")
    (project / "Dockerfile").write_text(DOCKERFILE)
    internet.forget()
    built = online.ok("template", "save", ".", "tools:1", cwd=project)
    assert b"RUN echo and more" in built.err, "what docker says is shown"
    assert "docker.io/library/tools:1" in built.text

    (project / "Dockerfile").write_text(f"{DOCKERFILE}RUN false\n")
    failed = online.call("template", "save", ".", cwd=project)
    assert failed.returncode == 1
    assert b"RUN false" in failed.err
    assert b"the build of `.` failed: status 1" in failed.err
    [row] = json.loads(online.ok("template", "ls", "--json").out)
    assert (row["tag"], row["flavor"]) == ("1", "shell")
    assert online.names() == [], "no builder is left"

    online.ok("create", "--name", "made", "-q", "--memory", "1g", "--template", "tools:1", "shell")
    look = "tool; cat /etc/fetched; id -un; command -v unzip || echo gone; ls /opensbx-base"
    done = online.inside("made", "sh", "-c", look)
    assert done.text.splitlines() == ["tool works, given", "fetchedand more", "agent", "gone"]
    layers = cast("list[str]", online.inspect("made")["layers"])
    assert len(layers) == 2, "the base's own layer is shared"
