# SPDX-License-Identifier: Apache-2.0
"""`bin/sbx` in a checkout of its own, whose `sbx` only says how it was started.

The lock file of that checkout is empty, so environments are made without any package index.
"""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import OrdinaryUser

ROOT = Path(__file__).parents[3]
STUB = """
import os, sys
print("args", sys.argv[1:])
print("from", __file__)
print("stdin", repr(sys.stdin.read()))
sys.exit(7)
"""
# Does what uv does for an empty lock file, and is as quick.
UV = """
if [ "$1" = venv ]; then
    while [ $# -gt 2 ]; do shift; done
    exec "$1" -I -m venv --without-pip "$2"
fi
"""
WAITS = "import sys; print('up', flush=True); sys.stdin.read()"
MAKING = "Making the Python environment"


class Checkout:
    """A checkout with a cache of its own, and how to run its `bin/sbx`."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "checkout"
        self.cache = folder / "cache"
        self.programs = folder / "programs"
        self.programs.mkdir()
        shutil.copytree(ROOT / "bin", self.root / "bin")
        package = self.root / "src" / "sbx"
        (package / "system").mkdir(parents=True)
        self.main = package / "__main__.py"
        self.main.write_text(STUB)
        self.packages = package / "system" / "packages.txt"
        self.packages.write_text("# none\n")
        self.lock = self.root / "requirements.lock"
        self.lock.write_text("# none\n")
        self.prefix: list[str] = []
        self.offers("uv", UV)

    def needs(self, package: str, program: str) -> None:
        self.packages.write_text(f"{package}\t{program}\tis needed for this test\n")

    def offers(self, program: str, script: str) -> None:
        path = self.programs / program
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def env(self, **more: str) -> dict[str, str]:
        path = f"{self.programs}:{os.environ['PATH']}"
        home = str(self.cache.parent)
        return {"PATH": path, "HOME": home, "XDG_CACHE_HOME": str(self.cache), **more}

    def command(self, *args: str) -> list[str]:
        return [*self.prefix, "/bin/bash", str(self.root / "bin" / "sbx"), *args]

    def run(
        self, *args: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*args),
            cwd=cwd or self.cache.parent,
            env={**self.env(), **(env or {})},
            input="in",
            capture_output=True,
            text=True,
            check=False,
        )

    def environments(self) -> list[Path]:
        return sorted(path.parent for path in self.cache.glob("opensbx/venv/*/*/stamp"))


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@pytest.fixture
def others_checkout(user_folder: Path, ordinary_user: OrdinaryUser) -> Checkout:
    """One that the ordinary user runs."""
    checkout = Checkout(user_folder)
    subprocess.run(["chown", "-R", f"{ordinary_user.name}:", str(user_folder)], check=True)
    user = ordinary_user.name
    checkout.prefix = ["setpriv", "--reuid", user, "--regid", user, "--init-groups", "--"]
    return checkout


def test_the_first_run_prepares_and_every_run_does_what_was_asked(checkout: Checkout) -> None:
    first, second = (checkout.run("exec", "a b", "--", "") for _ in range(2))
    assert MAKING in first.stderr
    assert second.stderr == ""
    for done in (first, second):
        assert done.returncode == 7
        assert "args ['exec', 'a b', '--', '']" in done.stdout
        assert "stdin 'in'" in done.stdout


def test_a_prepared_checkout_starts_no_program_but_python(checkout: Checkout) -> None:
    checkout.run("ls")
    empty = checkout.root / "nothing"
    empty.mkdir()
    assert checkout.run("ls", env={"PATH": str(empty)}).returncode == 7


def test_two_first_runs_share_one_environment(checkout: Checkout) -> None:
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(checkout.run, ["ls"] * 3))
    assert [done.returncode for done in results] == [7, 7, 7]
    assert sum(MAKING in done.stderr for done in results) == 1
    assert len(checkout.environments()) == 1


def test_neither_the_current_folder_nor_variables_choose_the_code(checkout: Checkout) -> None:
    project = checkout.cache.parent / "project"
    (project / "sbx").mkdir(parents=True)
    (project / "sbx" / "__main__.py").write_text("print('stolen')")
    for variables in ({}, {"PYTHONPATH": str(project)}):
        done = checkout.run("ls", cwd=project, env=variables)
        assert f"from {checkout.main}" in done.stdout


def test_a_link_to_it_works(checkout: Checkout) -> None:
    link = checkout.programs / "sbx"
    link.symlink_to(checkout.root / "bin" / "sbx")
    done = subprocess.run([link, "ls"], env=checkout.env(), input=b"", check=False)
    assert done.returncode == 7


@pytest.mark.parametrize("lost", ["stamp", "bin", "pyvenv.cfg", "../current"])
def test_a_broken_environment_is_made_again(checkout: Checkout, lost: str) -> None:
    checkout.run("ls")
    path = checkout.environments()[0] / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    done = checkout.run("ls")
    assert MAKING in done.stderr
    assert done.returncode == 7
    assert checkout.run("ls").stderr == ""


def test_a_half_made_environment_is_never_used(checkout: Checkout) -> None:
    """Killed while pip runs: there is no stamp, and the next run starts anew."""
    marker = checkout.programs / "uv.started"
    os.mkfifo(marker)  # opened for reading below: waits for the script to come so far
    checkout.offers("uv", f"echo > {marker}; exec tail -f /dev/null")
    child = subprocess.Popen(
        checkout.command("ls"),
        env=checkout.env(),
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    marker.read_text()
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    assert checkout.environments() == []
    checkout.offers("uv", UV)
    assert checkout.run("ls").returncode == 7
    assert len(checkout.environments()) == 1


@pytest.mark.parametrize("script", [None, "exit 2"])
def test_without_a_working_uv_it_is_pip(checkout: Checkout, script: str | None) -> None:
    if script is None:
        (checkout.programs / "uv").unlink()
    else:
        checkout.offers("uv", script)
    assert checkout.run("ls").returncode == 7
    assert list(checkout.environments()[0].glob("lib/python3*/site-packages/pip"))


def test_a_new_lock_file_replaces_the_environment(checkout: Checkout) -> None:
    checkout.run("ls")
    before = checkout.environments()
    checkout.lock.write_text("# other\n")
    assert MAKING in checkout.run("ls").stderr
    assert len(checkout.environments()) == 1
    assert checkout.environments() != before


def test_an_environment_that_is_in_use_is_kept(checkout: Checkout) -> None:
    checkout.main.write_text(WAITS)
    child = subprocess.Popen(
        checkout.command("ls"),
        env=checkout.env(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert child.stdout is not None
    with child:
        assert child.stdout.readline() == b"up\n"
        checkout.main.write_text(STUB)
        checkout.lock.write_text("# other\n")
        checkout.run("ls")
        assert len(checkout.environments()) == 2


def test_a_missing_package_is_named_with_the_command(others_checkout: Checkout) -> None:
    others_checkout.needs("no-such-package", "no-such-program")
    done = others_checkout.run("--no-input", "ls")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "is needed for this test" in done.stderr
    assert "ERROR: missing packages: no-such-package\n" in done.stderr
    assert "apt-get install --no-install-recommends no-such-package\n" in done.stderr


def test_what_only_looks_works_without_the_packages(others_checkout: Checkout) -> None:
    others_checkout.needs("no-such-package", "no-such-program")
    assert "args ['diagnose']" in others_checkout.run("diagnose").stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: only root installs without a question")
def test_root_installs_what_is_missing(checkout: Checkout) -> None:
    checkout.needs("no-such-package", "no-such-program")
    program = checkout.programs / "no-such-program"
    checkout.offers("apt-get", f'echo "$@" >> $0.log; cp $0 {program}')
    assert checkout.run("ls").returncode == 7
    asked = (checkout.programs / "apt-get.log").read_text()
    assert "install -y --no-install-recommends no-such-package" in asked
    assert checkout.run("ls").stderr == ""


@pytest.mark.parametrize(("answer", "status"), [(b"y\n", 7), (b"\n", 7), (b"n\n", 1)])
def test_a_user_is_asked_before_sudo(others_checkout: Checkout, answer: bytes, status: int) -> None:
    checkout = others_checkout
    checkout.needs("no-such-package", "no-such-program")
    checkout.offers("sudo", f"cp $0 {checkout.programs}/no-such-program")
    controller, terminal = pty.openpty()
    try:
        # The stub reads to the end of its input, which Ctrl-D is on a terminal.
        os.write(controller, answer + b"\x04")
        child = subprocess.Popen(
            checkout.command("ls"), env=checkout.env(), stdin=terminal, stderr=terminal,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        assert child.wait() == status
    finally:
        os.close(controller)
        os.close(terminal)


@pytest.mark.timeout(180)
def test_damage_that_keeps_it_from_loading_is_mended(tmp_path: Path) -> None:
    """With the real package: the one test here that needs a package index."""
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "SBX_LAUNCHER": ""}

    def version() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ROOT / "bin" / "sbx", "version"], env=env, capture_output=True, text=True, check=True
        )

    version()
    (click,) = tmp_path.glob("opensbx/venv/*/*/lib/python3*/site-packages/click/core.py")
    click.write_text("")
    again = version()
    assert "damaged" in again.stderr
    assert again.stdout.startswith("sbx version: ")
    assert version().stderr == ""
