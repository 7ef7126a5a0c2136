# SPDX-License-Identifier: Apache-2.0
"""The gate's helper: starts the file server's jail under a filter and answers for its calls.

`gate.py` starts it with an interpreter of its own, as `main(CONFIG_FD, PROGRAM...)`; it imports as
little as it can, since its resident memory counts. The configuration is `key=value` with a NUL
after each:

    machine=x86_64            as in uname(2)
    filter=HEX                the program to load before PROGRAM starts
    root=/run/share/          where the share is for the server
    git=0                     a mount in which git's own files are guarded
    fixed=0/conf/.env         a place that is read-only, whatever is there
    cover=DEVICE:INODE        what may be seen under a masked name
    mask=0|+|1|EXPRESSION     of a mount: + or - (masked or not), whether it is about a path

It ends with the program and as it ended. If it dies, the calls fail: nothing passes unseen.
"""

from __future__ import annotations

import _socket as socket  # `socket` itself costs 1.3 MB more
import array
import ctypes
import errno
import fcntl
import os
import select
import stat
import struct
import sys
from collections.abc import Sequence

from sbx.workspace.gate import calls, rules

_RECV, _SEND, _ADDFD, _SET_FLAGS = 0xC0502100, 0xC0182101, 0x40182103, 0x40082104
_SYNC_WAKE_UP = 1
_CALL = struct.Struct("=QII iI Q 6Q")  # struct seccomp_notif
_ANSWER = struct.Struct("=Q q i I")  # struct seccomp_notif_resp
_GIVE = struct.Struct("=Q I I I I")  # struct seccomp_notif_addfd
_CONTINUE, _AND_ANSWER = 1, 2  # flags of the two
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_SIGKILL = 9
_SET_MODE_FILTER, _NEW_LISTENER = 1, 1 << 3
_AT_FDCWD = -100
_NAME_BYTES = 4096
_MAX_WORDS = 200  # refusals in the log
_MAX_BELOW = 20_000  # entries that are looked at before a folder with masked names is renamed
_PROC, _PROC_FDS = b"/proc/", b"/fd"

Place = tuple[int, list[bytes]]  # number of the mount, and the path in it


