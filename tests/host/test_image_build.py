# SPDX-License-Identifier: Apache-2.0
"""Real builds from signed packages, small ones: as root, as an ordinary user, and interrupted."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from sbx.errors import SbxError
from sbx.image import runtime as bundle
from sbx.image import tools
from sbx.image.debian import Bootstrap, Mode, bootstrap
from sbx.image.pack import pack_tar
from sbx.image.scratch import tree_folder
from sbx.image.store import ImageStore
from sbx.image.template import read_versions
from sbx.sandbox.parts import RuntimeBundle
from sbx.store.paths import find_paths
from sbx.system.jail import Bind, BindKind, Jail
from sbx.system.process import run
from sbx.system.progress import Silent
from tests.conftest import OrdinaryUser

pytestmark = pytest.mark.timeout(240)  # asks a mirror


@pytest.fixture(scope="module", name="runtime")
def _runtime() -> RuntimeBundle:
    """The bundle in the tester's cache, which `bin/test` has prepared."""
    runtime = ImageStore(find_paths().cache).runtime()
    if runtime is None:
        pytest.skip("needs the runtime bundle: run sbx setup")
    return runtime


@pytest.fixture(name="cache")
def _cache(runtime: RuntimeBundle, tmp_path: Path) -> Path:
    """A copy of the machine's parts of the tester's cache, for tests that spoil them."""
    real = find_paths().cache
    for kind in (bundle.KIND, tools.BASE_KIND):
        shutil.copytree(real / kind, tmp_path / kind, symlinks=True)
    assert runtime.root.is_relative_to(real)
    return tmp_path


