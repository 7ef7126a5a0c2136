# SPDX-License-Identifier: Apache-2.0
"""How long a sandbox takes to start, next to the bare recipe, measured in turns in one run.

`PYTHONPATH=src python bench/start.py [RUNS]`. Rows: `create` (`sbx create` to the first output of a
command, whole processes), `restart` (`sbx exec` in a stopped sandbox), `cold` (the same as `create`
with a cache that has no snapshot), `recipe` (copy of the snapshot's memory, QEMU, restore, hot-plug
of two disks and one share, mount, in one process that is already there). Results go to
bench/results/start.json with the facts of the machine.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

from sbx.agent.control import AgentControl, Assembly, MountSetup
from sbx.image.store import ImageStore
from sbx.lifecycle.identity import nobody
from sbx.lifecycle.warm import prepare, shape_of
from sbx.network.link import open_network
from sbx.sandbox import addresses
from sbx.sandbox.parts import Accel
from sbx.sandbox.spec import Mount, Resources
from sbx.sandbox.units import GIB, MIB
from sbx.store.paths import find_paths
from sbx.system.files import owned_fd
from sbx.system.progress import Silent
from sbx.vm.disk import create_disk, format_disk, open_disk
from sbx.vm.machine import MachineConfig, start_machine
from sbx.vm.memory import fill, open_memory
from sbx.vm.snapshots import FOLDER, Snapshots
from sbx.workspace.share import open_share

NAME = "bench"
LINKED = ("layers", "templates", "runtime", "tools", "tools-base")


class Bench:
    """A private installation on the shared parts."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.cache = find_paths().cache
        self.workspace = home / "workspace"
        for name in ("run", "workspace"):
            (home / name).mkdir(mode=0o700)
        self.store = ImageStore(self.cache)
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "PYTHONPATH": str(Path(__file__).parents[1] / "src"),
            "XDG_STATE_HOME": str(home / "state"),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_CACHE_HOME": str(self.cache.parent),
            "XDG_RUNTIME_DIR": str(home / "run"),
        }

    def sbx(self, *args: str, cache: Path | None = None) -> None:
        """Run the command; its output is not of interest, its success is."""
        env = self.env if cache is None else {**self.env, "XDG_CACHE_HOME": str(cache.parent)}
        subprocess.run(
            [sys.executable, "-m", "sbx", *args],
            env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def create(self, cache: Path | None = None) -> float:
        """From nothing to the first output of a command."""
        began = time.monotonic()
        words = ("shell", str(self.workspace), "--memory", "1g", "-q", "--name", NAME)
        self.sbx("create", *words, cache=cache)
        self.sbx("exec", NAME, "echo", "up", cache=cache)
        taken = time.monotonic() - began
        if cache is not None:
            self.sbx("rm", "-f", NAME, cache=cache)
        return taken

    def restart(self) -> float:
        """From stopped to the output of a command; the sandbox is removed after it."""
        self.sbx("stop", NAME)
        began = time.monotonic()
        self.sbx("exec", NAME, "echo", "up")
        taken = time.monotonic() - began
        self.sbx("rm", "-f", NAME)
        return taken

    def cold(self) -> float:
        """As `create`, in a cache without snapshots."""
        with tempfile.TemporaryDirectory(dir=self.home) as folder:
            cache = Path(folder) / "opensbx"
            cache.mkdir(mode=0o700)
            for name in LINKED:
                (cache / name).symlink_to(self.cache / name)
            shutil.copy(self.cache / "accel.json", cache)
            taken = self.create(cache)
            Snapshots(cache).stop_building()
            return taken

    def recipe(self) -> float:
        """The same machine without processes of ours around it."""
        path = self.home / "recipe.img"
        began = time.monotonic()
        runtime = self.store.runtime()
        assert runtime is not None
        create_disk(path, 32 * GIB)
        format_disk(path, runtime)
        asyncio.run(self._recipe(path))
        taken = time.monotonic() - began - self._teardown_s
        path.unlink()
        return taken

    async def _recipe(self, disk: Path) -> None:
        runtime, tools, template = (
            self.store.runtime(),
            self.store.tools(),
            self.store.template("shell"),
        )
        assert runtime is not None
        assert tools is not None
        assert template is not None
        shape = shape_of(runtime, tools, cpus=os.cpu_count() or 1, accel=Accel.TCG)
        mounts = (
            Mount(source=self.workspace, target=self.workspace, read_only=False, is_file=False),
        )
        async with AsyncExitStack() as stack:
            frozen = stack.enter_context(Snapshots(self.cache).find(shape.key()))
            assert frozen is not None
            memory = stack.enter_context(open_memory(shape.more_bytes))
            fill(memory.boot_fd, frozen.ram_fd, memory.boot_bytes)
            network = await stack.enter_async_context(open_network())
            share = await stack.enter_async_context(
                open_share(runtime, mounts, log_path=self.home / "share.log")
            )
            config = MachineConfig(
                runtime=runtime, tools=tools, accel=Accel.TCG, memory=memory, restored=True,
                resources=Resources(cpus=shape.cpus, memory_bytes=GIB, disk_bytes=32 * GIB),
                taps=(
                    (network.management_tap, addresses.MANAGEMENT_MAC),
                    (network.sandbox_tap, addresses.SANDBOX_MAC),
                ),
                console_log=self.home / "console.log",
            )  # fmt: skip
            machine = await stack.enter_async_context(start_machine(config))
            await machine.restore(frozen.state_fd)
            await machine.grow(512 * MIB)
            layer = template.layers[0].path
            with owned_fd(os.open(layer, os.O_RDONLY)) as fd:
                await machine.plug_disk(serial="layer0", fd=fd, read_only=True)
            with owned_fd(open_disk(disk)) as fd:
                await machine.plug_disk(serial="data", fd=fd, read_only=False)
            with share.connect() as sock:
                await machine.plug_share(tag="share", sock=sock)
            await machine.resume()
            agent = await stack.enter_async_context(AgentControl.over(machine.agent_socket))
            await agent.configure(nobody())
            await agent.assemble(self._assembly())
            ended = time.monotonic()
        self._teardown_s = time.monotonic() - ended

    def _assembly(self) -> Assembly:
        return Assembly(
            layers=("layer0",), data="data", data_is_new=True, share="share",
            mounts=(MountSetup(index=0, target=str(self.workspace)),),
            user="agent", workdir=str(self.workspace), env={},
            memory_growth_bytes=512 * MIB, memory_awaited_bytes=512 * MIB,
        )  # fmt: skip


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    found: dict[str, list[float]] = {"recipe": [], "create": [], "restart": [], "cold": []}
    with tempfile.TemporaryDirectory(prefix="sbx-bench-") as folder:
        bench = Bench(Path(folder))
        assert prepare(bench.cache, Silent()), f"no {FOLDER}"
        for _ in range(runs):
            for name, times in found.items():
                times.append(getattr(bench, name)())
    limit = statistics.median(found["recipe"])
    print(f"{'':8} {'median':>7} {'min':>7} {'max':>7} {'x recipe':>8}")
    for name, times in found.items():
        middle = statistics.median(times)
        print(f"{name:8} {middle:7.3f} {min(times):7.3f} {max(times):7.3f} {middle / limit:8.2f}")
    facts = {
        "cpus": os.cpu_count(), "load": os.getloadavg(), "kernel": platform.release(),
        "python": platform.python_version(), "unix_time": round(time.time()),
    }  # fmt: skip
    target = Path(__file__).parent / "results" / "start.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps({"machine": facts, "seconds": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
