# SPDX-License-Identifier: Apache-2.0
"""Kits in real machines: everything that one brings is there, in its order, or nothing is."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.installation import ROOT, Installation

pytestmark = pytest.mark.timeout(300)  # each first use of an agent has a builder of its own

NAME = "kits"
MIXIN = """\
schemaVersion: "2"
kind: mixin
name: extra
args: {word: {required: true}}
environment: {variables: {EXTRA_WORD: "${{ kit.args.word }}"}}
agentInstructions: {content: Lint first}
ports: [{container: 8123, name: web}]
setup:
  install:
    - command: "cat ~agent/given > /etc/order; echo root:$(id -un) >> /etc/order"
    - {command: 'echo agent:$(id -un) | sudo tee -a /etc/order', user: agent}
  files:
    - {path: /home/agent/sub/conf, content: "root=${WORKDIR}\\n", mode: "0600"}
    - {path: /etc/extra-conf, content: "x\\n"}
    - {path: /etc/hostname, content: "never\\n", onlyIfMissing: true}
  startup:
    - {command: [sh, -c, 'cat /etc/extra-conf >> ~/starts']}
    - {command: [sleep, "5077"], background: true}
    - {command: [python3, -m, http.server, "8123", --directory, /etc/apt], background: true}
"""
AGENT = """\
schemaVersion: "2"
kind: sandbox
name: tiny
extends: shell
sandbox:
  entrypoint: [/usr/local/bin/tiny]
  command: {default: [batch], interactive: [tui]}
agentInstructions: {filename: .tiny/AGENTS.md, content: Be kind}
setup:
  install:
    - command: |
        # MARK
        rm -rf /usr/share/vim
        printf '#!/bin/sh\\necho tiny "$@"\\n' > /usr/local/bin/tiny
        chmod 755 /usr/local/bin/tiny
"""


@pytest.fixture(scope="module", name="work")
def _work(shared: Installation) -> Iterator[Path]:
    """A workspace, and a sandbox of an agent with a mixin."""
    work = shared.home / "work"
    for folder in ("files/home/bin", "files/workspace"):
        (shared.home / "extra" / folder).mkdir(parents=True)
    (shared.home / "extra/spec.yaml").write_text(MIXIN)
    (shared.home / "extra/files/home/given").write_text("word:${{ kit.args.word }}\n")
    (shared.home / "extra/files/home/bin/tool").write_text("#!/bin/sh\n")
    (shared.home / "extra/files/home/bin/tool").chmod(0o755)
    for name in ("new", "mine"):
        (shared.home / f"extra/files/workspace/{name}").write_text("of the kit\n")
    (shared.home / "agent").mkdir()
    # A mark of this run: layers are kept in the tester's cache.
    (shared.home / "agent/spec.yaml").write_text(AGENT.replace("MARK", shared.home.name))
    work.mkdir()
    (work / "mine").write_text("of the user\n")
    shared.ok(
        "create", f"{shared.home}/agent", str(work), "--name", NAME, "-q", "--memory", "1g",
        "--kit", f"{shared.home}/extra", "--kit-arg", "word=hi",
    )  # fmt: skip
    shared.ok("run", "--name", NAME, "-d")
    yield work
    for path in templates(shared):
        path.unlink()


def templates(shared: Installation) -> list[Path]:
    """What is remembered of the agent's layers."""
    return sorted((shared.cache / "opensbx/templates").glob("agent-tiny-*.json"))


def sh(shared: Installation, script: str) -> str:
    """The output of a script inside, which must succeed."""
    return shared.inside(NAME, "sh", "-c", script, user="agent").ok().text


def test_everything_is_there_in_its_order(shared: Installation, work: Path) -> None:
    assert sh(shared, "cat /etc/order") == "word:hi\nroot:root\nagent:agent\n"
    assert sh(shared, "echo $EXTRA_WORD") == "hi\n"
    assert sh(shared, "cat ~/sub/conf; stat -c '%a %U' ~/sub/conf") == f"root={work}\n600 agent\n"
    assert sh(shared, "stat -c '%a %U' ~/bin/tool /etc/extra-conf") == "755 agent\n644 root\n"
    assert sh(shared, "grep -c never /etc/hostname || true") == "0\n"
    assert sh(shared, "head -1 ~/starts; pgrep -c -f '^sleep 5077'") == "x\n1\n"


