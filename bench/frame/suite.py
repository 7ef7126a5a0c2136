# SPDX-License-Identifier: Apache-2.0
"""What a benchmark gets to work with: an installation of its own, and how long it may take.

A suite is a module of this folder's parent with `run(bench)`, a generator of rows and curves; what
it yields is shown and kept at once, so that a later failure costs nothing that was measured.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sbx.image.store import ImageStore
from sbx.sandbox.parts import Accel, GuestTools, RuntimeBundle, Template
from sbx.sandbox.spec import AccelChoice
from sbx.vm.accel import choose_accel
from tests.kit.installation import Installation


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """The mode of this run."""

    quick: bool  # few samples, small sizes: does it work, and is it about right?

    def runs(self, quick: int, full: int) -> int:
        """How many samples to take."""
        return quick if self.quick else full

    @property
    def cache_home(self) -> Path:
        """The user's own cache: parts and snapshots are made once."""
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")

    @property
    def cache(self) -> Path:
        """Where this program's parts are in it."""
        return self.cache_home / "opensbx"

    def parts(self) -> tuple[RuntimeBundle, GuestTools, Template]:
        """Runtime, tools and base template, which `sbx setup` has made."""
        store = ImageStore(self.cache)
        runtime, tools, template = store.runtime(), store.tools(), store.template("shell")
        if runtime is None or tools is None or template is None:
            raise SystemExit("run first: bin/sbx setup")
        return runtime, tools, template

    def accel(self) -> Accel:
        """What machines run on here, as `sbx setup` found."""
        return choose_accel(AccelChoice.AUTO, self.parts()[0], self.cache).accel

    @contextmanager
    def installation(self) -> Iterator[Installation]:
        """State and sockets of its own on the shared cache; proved empty at the end."""
        home = Path(tempfile.mkdtemp(prefix="sbx-bench-"))
        try:
            for name in ("run", "workspace"):
                (home / name).mkdir(mode=0o700)
            made = Installation(home=home, runtime=home / "run", cache=self.cache_home)
            made.ok("settings", "set", "sandbox.autoStopSeconds", "86400")
            yield made
            made.close(home / "evidence")
        finally:
            shutil.rmtree(home, ignore_errors=True)

    def say(self, text: str) -> None:
        """Tell what goes on, beside the results."""
        print(f"  {text}", file=sys.stderr, flush=True)


@contextmanager
def stopwatch(into: list[float]) -> Iterator[None]:
    """Append the seconds that the block took."""
    began = time.perf_counter()
    yield
    into.append(time.perf_counter() - began)


def timed(installation: Installation, *args: str) -> float:
    """Seconds of a whole `sbx ARGS`, which must succeed."""
    began = time.perf_counter()
    installation.ok(*args)
    return time.perf_counter() - began


def create(installation: Installation, name: str, *options: str) -> None:
    """A sandbox of the base template that stays up, with a small workspace of its own."""
    workspace = installation.home / "workspace"
    installation.ok("create", "shell", str(workspace), "-q", "--name", name, *options)