def as_user(user: OrdinaryUser, action: Callable[[], None]) -> None:
    """Run `action` in a child process without privileges."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.initgroups(user.name, user.uid)
            os.setgid(user.uid)
            os.setuid(user.uid)
            os.chdir(user.home)
            os.environ.update(HOME=str(user.home), USER=user.name)
            action()
            status = 0
        except SbxError as error:
            sys.stderr.write(f"{error}\n{error.hint}\n{error.details}\n")
        except BaseException:  # noqa: BLE001 - whatever it is, the parent must not go on twice
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def unpacked(folder: Path) -> dict[str, str]:
    archive = folder / "out.tar"
    job = Bootstrap(what="test", packages=("busybox-static",), output=archive, temp=folder)
    versions = bootstrap(job, Silent())
    with tarfile.open(archive) as tar:
        assert "./usr/bin/busybox" in tar.getnames()
    assert [path.name for path in folder.iterdir()] == ["out.tar"]
    return versions


def test_packages_are_unpacked_by_whoever_asks(
    tmp_path: Path, ordinary_user: OrdinaryUser, user_folder: Path
) -> None:
    assert "busybox-static" in unpacked(tmp_path)
    as_user(ordinary_user, lambda: assert_equal(set(unpacked(user_folder)), {"busybox-static"}))


def assert_equal(found: object, expected: object) -> None:
    assert found == expected


def configured(folder: Path) -> None:
    """A system with an own user and a set-id program, as an ordinary user builds it."""
    hook = (
        'chroot "$1" useradd --uid 1000 --create-home agent\n'
        'install -m 4755 -o 0 -g 42 "$1"/usr/bin/env "$1"/usr/bin/marked'
    )
    dpkg = '"$1"/etc/dpkg/dpkg.cfg.d'
    with tree_folder() as temp:
        job = Bootstrap(
            what="test",
            packages=("passwd",),
            output=folder / "out.tar",
            temp=temp,
            mode=Mode.UNSHARE,
            configure=True,
            setup_hooks=(f"mkdir -p {dpkg}; echo force-unsafe-io >{dpkg}/50test",),
            customize_hooks=(hook,),
        )
        bootstrap(job, Silent())
    assert not temp.exists()


def test_ordinary_user_builds_a_system_with_owners_and_modes(
    ordinary_user: OrdinaryUser, user_folder: Path
) -> None:
    as_user(ordinary_user, lambda: configured(user_folder))
    with tarfile.open(user_folder / "out.tar") as tar:
        marked, home = tar.getmember("./usr/bin/marked"), tar.getmember("./home/agent")
        assert (marked.uid, marked.gid, marked.mode) == (0, 42, 0o4755)
        assert (home.uid, home.gid) == (1000, 1000)
    assert "passwd" in read_versions(user_folder / "out.tar")


def test_layer_keeps_owners_modes_times_and_capabilities(
    runtime: RuntimeBundle, tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: unpacks owners")
    capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0"  # cap_net_raw=ep
    with tarfile.open(tmp_path / "root.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo("./bin/tool")
        member.uid, member.gid, member.mode, member.mtime = 1000, 42, 0o4755, 1_600_000_000
        text = capability.decode("latin-1")
        member.pax_headers = {"SCHILY.xattr.security.capability": text}
        member.size = 4
        tar.addfile(member, io.BytesIO(b"data"))
    (tmp_path / "out").mkdir()
    pack_tar(runtime, tmp_path / "root.tar", tmp_path / "layer.erofs")
    extract = run(
        [
            "bwrap",
            *("--ro-bind", runtime.root, "/", "--proc", "/proc", "--dev", "/dev"),
            *("--bind", tmp_path, "/mnt"),
            *("fsck.erofs", "--extract=/mnt/out/tree", "--preserve", "/mnt/layer.erofs"),
        ]
    )
    assert extract.returncode == 0
    facts = (tmp_path / "out/tree/bin/tool").stat()
    assert (facts.st_uid, facts.st_gid) == (1000, 42)
    assert (facts.st_mode & 0o7777, int(facts.st_mtime)) == (0o4755, 1_600_000_000)
    assert capability in (tmp_path / "layer.erofs").read_bytes()


def test_equal_archives_give_equal_layers(runtime: RuntimeBundle, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "root.tar", "w") as tar:
        for name in ("b", "a"):
            member = tarfile.TarInfo(name)
            member.size = 4
            tar.addfile(member, io.BytesIO(b"data"))
    for name in ("first", "second"):
        pack_tar(runtime, tmp_path / "root.tar", tmp_path / name)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_tampered_bundle_is_built_again(cache: Path) -> None:
    store = ImageStore(cache)
    before = store.runtime()
    assert before is not None
    program = before.root / "usr/bin/qemu-system-x86_64"
    facts = program.stat()
    with program.open("r+b") as file:
        file.seek(facts.st_size // 2)
        file.write(b"tampered")
    os.utime(program, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert store.runtime() is None
    again = bundle.as_parts(bundle.build(cache, Silent()))
    assert b"tampered" not in (again.root / "usr/bin/qemu-system-x86_64").read_bytes()
    assert store.runtime() == again
    jail = Jail(root=again.root)
    shown = run(jail.command(["/usr/bin/qemu-system-x86_64", "--version"])).stdout
    assert b"QEMU emulator" in shown


def test_other_agent_source_is_packed_without_the_network(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    source = tmp_path / "source"
    source.mkdir()
    (source / "main.py").write_text("def main() -> None: print('hello')\n")
    store = ImageStore(cache, source=source)
    assert store.tools() is None
    runtime, image = store.prepare_machine(Silent())
    assert store.tools() == image
    assert image.versions["agent"]
    assert image.initramfs.read_bytes().startswith(b"070701")
    target = tmp_path / "out"
    target.mkdir()
    binds = (
        Bind(source=image.image, target=Path("/run/image")),
        Bind(source=target, target=Path("/mnt"), kind=BindKind.READ_WRITE),
    )
    jail = Jail(root=runtime.root, binds=binds)
    run(jail.command(["/usr/bin/fsck.erofs", "--extract=/mnt/tree", "/run/image"]))
    agent = target / "tree/usr/lib/sbx/guest"
    assert (agent / "main.py").read_text() == (source / "main.py").read_text()
    assert list((agent / "__pycache__").glob("main.*.pyc"))
    started = Jail(root=target / "tree").command(
        ["/usr/bin/python3", "-I", "-S", "-B", "-c", START]
    )
    assert run(started).stdout == b"hello\n"


START = "import sys; sys.path.insert(0, '/usr/lib/sbx'); from guest.main import main; main()"
INTERRUPTED = """
import signal, sys
from pathlib import Path
from sbx.image.debian import Bootstrap, bootstrap
from sbx.system.progress import Silent
class Tell(Silent):
    def begin(self, what, *, total=None):
        print(what, flush=True)
folder = Path(sys.argv[1])
job = Bootstrap(what="x", packages=("busybox-static",), output=folder / "out.tar", temp=folder)
try:
    bootstrap(job, Tell())
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_interrupt_ends_the_children_and_removes_their_tree(tmp_path: Path) -> None:
    args = [sys.executable, "-c", INTERRUPTED, str(tmp_path)]
    with subprocess.Popen(args, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line == "x: download\n":
                child.send_signal(signal.SIGINT)
                break
        assert child.stdout.read().endswith("interrupted\n")
    assert not list(tmp_path.glob("mmdebstrap.*"))
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert str(tmp_path).encode() not in process.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
