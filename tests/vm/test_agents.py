# SPDX-License-Identifier: Apache-2.0
"""Real agents do a real task: read a failing test, mend the code with their tools, run the test.

Their makers' models are those of the test internet (`tests/internet/model`), which answer only to
the real key. The agents come from the real npm registry, outside that internet: what a first use
installs is a layer of the tester's cache, and later ones stand on it.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.internet.client import Internet
from tests.internet.facts import Kind
from tests.internet.model.script import FINISHED, Make, Move
from tests.kit.installation import Installation
from tests.kit.registries import reach
from tests.kit.tmux import LIMIT_S, Tmux, open_tmux
from tests.vm.conftest import cache_home

pytestmark = pytest.mark.timeout(600)  # a first use installs the agent, under emulation

BROKEN = "def add(a, b):\n    return a - b\n"
MENDED = "def add(a, b):\n    return a + b\n"
TEST = """\
from calc import add

assert add(2, 3) == 5, "add is wrong"
print("passed")
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """How one agent is asked, and where its model is."""

    service: str  # whose key it needs
    asked: tuple[str, ...]  # its own arguments, before the task
    model: str  # the request in which it asks its model
    header: str
    scheme: str = ""


BEARER = "Bearer "
AGENTS = {
    "claude": Agent(
        service="anthropic",
        asked=("-p",),
        model="POST https://api.anthropic.com/v1/messages",
        header="x-api-key",
    ),
    "codex": Agent(
        service="openai",
        asked=("exec",),
        model="POST https://api.openai.com/v1/responses",
        header="authorization",
        scheme=BEARER,
    ),
    "gemini": Agent(
        service="google",
        asked=("-p",),
        model="POST https://generativelanguage.googleapis.com/v1beta/models/",
        header="x-goog-api-key",
    ),
    "opencode": Agent(
        service="anthropic",
        asked=("run",),
        model="POST https://api.anthropic.com/v1/messages",
        header="x-api-key",
    ),
}


@dataclass(slots=True)
class Registry:
    """Installs agents with the machine's own network, each at its first use."""

    sbx: Installation
    ready: set[str] = field(default_factory=set[str])

    def install(self, agent: str) -> None:
        """See that the agent's layer is in the cache (skips without a registry)."""
        if not self.ready:
            self.sbx.ok("policy", "init", "balanced", "--no-mirrors")
            self.sbx.ok("create", "--name", "ask", "-q", "--memory", "1g", "shell")
            reach(self.sbx, "ask", "npm")
            self.sbx.ok("rm", "-f", "ask")
        if agent not in self.ready:
            self.sbx.call("setup", "--no-input", "--agent", agent, timeout_s=1200).ok()
            self.ready.add(agent)


@pytest.fixture(scope="module", name="registry")
def _registry(prepared: None, results: Path) -> Iterator[Registry]:
    del prepared
    home = Path(tempfile.mkdtemp(prefix="sbx-vm-"))
    (home / "run").mkdir()
    made = Installation(home=home, runtime=home / "run", cache=cache_home())
    try:
        yield Registry(made)
        made.close(results / "registry")
    finally:
        shutil.rmtree(home)


@pytest.fixture(scope="module", name="balanced")
def _balanced(online: Installation) -> Installation:
    """An installation in the test internet, with the posture of most users."""
    online.ok("policy", "init", "balanced", "--no-mirrors")
    return online


def task(folder: Path) -> tuple[Move, ...]:
    """A project with a failing test, and what a model would do about it."""
    folder.mkdir()
    (folder / "calc.py").write_text(BROKEN)
    (folder / "test_calc.py").write_text(TEST)
    old, new = BROKEN.splitlines()[1], MENDED.splitlines()[1]
    run = f"cd {folder} && python3 test_calc.py && sha256sum calc.py"
    return (
        Move(make=Make.READ, path=str(folder / "test_calc.py")),
        Move(make=Make.READ, path=str(folder / "calc.py")),
        Move(make=Make.EDIT, path=str(folder / "calc.py"), old=old, new=new),
        Move(make=Make.RUN, command=run),
    )


@pytest.mark.parametrize("name", AGENTS)
def test_an_agent_mends_a_failing_test(
    name: str, registry: Registry, balanced: Installation, internet: Internet
) -> None:
    agent = AGENTS[name]
    registry.install(name)
    key = f"sk-test-{secrets.token_hex(20)}"
    work = balanced.home / f"work-{name}"
    moves = task(work)
    internet.model(key, *moves)
    balanced.ok("secret", "set", "-f", agent.service, stdin=key.encode())
    earlier = len(internet.seen(Kind.HTTP, agent.model))  # agents of the same service
    try:
        done = balanced.call(
            "run", name, str(work), "--name", name, "--", *agent.asked, "fix the failing test",
            timeout_s=500,
        ).ok()  # fmt: skip
        assert FINISHED in done.text, done.describe()
        assert hashlib.sha256(MENDED.encode()).hexdigest() in done.text, done.describe()
        assert (work / "calc.py").read_text() == MENDED
        asked = internet.seen(Kind.HTTP, agent.model)[earlier:]
        assert len(asked) > len(moves)
        assert {v for one in asked for v in one.header(agent.header)} == {agent.scheme + key}
    finally:
        balanced.call("rm", "-f", name)


