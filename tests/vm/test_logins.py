# SPDX-License-Identifier: Apache-2.0
"""Logging in inside, Git with a token, and canaries: a real machine in the test internet."""

from __future__ import annotations

import json
import secrets
import time
from typing import cast

import pytest

from tests.internet.client import Internet
from tests.internet.facts import WEB, Kind
from tests.internet.git import REPOSITORY
from tests.kit.canaries import places_with
from tests.kit.installation import Installation
from tests.kit.token_server import challenge_of

BOX = "logins"
CLAUDE, API, GITHUB = "platform.claude.com", "api.anthropic.com", "github.com"
STAND_IN, REFRESH = "sk-ant-oat01-proxy-managed", "sk-ant-ort01-proxy-managed"
TOKEN = f"ghp_{secrets.token_hex(20)}"
VERIFIER = "a-verifier-that-the-guest-made"


@pytest.fixture(scope="module", name="box")
def _box(online: Installation, internet: Internet) -> Installation:
    for name in (CLAUDE, API, GITHUB):
        internet.name(name, [WEB])
    (internet.files / "password").write_text(TOKEN)
    online.ok("policy", "init", "deny-all")
    online.ok("policy", "allow", "network", f"{CLAUDE},{API},{GITHUB},site.test")
    online.ok("secret", "set", "github", stdin=TOKEN.encode())
    online.ok("settings", "set", "sandbox.stopOnCanary", "true")
    online.ok("create", "--name", BOX, "-q", "--memory", "1g", "shell")
    online.ok("run", "--name", BOX, "-d")
    return online


def sh(box: Installation, script: str, stdin: bytes = b"") -> str:
    return box.inside(BOX, "bash", "-ec", script, stdin=stdin).ok().text


def ask_tokens(box: Installation, **fields: str) -> dict[str, object]:
    """What the token endpoint says to a program inside."""
    script = f"curl -sS --json @- https://{CLAUDE}/v1/oauth/token"
    return cast("dict[str, object]", json.loads(sh(box, script, json.dumps(fields).encode())))


def given(internet: Internet) -> list[list[str]]:
    """The access and refresh tokens that the server has given out, as it knows them itself."""
    out = internet.run("curl", "-sS", "--cacert", internet.ca, f"https://{CLAUDE}/oauth/given")
    return cast("list[list[str]]", json.loads(out.stdout))


@pytest.mark.timeout(400)  # one machine, from a login to a canary, in this order
def test_logins_git_and_canaries(box: Installation, internet: Internet) -> None:
    a_login_inside_and_what_becomes_of_it(box, internet)
    a_go_program_trusts_us(box, internet)
    git_clones_and_pushes_with_a_token_that_it_does_not_have(box, internet)
    the_agents_file_holds_stand_ins_and_nothing_holds_more(box, internet)
    a_canary_ends_the_sandbox(box, internet)


def a_login_inside_and_what_becomes_of_it(box: Installation, internet: Internet) -> None:
    # The browser is on the host; what it shows is typed into the sandbox.
    url = f"https://{CLAUDE}/oauth/authorize?challenge={challenge_of(VERIFIER)}"
    code = internet.run("curl", "-sS", "--cacert", internet.ca, url).stdout.decode()
    answer = ask_tokens(
        box, grant_type="authorization_code", code=code, code_verifier=VERIFIER, client_id="id"
    )
    assert (answer["access_token"], answer["refresh_token"]) == (STAND_IN, REFRESH), answer
    assert "(oauth configured)" in box.ok("secret", "ls").text
    # The stand-in works, and the server that echoes everything gives nothing away.
    call = f"curl -sS -H 'Authorization: Bearer {STAND_IN}' https://{API}/v1/messages"
    echo = sh(box, call)
    assert json.loads(echo)["what"] == f"GET https://{API}/v1/messages"
    [[access], [refresh]] = given(internet)
    assert internet.wait(Kind.HTTP, "/v1/messages")[-1].header("authorization") == [
        f"Bearer {access}"
    ]
    assert access not in echo
    assert STAND_IN in echo
    # Renewal is done on the host, by the same way out.
    answer = ask_tokens(box, grant_type="refresh_token", refresh_token=REFRESH, client_id="id")
    assert (answer["access_token"], answer["refresh_token"]) == (STAND_IN, REFRESH), answer
    assert len(given(internet)[0]) == 2
    sh(box, call)
    newest = given(internet)[0][-1]
    assert internet.seen(Kind.HTTP, "/v1/messages")[-1].header("authorization") == [
        f"Bearer {newest}"
    ]
    assert refresh != given(internet)[1][-1]