def test_a_port_of_a_kit_is_published_on_loopback(shared: Installation, work: Path) -> None:
    del work
    sh(shared, "until curl -sS http://127.0.0.1:8123/; do sleep 0.2; done")
    (port,) = json.loads(shared.ok("port", "ls", NAME, "--json").out)
    assert (port["host_ip"], port["sandbox_port"]) == ("127.0.0.1", 8123)
    with urllib.request.urlopen(f"http://127.0.0.1:{port['host_port']}/", timeout=60) as answer:
        assert b"sources.list" in answer.read()


def test_the_user_s_own_files_stay(shared: Installation, work: Path) -> None:
    del shared
    assert (work / "mine").read_text() == "of the user\n"
    assert (work / "new").read_text() == "of the kit\n"
    assert sorted(path.name for path in work.iterdir()) == ["mine", "new"]


def test_the_agent_is_told_where_it_is(shared: Installation, work: Path) -> None:
    told = sh(shared, "cat ~/.tiny/AGENTS.md ~/kits-memory/extra.md")
    assert str(work) in told
    assert "Be kind" in told
    assert told.endswith("Lint first")


def test_the_agent_starts_with_the_arguments_for_a_pipe(shared: Installation, work: Path) -> None:
    del work
    assert shared.ok("run", "--name", NAME, "--", "-x").text == "tiny batch -x\n"


def test_startup_is_run_at_each_start_and_the_rest_is_not(shared: Installation, work: Path) -> None:
    del work
    before = int(sh(shared, "wc -l < ~/starts"))
    shared.ok("stop", NAME)
    assert int(sh(shared, "wc -l < ~/starts")) == before + 1
    assert sh(shared, "pgrep -c -f '^sleep 5077'; wc -l < /etc/order") == "1\n3\n"
    shared.ok("run", "--name", NAME, "-d")


def test_the_next_sandbox_stands_on_the_layer_and_installs_nothing(
    shared: Installation, work: Path
) -> None:
    args = ("create", f"{shared.home}/agent", str(work), "--memory", "1g",
            "--kit", f"{shared.home}/extra", "--kit-arg", "word=hi")  # fmt: skip
    made = shared.ok(*args, "--name", "second")
    assert "Installing" not in made.err.decode()
    script = "cat /etc/order; /usr/local/bin/tiny again; ls -d /usr/share/vim || true"
    found = shared.inside("second", "sh", "-c", script, user="agent").ok().text
    assert found == "word:hi\nroot:root\nagent:agent\ntiny again\n"
    other = shared.ok(*args[:-1], "word=bye", "--name", "third")
    assert "Installing" in other.err.decode()
    assert len(templates(shared)) == 2
    shared.ok("rm", "-f", "second", "third")


def test_a_kit_written_by_the_document_works(shared: Installation, work: Path) -> None:
    """docs/kits.md, step by step: begin one, put the example there, look at it, run it."""
    page = (ROOT / "docs/kits.md").read_text()
    examples = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (text,) = (each for each in examples if "name: tiny\n" in each)
    text = text.replace("name: tiny\n", "name: written\n")
    text = text.replace("printf", f"# {shared.home.name}\n        printf", 1)  # a layer of this run
    folder = shared.home / "written"
    shared.ok("kit", "init", str(folder))
    assert shared.ok("kit", "validate", str(folder)).text == "VALID (directory)\n"
    (folder / "spec.yaml").write_text(text)
    assert shared.ok("kit", "validate", str(folder)).text == "VALID (directory)\n"
    assert (
        "api.example.com  Authorization: Bearer %s" in shared.ok("kit", "inspect", str(folder)).text
    )
    try:
        shared.ok("create", str(folder), str(work), "--name", "written", "--memory", "1g", "-q")
        assert shared.ok("run", "--name", "written", "--", "-v").text == "tiny --batch -v\n"
    finally:
        shared.call("rm", "-f", "written")
        for path in (shared.cache / "opensbx/templates").glob("agent-written-*.json"):
            path.unlink()


def test_a_step_that_fails_leaves_nothing(shared: Installation, work: Path) -> None:
    del work
    bad = shared.home / "bad"
    bad.mkdir()
    steps = "setup: {install: [{command: 'echo boom >&2; exit 3'}]}\n"
    (bad / "spec.yaml").write_text(f'schemaVersion: "2"\nkind: mixin\nname: bad\n{steps}')
    before = len(list((shared.cache / "opensbx/templates").glob("agent-shell-*")))
    done = shared.call("create", "shell", "--name", "half", "--memory", "1g", "--kit", str(bad))
    assert done.returncode == 1
    assert "install step failed: echo boom >&2; exit 3: status 3" in done.err.decode()
    assert "boom" in done.err.decode()
    assert shared.ok("ls", "-q").text.split() == [NAME]
    assert len(list((shared.cache / "opensbx/templates").glob("agent-shell-*"))) == before