def rule(columns: int) -> Callable[[str], bool]:
    """Whether the line above Claude's prompt is as wide as the terminal."""
    return lambda screen: "─" * columns in screen.splitlines()


def test_an_agent_on_a_terminal(
    registry: Registry, balanced: Installation, internet: Internet
) -> None:
    """Ready without a question; colours, another size, a paste, the mouse, Ctrl-C."""
    registry.install("claude")
    key = f"sk-test-{secrets.token_hex(20)}"
    work = balanced.home / "work-tui"
    internet.model(key, *task(work))
    balanced.ok("secret", "set", "-f", "anthropic", stdin=key.encode())
    try:
        with open_tmux(balanced.home, balanced.env()) as tmux:
            run = balanced.command("run", "claude", str(work), "--name", "tui")
            tmux.start([*run, "-q"], columns=100, rows=30)
            tmux.until("bypass permissions on")
            tmux.until(rule(100))
            assert "\x1b[38;" in tmux.screen(colours=True)
            tmux.resize(72, 24)
            tmux.until(rule(72))
            tmux.paste("".join(f"line {number}\n" for number in range(40)))
            tmux.until("[Pasted text #1 +4")
            tmux.keys("C-c")  # takes back what was typed
            tmux.until(lambda screen: "Pasted" not in screen)
            tmux.type("fix the failing test")
            tmux.until("fix the failing test")
            tmux.keys("Enter")
            tmux.until(FINISHED)
            assert (work / "calc.py").read_text() == MENDED
            tmux.keys("C-c")
            tmux.until("again to exit")
            leave(tmux)
        with open_tmux(balanced.home, balanced.env()) as tmux:
            tmux.start(balanced.command("exec", "-it", "tui", "bash"), columns=80, rows=24)
            tmux.until("work-tui$")
            tmux.type(r"printf '\033[?1000h\033[?1006h'; cat -v")
            tmux.keys("Enter")
            tmux.until_flag("mouse_sgr_flag", "1")
            tmux.type("\x1b[<0;10;5M")
            tmux.keys("Enter")
            tmux.until("^[[<0;10;5M")
    finally:
        balanced.call("rm", "-f", "tui")


def leave(tmux: Tmux) -> None:
    """Ctrl-C twice, and again if the second came too late: until the only window is gone."""
    end = time.monotonic() + LIMIT_S
    while tmux.is_open():
        assert time.monotonic() < end, "the session does not end"
        with contextlib.suppress(subprocess.CalledProcessError):
            tmux.keys("C-c", "C-c")
        again = time.monotonic() + 20
        while tmux.is_open() and time.monotonic() < again:
            time.sleep(0.5)


KIT = """\
schemaVersion: "2"
kind: mixin
name: acme
permissions: {network: {allow: [api.acme.test]}}
credentials:
  - service: acme
    apiKey:
      name: ACME_KEY
      proxyManaged: true
      inject: [{domain: api.acme.test, header: x-key, format: "key %s"}]
"""


def test_the_secret_of_a_kit_s_own_service(balanced: Installation, internet: Internet) -> None:
    """It goes where the kit says, only if the user agreed, and never in."""
    key = f"acme-{secrets.token_hex(20)}"
    folder = balanced.home / "acme"
    folder.mkdir()
    (folder / "spec.yaml").write_text(KIT)
    balanced.ok("secret", "set", "-f", "acme", stdin=key.encode())
    create = ("create", "shell", "-q", "--memory", "1g", "--kit", str(folder), "--name")
    fetch = 'curl -sS -H "x-key: $ACME_KEY" https://api.acme.test/echo'
    try:
        balanced.ok(*create, "agreed", "--kit-secret", "acme")
        told = balanced.inside("agreed", "sh", "-c", f"echo $ACME_KEY; {fetch}").ok().text
        (seen,) = internet.seen(Kind.HTTP, "https://api.acme.test/echo")
        assert seen.header("x-key") == [f"key {key}"]
        assert told.startswith("proxy-managed\n")
        assert key not in told
        refused = balanced.ok(*create, "refused")
        assert "secret `acme` is kept from the kit" in refused.err.decode()
        assert balanced.inside("refused", "sh", "-c", "echo [$ACME_KEY]").ok().text == "[]\n"
    finally:
        balanced.call("rm", "-f", "agreed", "refused")
