# SPDX-License-Identifier: Apache-2.0
"""The tools image: guest root, guest agent, its Python, kernel modules, and the initramfs.

Two steps: the Debian part (`tools-base`, a tree, slow) and the agent on top of it (`tools`, packed
in a second or two), so that a change of the agent's source does not ask the mirror again. Programs
of the guest root run at build time in a jail that has the tree as its `/`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from sbx.image.archive import add_merged_links, unpack
from sbx.image.cache import Entry, Facts, Shelf
from sbx.image.debian import Bootstrap, bootstrap
from sbx.image.initramfs import AGENT_FOLDER, build_initramfs
from sbx.image.modules import BOOT_MODULES, install_modules
from sbx.image.pack import pack_tree
from sbx.image.recipe import (
    BASE_RECIPE,
    TOOLS_PACKAGES,
    TOOLS_RECIPE,
    input_key,
    source_digest,
)
from sbx.image.runtime import MODULES
from sbx.sandbox.parts import GuestTools, RuntimeBundle
from sbx.system.files import private_folder
from sbx.system.jail import Bind, BindKind, Jail
from sbx.system.process import run
from sbx.system.progress import Progress

KIND = "tools"
BASE_KIND = "tools-base"
NEEDED_BYTES = 700 << 20  # archive, tree and image, while they are built
_TREE = "tree"
_IMAGE = "tools.erofs"
_INITRAMFS = "initramfs.cpio"
_AGENT = "agent"
_PYTHON = "usr/lib/python3.13"
_BUILD_SECONDS = 300.0

_DROPPED = (
    "usr/share/", "usr/include/", "usr/games/", "usr/src/", "var/", "boot/", "home/",
    "etc/init.d/", "etc/pam.d/", "etc/security/", "etc/cron", "etc/default/", "etc/systemd/",
    "usr/lib/systemd/", "usr/lib/udev/", "usr/lib/x86_64-linux-gnu/gconv/",
    "usr/lib/x86_64-linux-gnu/security/", "usr/lib/x86_64-linux-gnu/perl",
)  # fmt: skip
_DROPPED_MODULES = frozenset({
    "test", "idlelib", "tkinter", "turtledemo", "pydoc_data", "ensurepip", "lib2to3", "distutils",
    "curses", "dbm", "sqlite3", "unittest", "xmlrpc", "wsgiref", "turtle.py", "doctest.py",
})  # fmt: skip
_FOLDERS = ("proc", "sys", "dev", "run", "tmp", "mnt", "root", "var/lib", "var/tmp", "var/log",
            AGENT_FOLDER[1:])  # fmt: skip
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "etc/hostname": "guest\n",
}


def key(runtime: RuntimeBundle, source: Path) -> str:
    """The key of the inputs; `source` is the folder with the guest agent."""
    return input_key(KIND, TOOLS_RECIPE, base_key(runtime), source_digest(source))


def base_key(runtime: RuntimeBundle) -> str:
    """The key of the inputs of the Debian part; the modules must fit the runtime's kernel."""
    return input_key(BASE_KIND, BASE_RECIPE, TOOLS_PACKAGES, BOOT_MODULES, runtime.digest)


def build(cache: Path, runtime: RuntimeBundle, source: Path, progress: Progress) -> Entry:
    """The image, built if it is absent (errors as `debian.bootstrap`)."""
    shelf = Shelf(cache, KIND)

    def fill(folder: Path) -> Facts:
        # Every byte of the base is compared: what is packed into an image is not seen again.
        bases = Shelf(cache, BASE_KIND)
        base = bases.check(base_key(runtime)) or bases.make(
            base_key(runtime), lambda target: _fill_base(target, runtime, progress)
        )
        progress.begin("guest tools: pack")
        facts = _fill(folder, base, runtime, source)
        progress.end()
        return facts

    return shelf.make(key(runtime, source), fill)


def as_parts(entry: Entry) -> GuestTools:
    """The entry as the rest of the program knows it."""
    return GuestTools(
        digest=entry.digest,
        image=entry.folder / _IMAGE,
        initramfs=entry.folder / _INITRAMFS,
        versions={**entry.facts.packages, "agent": entry.facts.notes[_AGENT]},
    )


def _fill_base(folder: Path, runtime: RuntimeBundle, progress: Progress) -> Facts:
    temp = private_folder(folder.parent / "work")
    archive = temp / "packages.tar"
    job = Bootstrap(what="guest tools", packages=TOOLS_PACKAGES, output=archive, temp=temp)
    versions = bootstrap(job, progress)
    progress.begin("guest tools: prepare the tree")
    tree = folder / _TREE
    unpack(archive, tree, _is_wanted)
    shutil.rmtree(temp)
    add_merged_links(tree)
    for name in _FOLDERS:
        (tree / name).mkdir(parents=True, exist_ok=True)
    for name, text in _FILES.items():
        (tree / name).write_text(text)
    (tree / "usr/bin/python3").symlink_to("python3.13")
    progress.note("kernel modules")
    install_modules(runtime.root.parent / MODULES, tree)
    depmod = Jail(root=runtime.root, binds=(_writable(tree, "/mnt"),))
    run(
        depmod.command(["/usr/sbin/depmod", "-b", "/mnt", runtime.kernel_release]),
        timeout_s=_BUILD_SECONDS,
    )
    progress.note("compile Python")
    _compile(tree, f"/{_PYTHON}", tree / _PYTHON)
    own = Jail(root=tree, binds=(_writable(tree / "etc", "/etc"),))
    run(own.command(["/usr/sbin/ldconfig"]), timeout_s=_BUILD_SECONDS)
    progress.end()
    return Facts(packages=versions, notes={})


def _fill(folder: Path, base: Entry, runtime: RuntimeBundle, source: Path) -> Facts:
    tree = base.folder / _TREE
    agent = folder.parent / "agent"
    shutil.copytree(source, agent / "guest", ignore=shutil.ignore_patterns("__pycache__"))
    _compile(tree, AGENT_FOLDER, agent)
    jail_binds = (Bind(source=agent, target=Path("/mnt") / AGENT_FOLDER[1:]),)
    pack_tree(runtime, tree, folder / _IMAGE, over=jail_binds)
    build_initramfs(tree, runtime.kernel_release, folder / _INITRAMFS)
    shutil.rmtree(agent)
    return Facts(packages=base.facts.packages, notes={_AGENT: source_digest(source)})


def _compile(tree: Path, where: str, source: Path) -> None:
    """Byte-compile with the guest's own Python; never checked against the source again."""
    jail = Jail(root=tree, binds=(_writable(source, where),))
    python = ["/usr/bin/python3.13", "-I", "-S", "-m", "compileall", "-q", "-j", "0"]
    run(
        jail.command([*python, "--invalidation-mode", "unchecked-hash", where]),
        timeout_s=_BUILD_SECONDS,
    )


def _writable(source: Path, target: str) -> Bind:
    return Bind(source=source, target=Path(target), kind=BindKind.READ_WRITE)


def _is_wanted(name: str) -> bool:
    if name.startswith(_DROPPED):
        return False
    if name.startswith(f"{_PYTHON}/"):
        return name.removeprefix(f"{_PYTHON}/").split("/", 1)[0] not in _DROPPED_MODULES
    return True
