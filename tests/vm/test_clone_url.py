# SPDX-License-Identifier: Apache-2.0
"""A clone of a URL, by the sandbox's own way out: policy, bound credential, and the way back."""

from __future__ import annotations

import base64
import secrets
from pathlib import Path
from typing import cast

import pytest

from tests.internet.client import Internet
from tests.internet.facts import WEB, Kind
from tests.internet.git import CONTENT, FILE
from tests.kit.installation import Installation
from tests.kit.repositories import git

HOST = "github.com"
URL = f"https://{HOST}/git/demo.git"
NAME = "shell-demo"
SIZE = ("--memory", "512m")


@pytest.mark.timeout(300)
def test_a_clone_of_a_url_and_its_way_back(online: Installation, internet: Internet) -> None:
    internet.name(HOST, [WEB])
    key = f"ghp-{secrets.token_hex(20)}"
    online.ok("policy", "init", "deny-all")
    online.ok("secret", "set", "github", stdin=key.encode())
    done = online.call("create", "-q", *SIZE, "shell", URL, "--clone")
    assert done.returncode != 0
    assert f"cannot clone `{URL}`" in done.err.decode()
    assert internet.seen(Kind.HTTP, HOST) == [], "the policy decides"
    online.ok("policy", "allow", "network", f"{HOST}:443")
    done = online.ok(
        "run", "--name", NAME, "-q", "--", "-c", "git log --format=%s; pwd; cat README"
    )
    assert done.text == f"first\n/home/agent/workspace/demo\n{CONTENT}"
    seen = internet.seen(Kind.HTTP, HOST)
    sent = {value for one in seen for name, value in one.headers if name == "authorization"}
    assert sent == {f"Basic {base64.b64encode(f'x-access-token:{key}'.encode()).decode()}"}
    found = cast("dict[str, object]", online.inspect(NAME)["git"])
    assert (found["mode"], found["url"]) == ("clone", URL)
    assert URL in online.ok("ls").text

    script = (
        "git config user.name A; git config user.email a@b; echo more >>README; "
        "git commit -qam second; git push -q origin HEAD:refs/heads/topic; echo x >loose"
    )
    online.inside(NAME, "sh", "-c", script).ok()
    assert "+more" in online.ok("diff", NAME).text
    online.ok("stop", NAME)
    found = cast("dict[str, object]", online.inspect(NAME)["git"])
    assert (found["commits_ahead"], found["uncommitted_files"]) == (1, 1)
    done = online.call("merge", NAME)
    assert done.returncode != 0
    command = done.err.decode().partition("git fetch ")[2].splitlines()[0]
    mine = online.home / "mine"
    git(online.home, "init", "-q", str(mine))
    source, refs = (word.strip("'") for word in command.rsplit(" ", 1))
    git(mine, "fetch", "-q", "--update-shallow", Path(source), refs)
    assert git(mine, "show", f"sandbox-{NAME}/main:{FILE}") == f"{CONTENT}more"
    again = online.call("run", "-q", "shell", URL, "--clone", "--", "-c", "git log -1 --format=%s")
    assert again.ok().text == "second\n", "the same words lead to the same sandbox"
    done = online.ok("rm", "-f", NAME)
    assert "1 commits of sandbox" in done.err.decode()
    assert "uncommitted changes" in done.err.decode()


def test_a_url_takes_clone_and_no_credential(online: Installation) -> None:
    done = online.call("create", "shell", URL)
    assert "add --clone" in done.err.decode()
    done = online.call("create", "shell", f"https://u:hidden@{HOST}/x", "--clone")
    assert done.returncode != 0
    assert b"hidden" not in done.err
    assert online.ok("ls", "-q").text == ""
