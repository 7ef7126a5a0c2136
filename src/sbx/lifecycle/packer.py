# SPDX-License-Identifier: Apache-2.0
"""Runs inside a builder sandbox, by its own Python as root: archives and layers become EROFS files.

One verb for each call, its arguments as JSON in the second word, its answer as JSON on standard
output. What is wrong with what it was given ends it with status 3 and a sentence on standard error.
Imports nothing of sbx.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import gzip
import hashlib
import json
import os
import posixpath
import stat
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Generator, Sequence
from typing import Any

OUT = "/mnt/sbx-out"
RUNTIME = "/mnt/sbx-rt"
# On the data disk itself: the root is an overlay, which lets nobody make the marks of one.
WORK = "/var/lib/containerd/sbx-pack"
IMAGE = "layer.erofs"
WRONG = 3  # exit status: the input is at fault
_UNPACKED = "archive.tar"
_ENGINE = "/var/lib/docker"
_REPOSITORIES = f"{_ENGINE}/image/overlay2/repositories.json"
_OURS = f"{_ENGINE}/opensbx-images.json"  # names of images that are templates
_LAYERS = f"{_ENGINE}/image/overlay2/layerdb/sha256"
_PIECE = 1 << 20
_ZEROS = bytes(1 << 16)
# After the end of an archive mkfs.erofs reads no more than its buffers hold; one that was cut off
# is read for ever (1.8), so this many zeros tell the one from the other.
_PADDING = 8 << 20
_SPARE_BYTES = 64 << 20  # free space below which a full disk is told, before mkfs.erofs meets it
_MAX_MEMBERS = 100_000
_MAX_DOCUMENT = 4 << 20
_MAX_DOCUMENTS = 16 << 20
TIME = 1754697600  # of images, and of what mkfs.erofs makes up
_OPEN_FOLDERS = {"tmp": 0o1777, "var/tmp": 0o1777, "root": 0o700}
_SHELLS = ("/bin/sh", "/usr/bin/sh", "/busybox/sh", "/bin/bash", "/usr/bin/bash")
_MKFS = (
    "--tar=f", "--aufs", "--sort=none", "--quiet", "--mkfs-time", "--preserve-mtime",
    "-U00000000-0000-0000-0000-000000000000", f"-T{TIME}",
)  # fmt: skip
_MAGIC = {
    b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ": "xz", b"BZh": "bzip2",
}  # fmt: skip
_BUNZIP = "import bz2,shutil,sys; shutil.copyfileobj(bz2.open(sys.stdin.buffer), sys.stdout.buffer)"
_WHITEOUT = 0  # an overlay's: a character device 0/0
_OPAQUE = "trusted.overlay.opaque"


class Wrong(Exception):
    """The input is not what it should be."""


def tool(name: str, *args: str) -> list[str]:
    """A program of the runtime bundle, with the bundle's own libraries."""
    root = f"{RUNTIME}/usr"
    libraries = f"{root}/lib/x86_64-linux-gnu"
    return [f"{root}/lib64/ld-linux-x86-64.so.2", "--library-path", libraries,
            f"{root}/bin/{name}", *args]  # fmt: skip


def compression(head: bytes) -> str:
    """How bytes that begin so are compressed; empty: they are not."""
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "")


def decompressor(kind: str) -> list[str]:
    """What turns standard input into what was compressed."""
    if kind == "zstd":
        return tool("zstd", "-dcq")
    return {
        "gzip": ["gzip", "-dc"],
        "xz": ["xz", "-dc"],
        "bzip2": ["python3", "-Ic", _BUNZIP],
    }[kind]


def copy(source: int, target: int, size: int | None, digest: Any = None) -> int:
    """Move bytes between descriptors, one of which is a pipe; returns how many came."""
    done = 0
    checked = 0
    while size is None or done < size:
        count = _PIECE if size is None else min(_PIECE, size - done)
        if digest is None:
            moved = os.splice(source, target, count)
        else:
            data = os.read(source, count)
            moved = len(data)
            digest.update(data)
            _write_all(target, data)
        if not moved:
            break
        done += moved
        if done - checked >= 64 << 20:
            checked = done
            check_space()
    return done