class Gate:
    """What is asked of the helper, and the answers."""

    def __init__(self, config: bytes) -> None:
        self.machine = ""
        self.program = b""
        self._root = b""
        self._guarded: set[int] = set()
        self._fixed: set[bytes] = set()
        self._covers: set[tuple[int, int]] = set()
        self._masks: dict[int, rules.Masks] = {}
        self._words = _MAX_WORDS
        for item in config.split(b"\0"):
            key, _, value = item.partition(b"=")
            self._read(key, value)
        self._calls = calls.numbers(self.machine)

    def _read(self, key: bytes, value: bytes) -> None:
        if key == b"machine":
            self.machine = value.decode()
        elif key == b"filter":
            self.program = bytes.fromhex(value.decode())
        elif key == b"root":
            self._root = value
        elif key == b"git":
            self._guarded.add(int(value))
        elif key == b"fixed":
            self._fixed.add(value)
        elif key == b"cover":
            device, _, inode = value.partition(b":")
            self._covers.add((int(device), int(inode)))
        elif key == b"mask":
            number, sign, has_path, expression = value.split(b"|", 3)
            masks = self._masks.setdefault(int(number), rules.Masks())
            masks.add(os.fsdecode(expression), include=sign == b"+", has_path=has_path == b"1")

    def answer(self, listener: int) -> None:
        """Take one call and answer it."""
        buffer = bytearray(_CALL.size)
        try:
            fcntl.ioctl(listener, _RECV, buffer)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINTR):  # the caller is gone
                return
            raise
        fields = _CALL.unpack(buffer)
        ident, pid, number, args = fields[0], fields[1], fields[3], fields[6:]
        given = -1
        try:
            refused, given = self._judge(pid, self._calls[number], args)
        except (OSError, ValueError, KeyError) as error:  # what cannot be judged is refused
            self._say(f"cannot judge: {error!r}")
            refused = errno.EPERM
        try:
            if given >= 0:
                item = bytearray(_GIVE.pack(ident, _AND_ANSWER, given, 0, os.O_CLOEXEC))
                fcntl.ioctl(listener, _ADDFD, item)
            else:
                flags = 0 if refused else _CONTINUE
                fcntl.ioctl(listener, _SEND, bytearray(_ANSWER.pack(ident, 0, -refused, flags)))
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
        finally:
            if given >= 0:
                os.close(given)

    def _judge(self, pid: int, call: int, args: Sequence[int]) -> tuple[int, int]:
        """The number of an error or 0, and a descriptor to give instead or -1."""
        if call in (calls.RENAMEAT, calls.RENAMEAT2):
            return self._rename(pid, args), -1
        if call == calls.LINKAT:
            return self._link(pid, args), -1
        if call == calls.SYMLINKAT:
            place = self._place(pid, args[1], _text(pid, args[2]))
            if place is not None and self._is_guarded(place) and rules.refuses_link(place[1]):
                return self._refuse("link", place), -1
            return self._change(pid, place, "link", is_folder=False), -1
        name = _text(pid, args[1])
        if call == calls.OPENAT:
            return self._open(pid, args[0], name, args[2])
        place = self._place(pid, args[0], name)
        is_folder = call == calls.MKDIRAT
        if call == calls.UNLINKAT:
            is_folder = args[2] != 0  # AT_REMOVEDIR
        return self._change(pid, place, "change", is_folder=is_folder), -1

    def _open(self, pid: int, folder: int, name: bytes, flags: int) -> tuple[int, int]:
        if flags & calls.PATH:
            return self._look(pid, folder, name)
        held = _held(pid, folder, name)
        if held is None:
            place = self._place(pid, folder, name)
            return self._change(pid, place, "make", is_folder=False), -1
        place = self._parse(_link_text(pid, held))  # one that the guest knows is opened to write
        return self._change(pid, place, "write", is_folder=False, is_new=False), -1

    def _look(self, pid: int, folder: int, name: bytes) -> tuple[int, int]:
        """A masked name leads to what covers it, or to nothing."""
        place = self._place(pid, folder, name)
        if place is None or not place[1] or place[0] not in self._masks:
            return 0, -1
        if not any(self.is_masked(place, is_folder=kind) for kind in (False, True)):
            return 0, -1
        try:
            fd = os.open(_beside(pid, folder, name), os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            return error.errno or errno.ENOENT, -1
        try:
            facts = os.fstat(fd)
            if not self.is_masked(place, is_folder=stat.S_ISDIR(facts.st_mode)):
                return 0, -1
            if (facts.st_dev, facts.st_ino) not in self._covers:
                return self._refuse("see", place, errno.ENOENT), -1
            # What was looked at is what is given: a rename in between changes nothing.
            return 0, os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.close(fd)

    def _change(
        self, pid: int, place: Place | None, what: str, *, is_folder: bool, is_new: bool = True
    ) -> int:
        if place is None or not place[1]:
            return 0
        if self._is_fixed(place) or self.is_masked(place, is_folder=is_folder):
            return self._refuse(what, place)
        if self._is_guarded(place) and rules.refuses(
            place[1], is_new=is_new, exists=self._exists(pid, place[0])
        ):
            return self._refuse(what, place)
        return 0

    def _rename(self, pid: int, args: Sequence[int]) -> int:
        old_name, new_name = _text(pid, args[1]), _text(pid, args[3])
        old, new = self._place(pid, args[0], old_name), self._place(pid, args[2], new_name)
        if old is None or new is None:
            return 0
        mode = os.stat(_beside(pid, args[0], old_name), follow_symlinks=False).st_mode
        is_folder = stat.S_ISDIR(mode)
        for place in (old, new):
            refused = self._change(pid, place, "rename", is_folder=is_folder)
            if refused:
                return refused
        if (
            not stat.S_ISREG(mode)
            and self._is_guarded(new)
            and rules.refuses_rename(old[1], new[1], self._exists(pid, new[0]))
        ):
            return self._refuse("rename", new)
        if is_folder and self._hides_below(pid, old, _beside(pid, args[0], old_name)):
            return self._refuse("rename", old)
        return 0

    def _link(self, pid: int, args: Sequence[int]) -> int:
        name = _text(pid, args[1])
        held = _signed(args[0]) if not name else _held(pid, args[0], name)
        if held is None:
            old = self._place(pid, args[0], name)
        else:
            old = self._parse(_link_text(pid, held))
        new = self._place(pid, args[2], _text(pid, args[3]))
        return self._change(pid, old, "link", is_folder=False, is_new=False) or self._change(
            pid, new, "link", is_folder=False
        )

    def _hides_below(self, pid: int, place: Place, path: bytes) -> bool:
        """Whether something in a folder is masked by its path, which a rename would change."""
        masks = self._masks.get(place[0])
        if masks is None or not masks.has_paths:
            return False
        count, queue = 0, [(path, place[1])]
        while queue:
            folder, parts = queue.pop()
            with os.scandir(folder) as entries:
                for entry in entries:
                    count += 1
                    below = [*parts, entry.name]
                    is_folder = entry.is_dir(follow_symlinks=False)
                    if count > _MAX_BELOW or self.is_masked((place[0], below), is_folder=is_folder):
                        return True
                    if is_folder:
                        queue.append((entry.path, below))
        return False

    def _is_fixed(self, place: Place) -> bool:
        return b"/".join([str(place[0]).encode(), *place[1]]) in self._fixed

    def is_masked(self, place: Place, *, is_folder: bool) -> bool:
        masks = self._masks.get(place[0])
        if masks is None:
            return False
        return masks.match(os.fsdecode(b"/".join(place[1])), is_folder=is_folder)

    def _is_guarded(self, place: Place) -> bool:
        return place[0] in self._guarded and bool(place[1])

    def _exists(self, pid: int, mount: int) -> rules.Exists:
        top = b"/proc/%d/root%s%d" % (pid, self._root, mount)

        def exists(parts: Sequence[bytes]) -> bool:
            try:
                os.stat(b"/".join([top, *parts]), follow_symlinks=False)
            except (FileNotFoundError, NotADirectoryError):
                return False
            return True

        return exists

    def _place(self, pid: int, folder: int, name: bytes) -> Place | None:
        """Where a name in a folder of the server's is; None if that is not in the share."""
        number = _signed(folder)
        if number == _AT_FDCWD:  # the jail's own start
            return None
        path = _link_text(pid, number)
        if name in (b".", b".."):  # looked up, but nothing is made or removed under these names
            return None
        return self._parse(path + b"/" + name if name else path)

    def _parse(self, path: bytes) -> Place | None:
        if not path.startswith(self._root):
            return None
        mount, *parts = path[len(self._root) :].split(b"/")
        return (int(mount), parts) if mount.isdigit() else None

    def _refuse(self, what: str, place: Place, error: int = errno.EPERM) -> int:
        self._say(f"refused to {what} {ascii(b'/'.join(place[1]))[2:-1]}")
        return error

    def _say(self, words: str) -> None:
        if self._words > 0:
            self._words -= 1
            os.write(2, f"gate: {words}\n".encode())


def _signed(value: int) -> int:
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value & (1 << 31) else value


def _text(pid: int, address: int) -> bytes:
    """A name in the memory of the caller."""
    fd = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        text, end, _ = os.pread(fd, _NAME_BYTES, address).partition(b"\0")
    finally:
        os.close(fd)
    if not end:
        raise ValueError("a name without an end")
    return text


def _link_text(pid: int, fd: int) -> bytes:
    return os.readlink(b"/proc/%d/fd/%d" % (pid, fd))


def _held(pid: int, folder: int, name: bytes) -> int | None:
    """The descriptor that a name in /proc/self/fd means."""
    if not name.isdigit():
        return None
    number = _signed(folder)
    if number == _AT_FDCWD:
        return None
    path = _link_text(pid, number)
    return int(name) if path.startswith(_PROC) and path.endswith(_PROC_FDS) else None


def _beside(pid: int, folder: int, name: bytes) -> bytes:
    return b"/proc/%d/fd/%d/%s" % (pid, _signed(folder), name)


def main(arguments: Sequence[str]) -> None:
    """Run the program until its end."""
    with open(int(arguments[0]), "rb") as file:
        file.seek(0)
        gate = Gate(file.read())
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if child == 0:
        try:
            ours.close()
            _start(gate, theirs, arguments[1:])
        finally:
            os._exit(127)
    theirs.close()
    keep = ours.fileno()
    os.closerange(3, keep)
    os.closerange(keep + 1, 4096)
    listener = _receive(ours)
    ours.close()
    if listener >= 0:
        _serve(gate, listener, child)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _start(gate: Gate, sock: socket.socket, program: Sequence[str]) -> None:
    """In the child: load the filter, hand the listener over, become the program."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    steps = ctypes.create_string_buffer(gate.program, len(gate.program))
    address = ctypes.addressof(steps)
    wanted = struct.pack("=H6xQ", len(gate.program) // 8, address)  # struct sock_fprog
    listener = libc.syscall(
        calls.seccomp_number(gate.machine), _SET_MODE_FILTER, _NEW_LISTENER, wanted
    )
    if listener < 0:
        number = ctypes.get_errno()
        os.write(2, f"gate: no filter: {os.strerror(number)}\n".encode())
        os._exit(126)
    rights = array.array("i", [listener])
    sock.sendmsg([b"listener"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    sock.close()
    os.close(listener)
    os.execvp(program[0], list(program))  # noqa: S606 - no shell


def _receive(sock: socket.socket) -> int:
    _, ancillary, _, _ = sock.recvmsg(64, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
    for _, _, payload in ancillary:
        return array.array("i", payload)[0]
    return -1


def _serve(gate: Gate, listener: int, child: int) -> None:
    """Answer until the program has ended."""
    try:
        fcntl.ioctl(listener, _SET_FLAGS, _SYNC_WAKE_UP)  # a quarter faster, since Linux 6.6
    except OSError:
        pass
    ended = os.pidfd_open(child)
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    poll.register(ended, select.POLLIN)
    while True:
        for fd, event in poll.poll():
            if fd == ended:
                return
            if event & select.POLLIN:
                gate.answer(listener)
            else:  # nobody is left under the filter
                poll.unregister(listener)


if __name__ == "__main__":
    main(sys.argv[1:])