def a_go_program_trusts_us(box: Installation, internet: Internet) -> None:
    """Docker's client is one: it asks a server, by the list of authorities, for its version."""
    trust = "--tlsverify --tlscacert /etc/ssl/certs/ca-certificates.crt"
    docker = f"docker --host tcp://{API}:443 {trust} version"
    done = box.inside(BOX, "sh", "-c", docker)  # which is no engine, so that it fails in the end
    assert b"certificate" not in done.err, done.describe()
    [seen] = internet.wait(Kind.HTTP, "/_ping")[:1]
    assert seen.what.endswith(f"https://{API}/_ping")
    assert seen.header("user-agent")[0].startswith("Docker-Client/")
    assert seen.header("authorization") == [f"Bearer {given(internet)[0][-1]}"]


def git_clones_and_pushes_with_a_token_that_it_does_not_have(
    box: Installation, internet: Internet
) -> None:
    script = f"""
        git config --global user.name me; git config --global user.email me@site.test
        git clone -q https://{GITHUB}/private/{REPOSITORY} /tmp/demo
        cd /tmp/demo
        echo more >more
        git add more
        git commit -qm more
        git push -q origin HEAD:refs/heads/from-inside
        git rev-parse HEAD
        git config --list --show-origin
        cat .git/config
    """
    out = sh(box, script)
    bare = str(internet.repositories / REPOSITORY)
    found = internet.run("git", "-C", bare, "rev-parse", "refs/heads/from-inside").stdout.decode()
    assert found.strip() == out.splitlines()[0]
    assert TOKEN not in out
    # Without the secret the same server lets nobody in.
    assert internet.run(
        "git", "-c", f"http.sslCAInfo={internet.ca}", "-c", "credential.helper=", "ls-remote",
        f"https://{GITHUB}/private/{REPOSITORY}",
    ).returncode != 0  # fmt: skip


def the_agents_file_holds_stand_ins_and_nothing_holds_more(
    box: Installation, internet: Internet
) -> None:
    box.ok("stop", BOX)
    box.ok("run", "--name", BOX, "-d")
    kept = json.loads(sh(box, "cat ~/.claude/.credentials.json"))["claudeAiOauth"]
    assert (kept["accessToken"], kept["refreshToken"]) == (STAND_IN, REFRESH)
    assert kept["expiresAt"] > time.time() * 1000
    assert sh(box, "stat -c %a ~/.claude/.credentials.json") == "600\n"
    sh(box, f"curl -sS https://{API}/v1/messages https://{GITHUB}/echo >~/out; sync")
    values = [value.encode() for value in (TOKEN, *given(internet)[0], *given(internet)[1])]
    supervisor = int(cast("int", box.inspect(BOX)["daemon_pid"]))
    names = frozenset({"secret-values.json"})
    assert places_with(box, values, but=names, supervisor=supervisor) == []


def a_canary_ends_the_sandbox(box: Installation, internet: Internet) -> None:
    box.ok("secret", "set-custom", "--host", "api.site.test", "--env", "MINE", "--value", "v" * 20)
    rows = json.loads(box.ok("secret", "ls", "--json").out)["custom_secrets"]
    placeholder = rows[0]["placeholder"]
    box.inside(BOX, "curl", "-sS", "-H", f"x: {placeholder}", "http://site.test/leak")
    deadline = time.monotonic() + 120
    while (found := box.inspect(BOX))["state"] in ("running", "stopping"):
        assert time.monotonic() < deadline, found
    assert found["state"] == "failed"
    failure = cast("dict[str, str]", found["failure"])
    assert "placeholder of secret MINE was on its way to site.test" in failure["message"]
    [canary] = cast("list[dict[str, str]]", found["canaries"])
    assert (canary["secret"], canary["place"]) == ("MINE", "site.test:80")
    assert "placeholder of MINE on its way to site.test:80" in box.ok("inspect", BOX).text
    assert internet.seen(Kind.HTTP, "/leak") == []