def _write_all(target: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]


def check_space() -> None:
    """Say so before the disk is full."""
    facts = os.statvfs(WORK)
    if facts.f_bavail * facts.f_frsize < _SPARE_BYTES:
        raise Wrong("the disk of the builder is full; a larger one: sbx settings set sandbox.disk")


@contextlib.contextmanager
def opened(path: str, offset: int, size: int) -> Generator[tuple[int, int | None]]:
    """A descriptor of the uncompressed bytes in a part of a file, and how many; None: not known."""
    with open(path, "rb") as file:
        file.seek(offset)
        kind = compression(file.read(8))
        os.lseek(file.fileno(), offset, os.SEEK_SET)
        if not kind:
            yield file.fileno(), size
            return
        with subprocess.Popen(
            decompressor(kind), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            feeder = threading.Thread(target=_feed, args=(file.fileno(), child, size))
            feeder.start()
            try:
                yield child.stdout.fileno(), None
            except BaseException:
                child.kill()
                raise
            finally:
                child.stdout.close()
                feeder.join()
        if child.returncode not in (0, 2):  # gzip says 2 for something after the end
            raise Wrong(f"a layer is damaged: {kind} cannot read it")


def _feed(source: int, child: subprocess.Popen[bytes], size: int) -> None:
    assert child.stdin is not None
    with contextlib.suppress(OSError), child.stdin:
        copy(source, child.stdin.fileno(), size)


def folders(modes: dict[str, int]) -> bytes:
    """The beginning of an archive: folders of root, without the mark of its end."""
    found = b""
    for name, mode in sorted(modes.items()):
        member = tarfile.TarInfo(f"./{name}")
        member.type, member.mode, member.mtime = tarfile.DIRTYPE, mode, TIME
        found += member.tobuf(tarfile.PAX_FORMAT)
    return found


def pack(
    source: dict[str, Any], target: str, *, first: bool, strip: bool, head: bytes = b""
) -> None:
    """One archive into an image, on top of what the image holds unless it is the first.

    `head` are entries that come before those of the archive.
    """
    options = [*_MKFS]
    if not first:
        options.append("--incremental=data")
    if strip:  # nothing is below: there is nothing to be hidden
        options.append("--ovlfs-strip=1")
    digest = hashlib.sha256() if source.get("diff_id") else None
    child = subprocess.Popen(
        tool("mkfs.erofs", *options, target), stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.stderr is not None
    with contextlib.suppress(OSError):
        fcntl.fcntl(child.stdin.fileno(), fcntl.F_SETPIPE_SZ, _PIECE)
    try:
        _write_all(child.stdin.fileno(), head)
        with opened(source["path"], source["offset"], source["size"]) as (fd, size):
            whole = pour(fd, child.stdin.fileno(), size, digest)
        child.stdin.close()
    except BaseException:
        child.kill()
        child.wait()
        raise
    if not whole:
        child.kill()
    said = child.stderr.read().decode(errors="replace").strip()
    if child.wait() != 0 or not whole:
        why = said.splitlines()[0].removeprefix("<E> erofs: ") if said and whole else "it is cut"
        raise Wrong(f"a layer is not a whole archive: {why}")
    if digest is not None and f"sha256:{digest.hexdigest()}" != source["diff_id"]:
        raise Wrong("a layer is not what the image's configuration says")


def pour(source: int, target: int, size: int | None, digest: Any) -> bool:
    """Hand an archive over; whether its reader found its end."""
    try:
        copy(source, target, size, digest)
    except BrokenPipeError:
        if digest is not None:  # the reader saw the end; the digest is over everything
            while data := os.read(source, _PIECE):
                digest.update(data)
        return True
    try:
        for _ in range(_PADDING // len(_ZEROS)):
            _write_all(target, _ZEROS)
    except BrokenPipeError:
        return True
    return False


def shells(tree: str) -> list[str]:
    """Which of the usual shells a file system holds; a link counts, wherever it leads."""
    return [path for path in _SHELLS if os.path.lexists(tree + path)]


def made_up(tree: str) -> dict[str, int]:
    """Folders that mkfs.erofs made up, because an archive lacks them, and the modes for them.

    They would hide the owner and the mode that the folder has in a layer below, so they should be
    rare; mkfs.erofs leaves them open to everybody.
    """
    done = subprocess.run(
        ["find", tree, "-mindepth", "1", "-type", "d", "-perm", "0777", "-printf", "%T@ %P\\0"],
        capture_output=True, check=True,
    )  # fmt: skip
    rows = (row.partition(b" ") for row in done.stdout.split(b"\0") if row)
    names = [os.fsdecode(name) for at, _, name in rows if at.split(b".")[0] == b"%d" % TIME]
    return {name: _OPEN_FOLDERS.get(name, 0o755) for name in names}


def hand_out(image: str) -> int:
    """Copy an image to where the host finds it; its size."""
    size = os.stat(image).st_size
    target = f"{OUT}/{IMAGE}"
    subprocess.run(
        ["dd", f"if={image}", f"of={target}", "bs=1M", "oflag=direct", "status=none"], check=True
    )
    os.unlink(image)
    return size


def fresh() -> str:
    """The path for a new image."""
    os.makedirs(WORK, exist_ok=True)
    image = f"{WORK}/{IMAGE}"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(image)
    return image


def do_pack(args: dict[str, Any]) -> dict[str, Any]:
    """Archives, lowest first, into one layer."""
    image = fresh()
    sources: Sequence[dict[str, Any]] = args["sources"]
    for number, source in enumerate(sources):
        check_space()
        # The top folder of a layer counts for nothing, but mkfs.erofs leaves it open to everybody.
        head = folders({"": 0o755}) if number == 0 else b""
        pack(source, image, first=number == 0, strip=args["strip"], head=head)
    with mounted(image, "erofs", 0) as tree:
        found, modes = shells(tree), made_up(tree)
    if modes:
        with tempfile.NamedTemporaryFile(dir=WORK) as file:
            file.write(folders(modes) + bytes(1024))
            file.flush()
            size = os.stat(file.name).st_size
            pack({"path": file.name, "offset": 0, "size": size}, image, first=False, strip=False)
    return {"shells": found, "size": hand_out(image)}


def do_list(args: dict[str, Any]) -> dict[str, Any]:
    """The members of an archive, and the documents among them."""
    path: str = args["path"]
    with open(path, "rb") as file:
        head = file.read(8)
    if compression(head):
        path = _unpack(path)
    try:
        return {"path": path, **_members(path)}
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise Wrong(f"it is not a whole tar archive: {error}") from error


def _unpack(path: str) -> str:
    os.makedirs(WORK, exist_ok=True)
    target = f"{WORK}/{_UNPACKED}"
    with open(target, "wb") as out, opened(path, 0, os.stat(path).st_size) as (fd, _size):
        while os.splice(fd, out.fileno(), _PIECE):
            check_space()
    return target


def _members(path: str) -> dict[str, Any]:
    files: dict[str, tuple[int, int]] = {}
    links: dict[str, str] = {}
    documents: dict[str, str] = {}
    taken = 0
    with tarfile.open(path, mode="r:") as tar, open(path, "rb") as raw:
        end = os.stat(path).st_size
        for member in tar:
            name = posixpath.normpath(member.name)
            if len(files) + len(links) > _MAX_MEMBERS:
                raise Wrong("it has too many members")
            if member.issym():
                links[name] = posixpath.normpath(
                    posixpath.join(posixpath.dirname(name), member.linkname)
                )
            elif member.islnk():
                links[name] = posixpath.normpath(member.linkname)
            if not member.isreg():
                continue
            if member.offset_data + member.size > end:
                raise Wrong("it is cut off")
            files[name] = (member.offset_data, member.size)
            if member.size <= _MAX_DOCUMENT and taken + member.size <= _MAX_DOCUMENTS:
                raw.seek(member.offset_data)
                if raw.read(1) in (b"{", b"["):
                    raw.seek(member.offset_data)
                    documents[name] = base64.b64encode(raw.read(member.size)).decode()
                    taken += member.size
    return {"files": files, "links": links, "documents": documents}


def loop_device(number: int) -> str:
    """The path of a loop device; the sandbox's /dev has none by itself."""
    for name, mode, major, minor in (
        ("loop-control", stat.S_IFCHR, 10, 237),
        (f"loop{number}", stat.S_IFBLK, 7, number),
    ):
        with contextlib.suppress(FileExistsError):
            os.mknod(f"/dev/{name}", 0o600 | mode, os.makedev(major, minor))
    return f"/dev/loop{number}"


@contextlib.contextmanager
def mounted(path: str, kind: str, number: int) -> Generator[str]:
    """A file as a file system, read-only."""
    device = loop_device(number)
    place = f"{WORK}/mount{number}"
    os.makedirs(place, exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", kind, "-o", f"ro,loop={device}", path, place],
        capture_output=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise Wrong(
            "the disk of the sandbox was not left in order: start the sandbox once and stop it"
            if kind == "ext4"
            else f"a layer cannot be mounted: {done.stderr.decode(errors='replace').strip()}"
        )
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def is_whiteout(path: str) -> bool:
    """Whether an overlay's upper folder says here that a file below is gone."""
    facts = os.lstat(path)
    return stat.S_ISCHR(facts.st_mode) and facts.st_rdev == _WHITEOUT


def is_opaque(path: str) -> bool:
    """Whether it says that nothing of the folder below is seen."""
    try:
        return os.getxattr(path, _OPAQUE, follow_symlinks=False) == b"y"
    except OSError:
        return False


def merge(upper: str, below: str) -> None:
    """Put an overlay's upper folder over another one, which keeps the form of an upper folder."""
    _copy_facts(upper, below)
    for name in sorted(os.listdir(upper)):
        source, target = f"{upper}/{name}", f"{below}/{name}"
        there = os.path.lexists(target)
        if there and _is_folder(source) and _is_folder(target) and not is_opaque(source):
            merge(source, target)
            continue
        if there:
            subprocess.run(["rm", "-rf", "--", target], check=True)
        subprocess.run(["cp", "-a", "--", source, target], check=True)


def _is_folder(path: str) -> bool:
    return stat.S_ISDIR(os.lstat(path).st_mode)


def _copy_facts(source: str, target: str) -> None:
    """Owner, mode, times and attributes of a folder."""
    facts = os.lstat(source)
    os.chown(target, facts.st_uid, facts.st_gid)
    os.chmod(target, stat.S_IMODE(facts.st_mode))
    for name in os.listxattr(source):
        if name != "trusted.overlay.origin":
            with contextlib.suppress(OSError):
                os.setxattr(target, name, os.getxattr(source, name))
    os.utime(target, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def do_upper(args: dict[str, Any]) -> dict[str, Any]:
    """What a stopped sandbox changed, with the layers under it that go along, into one layer."""
    image = fresh()
    with contextlib.ExitStack() as stack:
        disk = stack.enter_context(mounted(args["disk"], "ext4", 0))
        tree = f"{disk}/upper"
        if args["layers"]:
            places = [
                stack.enter_context(mounted(path, "erofs", number))
                for number, path in enumerate(args["layers"], 1)
            ]
            whole = f"{WORK}/merged"
            os.makedirs(whole)
            for place in (*places, tree):
                merge(place, whole)
            tree = whole
        _pack_tree(tree, image)
        found = shells(tree)
    return {"shells": found, "size": hand_out(image)}


def _pack_tree(tree: str, image: str) -> None:
    options = ("--quiet", "--preserve-mtime", "--mkfs-time", *_MKFS[-2:])
    done = subprocess.run(
        tool("mkfs.erofs", *options, image, tree), capture_output=True, check=False
    )
    if done.returncode != 0:
        raise Wrong(f"it cannot be packed: {done.stderr.decode(errors='replace').strip()[-500:]}")


def do_export(args: dict[str, Any]) -> dict[str, Any]:
    """All layers of a template as one tar archive, where the host finds it."""
    os.makedirs(WORK, exist_ok=True)
    with contextlib.ExitStack() as stack:
        places = [
            stack.enter_context(mounted(path, "erofs", number))
            for number, path in enumerate(args["layers"])
        ]
        tree = places[0]
        if len(places) > 1:
            tree = f"{WORK}/whole"
            os.makedirs(tree, exist_ok=True)
            lower = ":".join(reversed(places))
            subprocess.run(
                ["mount", "-t", "overlay", "-o", f"ro,lowerdir={lower}", "overlay", tree],
                check=True,
            )
            stack.callback(subprocess.run, ["umount", tree], check=True)
        with open(f"{OUT}/layer.tar", "wb") as out:
            made = subprocess.Popen(
                ["tar", "--create", "--format=posix", "--xattrs", "--xattrs-exclude=trusted.*",
                 "--numeric-owner", f"--directory={tree}", "."],
                stdout=subprocess.PIPE,
            )  # fmt: skip
            assert made.stdout is not None
            while data := made.stdout.read(_PIECE):
                out.write(data)
            if made.wait() != 0:
                raise Wrong("the template cannot be archived")
    return {"size": os.stat(f"{OUT}/layer.tar").st_size}


def do_prepare(args: dict[str, Any]) -> dict[str, Any]:
    """Make templates known to the Docker engine, before it starts: `FROM` finds them as its own.

    A layer is mounted where the engine's overlay2 driver has the files of one, so nothing is
    copied: both have the form of an overlay's upper folder.
    """
    loops = 0
    _forget_images()
    for image in args["images"]:
        parents: list[str] = []
        chain = ""
        for layer in image["layers"]:
            diff = f"sha256:{layer['digest']}"
            chain = _digest(f"{chain} {diff}") if chain else diff
            _engine_layer(chain, diff, layer["path"], parents, loops)
            parents.insert(0, chain)
            loops += 1
        _engine_image(image)
    return {}


def _engine_layer(chain: str, diff: str, path: str, parents: list[str], loop: int) -> None:
    name = hashlib.sha256(chain.encode()).hexdigest()
    place = f"{_ENGINE}/overlay2/{name}"
    os.makedirs(f"{place}/diff", exist_ok=True)
    os.makedirs(f"{_ENGINE}/overlay2/l", exist_ok=True)
    short = _short(chain)
    if not os.path.lexists(f"{_ENGINE}/overlay2/l/{short}"):
        os.symlink(f"../{name}/diff", f"{_ENGINE}/overlay2/l/{short}")
    _put(f"{place}/link", short)
    _put(f"{place}/committed", "")
    about = f"{_LAYERS}/{chain.removeprefix('sha256:')}"
    os.makedirs(about, exist_ok=True)
    if parents:
        os.makedirs(f"{place}/work", exist_ok=True)
        _put(f"{place}/lower", ":".join(f"l/{_short(parent)}" for parent in parents))
        _put(f"{about}/parent", parents[0])
    _put(f"{about}/cache-id", name)
    _put(f"{about}/diff", diff)
    _put(f"{about}/size", "0")
    with gzip.open(f"{about}/tar-split.json.gz", "wb"):
        pass
    if not os.path.ismount(f"{place}/diff"):
        device = loop_device(loop)
        subprocess.run(
            ["mount", "-t", "erofs", "-o", f"ro,loop={device}", path, f"{place}/diff"], check=True
        )


def _forget_images() -> None:
    """Take away the names of what earlier builds started from: nothing is mounted there now."""
    with contextlib.suppress(FileNotFoundError), open(_OURS) as file:
        ours: list[str] = json.load(file)
        known = _known_images()
        for tag in ours:
            known.get(tag.rpartition(":")[0], {}).pop(tag, None)
        _put(_REPOSITORIES, json.dumps({"Repositories": {k: v for k, v in known.items() if v}}))
        _put(_OURS, "[]")


def _known_images() -> dict[str, dict[str, str]]:
    """The names of the engine's images, by repository."""
    with contextlib.suppress(FileNotFoundError), open(_REPOSITORIES) as file:
        found: dict[str, dict[str, str]] = json.load(file).get("Repositories") or {}
        return found
    return {}


def _engine_image(image: dict[str, Any]) -> None:
    config: bytes = image["config"].encode()
    name = hashlib.sha256(config).hexdigest()
    folder = f"{_ENGINE}/image/overlay2/imagedb/content/sha256"
    os.makedirs(folder, exist_ok=True)
    _put(f"{folder}/{name}", image["config"])
    known = _known_images()
    ours: list[str] = []
    with contextlib.suppress(FileNotFoundError), open(_OURS) as file:
        ours = json.load(file)
    _put(_OURS, json.dumps([*ours, *image["tags"]]))
    for tag in image["tags"]:
        known.setdefault(tag.rpartition(":")[0], {})[tag] = f"sha256:{name}"
    _put(_REPOSITORIES, json.dumps({"Repositories": known}))


def do_built(args: dict[str, Any]) -> dict[str, Any]:
    """What the engine built: how it is run, the layers of ours below, and folders of the others."""
    done = subprocess.run(
        ["docker", "image", "inspect", args["tag"]], capture_output=True, check=True
    )
    found = json.loads(done.stdout)[0]
    below: list[str] = []
    folders: list[str] = []
    chain = ""
    for diff in found["RootFS"]["Layers"]:
        chain = _digest(f"{chain} {diff}") if chain else diff
        digest = diff.removeprefix("sha256:")
        if digest in args["known"] and not folders:
            below.append(digest)
            continue
        with open(f"{_LAYERS}/{chain.removeprefix('sha256:')}/cache-id") as file:
            folders.append(f"{_ENGINE}/overlay2/{file.read().strip()}/diff")
    return {"image": found, "below": below, "folders": folders}


def do_folders(args: dict[str, Any]) -> dict[str, Any]:
    """Folders of the engine's layers, lowest first, into one layer; `bottom`: nothing is below."""
    image = fresh()
    places: list[str] = args["folders"]
    whole = f"{WORK}/merged"
    subprocess.run(["rm", "-rf", whole], check=True)
    with contextlib.ExitStack() as stack:
        tree = places[0]
        if len(places) > 1:
            os.makedirs(whole)
            tree = whole
        if len(places) > 1 and args["bottom"]:
            lower = ":".join(reversed(places))
            options = f"ro,lowerdir={lower}"
            subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", whole], check=True)
            stack.callback(subprocess.run, ["umount", whole], check=True)
        elif len(places) > 1:
            for place in places:
                merge(place, whole)
        _pack_tree(tree, image)
        found = shells(tree)
    subprocess.run(["rm", "-rf", whole], check=True)
    return {"shells": found, "size": hand_out(image)}


def _put(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _short(chain: str) -> str:
    """The engine's short name of a layer: 26 capital letters and digits."""
    return base64.b32encode(hashlib.sha256(chain.encode()).digest()).decode()[:26]


VERBS = {
    "list": do_list,
    "pack": do_pack,
    "upper": do_upper,
    "export": do_export,
    "prepare": do_prepare,
    "built": do_built,
    "folders": do_folders,
}


def main(verb: str, text: str) -> int:
    """What the standard input of Python inside runs."""
    try:
        answer = VERBS[verb](json.loads(text))
    except Wrong as error:
        print(error, file=sys.stderr)
        return WRONG
    json.dump(answer, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
