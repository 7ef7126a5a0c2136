# SPDX-License-Identifier: Apache-2.0
"""The real package registries, from a Balanced sandbox with the clients' own settings.

This host's mirrors may have certificates of an authority of its own, which sandboxes trust as well.
"""

from __future__ import annotations

import pytest

from tests.kit.installation import Installation
from tests.kit.registries import reach

BOX = "registries"


@pytest.fixture(scope="module", name="box")
def _box(shared: Installation) -> Installation:
    shared.ok("policy", "init", "balanced", "--no-mirrors")
    shared.ok("create", "--name", BOX, "-q", "--memory", "1g", "shell")
    return shared


def test_pip_install(box: Installation) -> None:
    reach(box, BOX, "pip")
    script = (
        "pip install -q --disable-pip-version-check --no-cache-dir --target /tmp/pip six && "
        "PYTHONPATH=/tmp/pip python3 -c 'import six; print(six.__version__)'"
    )
    assert box.inside(BOX, "sh", "-c", script).ok().text[0].isdigit()


@pytest.mark.timeout(240)  # npm needs a minute under emulation
def test_npm_install(box: Installation) -> None:
    reach(box, BOX, "npm")
    script = (
        "mkdir -p /tmp/npm && cd /tmp/npm && npm install --no-audit --no-fund isarray >&2 && "
        "node -p 'require(\"isarray\")([])'"
    )
    assert box.inside(BOX, "sh", "-c", script).ok().text == "true\n"


@pytest.mark.timeout(240)
def test_apt_get_update_and_install(box: Installation) -> None:
    reach(box, BOX, "apt")
    script = (
        "apt-get -o APT::Update::Error-Mode=any update && apt-cache policy hello && "
        "apt-get install -y -q hello >&2 && hello"
    )
    done = box.inside(BOX, "sh", "-c", script, user="root")
    assert "Candidate: " in done.ok().text
    assert done.text.endswith("Hello, world!\n")
    # Pages stay out, but Java's packages link theirs there and fail without the folder.
    box.inside(BOX, "test", "-d", "/usr/share/man/man1").ok()
