# SPDX-License-Identifier: Apache-2.0
"""The Docker engine of a sandbox, as a user and an agent have it, in the test internet.

Images are made on the spot from programs of the sandbox itself. All tests share one sandbox, in any
order: a test that stops it leaves it so that the next command starts it again.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import cast

import pytest

from tests.host.registry import running_registry
from tests.internet.client import Internet
from tests.internet.facts import METADATA, OTHER_WEB, PRIVATE, SHARED, WEB
from tests.kit.installation import Ended, Installation

pytestmark = pytest.mark.timeout(300)

BOX = "docker"
BOUND = "bound.test"  # a credential is bound to it, so its TLS is intercepted
REGISTRY = "registry.test:5000"
PROBE = Path(__file__).parents[1] / "kit" / "probe.py"
# A root folder with a few programs and no list of authorities at all.
IMAGE = r"""
set -e
mkdir -p /tmp/image && cd /tmp/image
for name in sh ls cat sleep env curl socat chroot; do
    program=$(readlink -f "$(command -v $name)")
    mkdir -p bin usr/bin && cp "$program" usr/bin/$name
    for library in $(ldd "$program" | grep -o '/[^ ]*'); do cp -L --parents "$library" .; done
done
cp usr/bin/sh bin/sh
cp -L --parents /lib/x86_64-linux-gnu/libnss_dns.so.2 .
mkdir -p etc tmp
tar -c . | docker import --change 'ENV PATH=/usr/bin:/bin' - base:1
"""
DOCKERFILE = f"""
FROM base:1
RUN curl -sS --fail https://{BOUND}/say?body=built >/built
COPY answer /answer
"""
COMPOSE = f"""
services:
  web:
    build: .
    image: project
    command: [socat, "TCP-LISTEN:8080,fork,reuseaddr", "EXEC:/usr/bin/cat /answer"]
    ports: ["8080:8080"]
  ask:
    image: project
    pull_policy: never
    depends_on: [web]
    command:
      - sh
      - -c
      - curl -sS --retry 99 --retry-connrefused http://web:8080/ https://{BOUND}/say?body=out%0a
"""
ANSWER = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n"


@contextlib.contextmanager
def trap(internet: Internet, folder: Path) -> Generator[list[int]]:
    """A socket where a Docker engine of the host would be: who connects is noted."""
    came: list[int] = []
    place, own = Path("/run/docker.sock"), folder / "trap.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(own))
        listener.listen()

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    listener.accept()[0].close()
                    came.append(1)

        threading.Thread(target=serve, daemon=True).start()
        made = not place.exists() and os.geteuid() == 0
        if made:
            place.touch()
        if place.exists():
            done = internet.run("mount", "--bind", own, place)
            assert done.returncode == 0, done.stderr
        try:
            yield came
        finally:
            internet.run("umount", place)
            if made:
                place.unlink()
            listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module", name="box")
def _box(online: Installation, internet: Internet) -> Iterator[Installation]:
    with trap(internet, online.home) as came:
        online.extra_env["DOCKER_HOST"] = f"unix://{online.home / 'trap.sock'}"
        online.ok("policy", "init", "balanced", "--no-mirrors")
        online.ok("policy", "allow", "network", f"{BOUND},{REGISTRY},site.test")
        online.ok("secret", "set-custom", "--host", BOUND, "--env", "KEY", "--value", "made-up")
        online.ok("create", "--name", BOX, "-q", "--memory", "1g", "shell")
        ca = "/usr/local/share/ca-certificates/test-internet.crt"
        trust = f"cat >{ca} && update-ca-certificates && ! pgrep dockerd"
        online.inside(BOX, "sh", "-c", trust, user="root", stdin=internet.ca.read_bytes()).ok()
        script(online, IMAGE).ok()
        yield online
        assert came == [], "somebody looked for the host's engine"


def script(box: Installation, text: str) -> Ended:
    """Run a script as the user `agent`."""
    return box.inside(BOX, "sh", "-s", stdin=text.encode())


def test_containers_reach_what_the_policy_allows(box: Installation) -> None:
    done = script(
        box,
        f"""set -e
        docker run -d --name reach base:1 sleep 900 >/dev/null
        docker exec reach curl -sS --fail https://{BOUND}/say?body=intercepted%0a
        docker exec reach curl -sS --fail http://site.test/say?body=plain%0a
        docker exec reach curl -sS http://unlisted.test/ 2>&1 || echo failed
        docker exec reach env
        docker rm -f reach
        """,
    )
    lines = done.ok().text.splitlines()
    assert lines[:2] == ["intercepted", "plain"]
    assert lines[2:4] == ["curl: (6) Could not resolve host: unlisted.test", "failed"]
    assert "SSL_CERT_FILE=/dev/.opensbx-ca.crt" in lines
    assert not [line for line in lines if "proxy" in line.lower()]


def test_build_and_compose(box: Installation) -> None:
    files = {"Dockerfile": DOCKERFILE, "compose.yaml": COMPOSE, "answer": ANSWER}
    write = (
        "import json, sys\n"
        "for name, text in json.load(sys.stdin).items():\n"
        "    open(name, 'w', newline='').write(text)\n"
    )
    script(box, "mkdir -p ~/project").ok()
    place = ("sh", "-c", f'cd ~/project && python3 -c "{write}"')
    box.inside(BOX, *place, stdin=json.dumps(files).encode()).ok()
    done = script(
        box,
        """set -e
        cd ~/project
        docker compose --progress plain up -d --build 2>&1
        docker wait project-ask-1
        docker logs project-ask-1
        docker run --rm project sh -c 'cat /built; ls -A / /dev/shm'
        sudo find /var/lib/docker -name '*opensbx*' | sed s/^/left-/
        """,
    ).ok()
    assert "hello\nout\nbuilt" in done.text, done.describe()
    assert "left-" not in done.text
    published = json.loads(box.ok("port", "publish", BOX, "8080", "--json").out)
    rows = cast(
        "list[dict[str, object]]", published if isinstance(published, list) else [published]
    )
    url = f"http://127.0.0.1:{rows[0]['host_port']}/"
    assert box.internet is not None
    assert (
        box.internet.run(
            "curl", "-sS", "--retry", "20", "--retry-all-errors", "--retry-delay", "1", url
        ).stdout
        == b"hello\n"
    )
    script(box, "cd ~/project && docker compose down --volumes").ok()


def test_images_come_from_registries_by_policy(
    box: Installation, internet: Internet, tmp_path: Path
) -> None:
    certificate = internet.certificate("registry.test")
    registry = running_registry(
        tmp_path, enter=internet.enter(), listen=f"{WEB}:5000", certificate=certificate
    )
    with registry:
        done = script(
            box,
            f"""set -e
            docker tag base:1 {REGISTRY}/base:1
            docker push -q {REGISTRY}/base:1
            docker rmi {REGISTRY}/base:1 >/dev/null
            docker pull -q {REGISTRY}/base:1
            """,
        )
        assert done.ok().text.splitlines()[-1] == f"{REGISTRY}/base:1"
    refused = script(box, "docker pull unlisted.test/some/image:1")
    assert refused.returncode == 1
    assert b"Blocked by network policy: unlisted.test:443" in refused.err
    assert f"sbx policy allow network --sandbox {BOX} unlisted.test:443".encode() in refused.err


def test_a_privileged_container_gets_no_further_than_the_sandbox(
    box: Installation, internet: Internet
) -> None:
    """The attacks on the network once more, from a container with everything that can be given."""
    hosts = [METADATA, PRIVATE, SHARED, OTHER_WEB, "192.168.126.1", "192.168.126.2"]
    given = json.dumps({"hosts": hosts, "resolvers": []})
    script(box, "docker version >/dev/null").ok()
    internet.forget()
    for network in ("bridge", "host"):
        probe = privileged(network, "python3", "-", given)
        found = json.loads(box.inside(BOX, *probe, stdin=PROBE.read_bytes()).ok().out)
        assert found["answers"] == []
        assert found["attempts"] > 50
    look = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '; ls /sys/class/net; cat /proc/1/comm"
    seen = box.inside(BOX, *privileged("host", "sh", "-c", look)).ok().text
    assert "dockerd" in seen, "it sees all processes of the sandbox"
    assert "eth0" in seen
    assert "mgmt0" not in seen
    assert "sbx.guest" not in seen
    assert internet.packets() == set()


def test_containers_are_ended_in_order_and_come_back(box: Installation) -> None:
    script(
        box,
        """set -e
        docker volume create kept >/dev/null
        docker run -d --name once -v kept:/kept base:1 \
            sh -c 'trap "echo ended >>/kept/log; exit" TERM; sleep 900 & wait'
        docker run -d --name always --restart always base:1 sleep 900
        """,
    ).ok()
    box.ok("stop", BOX)
    events = (box.folder(BOX) / "supervisor.log").read_text().splitlines()
    assert "machine stopped by: agent" in [line for line in events if "stopped by" in line][-1]
    # Nobody asks the engine: the container that is always up makes it start.
    wait_for(box, "pgrep -f 'sleep 900'")
    done = script(box, "docker run --rm -v kept:/kept base:1 cat /kept/log; docker ps -a")
    lines = done.ok().text.splitlines()
    assert lines[0] == "ended"
    states = {line.split()[-1]: " Up " in line for line in lines[2:]}
    assert (states["once"], states["always"]) == (False, True)

    pid = cast("int", box.inspect(BOX)["daemon_pid"])
    os.kill(pid, signal.SIGKILL)
    wait_for(box, "pgrep -f 'sleep 900'")
    script(box, "docker rm -f once always && docker volume rm kept").ok()


def test_an_engine_that_does_not_start_says_why(box: Installation) -> None:
    bad = 'echo \'{"storage-driver": "none"}\' >/etc/docker/daemon.json; pkill -x dockerd; true'
    box.inside(BOX, "sh", "-c", bad, user="root").ok()
    wait_for(box, "! pgrep -x dockerd")
    refused = script(box, "docker version")
    assert b"the engine did not start or ended: " in refused.err
    assert b"none" in refused.err
    box.inside(BOX, "rm", "/etc/docker/daemon.json", user="root").ok()
    script(box, "docker version").ok()


def privileged(network: str, *command: str) -> tuple[str, ...]:
    """A command in the sandbox's own root folder, from a container that may do everything."""
    run = ("docker", "run", "-i", "--rm", "--privileged", "--pid=host", f"--net={network}")
    return (*run, "-v", "/:/sandbox", "base:1", "chroot", "/sandbox", *command)


def wait_for(box: Installation, condition: str) -> None:
    """Wait until a shell command inside succeeds; each try may start the sandbox."""
    end = time.monotonic() + 120
    loop = (
        f"for i in $(seq 100); do if {condition} >/dev/null; then exit; fi; sleep 0.3; done; exit 1"
    )
    while box.inside(BOX, "sh", "-c", loop).returncode != 0:
        assert time.monotonic() < end, f"never came true: {condition}"
