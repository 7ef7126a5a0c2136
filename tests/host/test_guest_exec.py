# SPDX-License-Identifier: Apache-2.0
"""The real guest session code against the real client: bytes, ends, windows, terminals."""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import os
import random
import signal
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from sbx.agent.pump import EndKind, ExecEnd, Resize, Signal, Streams
from sbx.agent.session import ExecRequest, Session, Terminal
from sbx.protocol.frames import WINDOW_BYTES, FrameType, encode_frame
from sbx.protocol.session import encode_open
from tests.kit.guest import Guest, run_guest, run_over

if os.geteuid() != 0:
    pytest.skip("needs root: commands change their user", allow_module_level=True)


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    with run_guest("here", tmp_path_factory.mktemp("guest")) as found:
        yield found


class Script:
    """Controls that a test feeds."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        self._items: list[Resize | Signal] = []

    def give(self, item: Resize | Signal) -> None:
        self._items.append(item)
        os.write(self._write, b"x")

    def fileno(self) -> int:
        return self._read

    def take(self) -> Sequence[Resize | Signal]:
        os.read(self._read, 1)
        return [self._items.pop(0)]

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)


@pytest.fixture
def script() -> Iterator[Script]:
    found = Script()
    yield found
    found.close()


class Peer:
    """The client's streams as descriptors, for tests that act while the command runs."""

    def __init__(self, guest: Guest) -> None:
        self.sock = guest.connect()
        self.stdin_read, self.stdin = os.pipe()
        self.stdout, self.stdout_write = os.pipe()
        self._end: ExecEnd | None = None
        self._thread: threading.Thread | None = None

    def start(
        self,
        request: ExecRequest,
        *,
        controls: Script | None = None,
        keys: bytes = b"",
        close: bool = False,
    ) -> None:
        streams = Streams(
            stdin=self.stdin_read,
            stdout=self.stdout_write,
            stderr=self.stdout_write,
            close_outputs=close,
        )

        def work() -> None:
            self._end = Session(self.sock).exec(
                request, streams, controls=controls, detach_keys=keys
            )

        self._thread = threading.Thread(target=work)
        self._thread.start()

    def read_until(self, token: bytes) -> bytes:
        data = b""
        while token not in data:
            part = os.read(self.stdout, 4096)
            assert part, f"ended before {token!r}: {data!r}"
            data += part
        return data

    def end(self) -> ExecEnd:
        assert self._thread is not None
        self._thread.join()
        assert self._end is not None
        return self._end


@pytest.fixture
def peer(guest: Guest) -> Iterator[Peer]:
    found = Peer(guest)
    yield found
    for fd in (found.stdin_read, found.stdout, found.stdout_write):
        os.close(fd)
    found.sock.close()


def noise(size: int) -> bytes:
    return random.Random(7).randbytes(size)  # noqa: S311 - reproducible bytes, not a secret


def test_100_mb_both_ways(guest: Guest) -> None:
    data = noise(100 << 20)
    ran = guest.run("cat", stdin=data)
    assert ran.end == ExecEnd(kind=EndKind.EXITED, status=0)
    assert len(ran.stdout) == len(data)
    assert hashlib.sha256(ran.stdout).digest() == hashlib.sha256(data).digest()


def test_stdout_and_stderr_are_apart_and_exact(guest: Guest) -> None:
    ran = guest.run("sh", "-c", "printf 'a\\000\\377'; printf 'b\\r\\n' >&2")
    assert (ran.stdout, ran.stderr) == (b"a\0\xff", b"b\r\n")


def test_arguments_come_verbatim(guest: Guest) -> None:
    odd = ["", "a b", "$HOME", "'", '"', "\n", "-n", os.fsdecode(b"\xff\xfe"), "*", "\\"]
    ran = guest.run("printf", "%s\\0", *odd)
    assert ran.stdout == b"".join(os.fsencode(item) + b"\0" for item in odd)


def test_20_at_once_do_not_mix(guest: Guest) -> None:
    def one(number: int) -> tuple[bytes, bytes]:
        data = bytes([number]) * (300_000 + number)
        return data, guest.run("cat", stdin=data).stdout

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        for sent, received in pool.map(one, range(20)):
            assert received == sent


@pytest.mark.parametrize("status", [0, 1, 37, 255])
def test_exit_status(guest: Guest, status: int) -> None:
    assert guest.run("sh", "-c", f"exit {status}").end.exit_status == status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
def test_the_end_by_a_signal(guest: Guest, number: signal.Signals) -> None:
    end = guest.run("sh", "-c", f"kill -{number.value} $$").end
    assert (end.kind, end.signal) == (EndKind.SIGNALED, number)
    assert end.exit_status == 128 + number


@pytest.mark.parametrize(
    ("argv", "status", "text"),
    [
        (("no-such-program",), 127, 'exec: "no-such-program": executable file not found in $PATH'),
        (("/no/such",), 127, 'exec: "/no/such": stat /no/such: no such file or directory'),
        (("/etc/passwd",), 126, 'exec: "/etc/passwd": permission denied'),
        (("/etc",), 126, 'exec: "/etc": permission denied'),
        (("",), 127, 'exec: "": executable file not found in $PATH'),
    ],
)
def test_what_cannot_be_run(guest: Guest, argv: tuple[str, ...], status: int, text: str) -> None:
    end = guest.run(*argv).end
    assert (end.kind, end.exit_status) == (EndKind.FAILED, status)
    prefix = "OCI runtime exec failed: exec failed: unable to start container process: "
    assert end.message == prefix + text


def test_a_script_without_an_interpreter_line(guest: Guest, tmp_path: Path) -> None:
    script = tmp_path / "x"
    script.write_bytes(b"\0\1\2")
    script.chmod(0o755)
    tmp_path.chmod(0o755)
    end = guest.run(str(script)).end
    assert (end.exit_status, end.message is not None and "exec format error" in end.message) == (
        126,
        True,
    )


@pytest.mark.parametrize(
    ("request_", "status", "text"),
    [
        (ExecRequest(argv=("true",), workdir="/no/such"), 127, 'chdir to cwd ("/no/such") failed'),
        (ExecRequest(argv=("true",), workdir="/etc/passwd"), 126, "not a directory"),
        (ExecRequest(argv=("true",), user="nobody-such"), 126, "unable to find user nobody-such"),
        (ExecRequest(argv=("true",), user="0:no-group"), 126, "unable to find group no-group"),
    ],
)
def test_where_and_who_must_exist(
    guest: Guest, request_: ExecRequest, status: int, text: str
) -> None:
    end = guest.run(request=request_).end
    assert (end.kind, end.exit_status) == (EndKind.FAILED, status)
    assert end.message is not None
    assert text in end.message


def test_user_group_folder_and_environment(guest: Guest) -> None:
    request = ExecRequest(
        argv=("sh", "-c", 'id -u; id -g; id -G; pwd; echo "$A|$HOME|$PATH"'),
        user="1234:5678",
        workdir="/usr",
        env={"A": "b c"},
    )
    lines = guest.run(request=request).stdout.decode().splitlines()
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert lines == ["1234", "5678", "5678", "/usr", f"b c|/|{path}"]


def test_nothing_of_the_agent_is_inherited(guest: Guest) -> None:
    text = (
        "cat /proc/self/oom_score_adj; grep -E '^Sig(Blk|Ign)' /proc/self/status; "
        "ls /proc/self/fd | wc -l"
    )
    lines = guest.run("sh", "-c", text).stdout.decode().split()
    assert lines[0] == "0"
    assert lines[1:5] == ["SigBlk:", "0" * 16, "SigIgn:", "0" * 16]
    assert lines[5] == "4"  # three streams, and the folder that ls reads


def test_without_stdin_there_is_null(guest: Guest) -> None:
    ran = guest.run(request=ExecRequest(argv=("readlink", "/proc/self/fd/0"), stdin=False))
    assert ran.stdout == b"/dev/null\n"


def test_a_command_that_never_reads_still_hears_a_signal(guest: Guest, script: Script) -> None:
    ready, tell = os.pipe()
    with guest.connect() as sock:
        done: list[ExecEnd] = []

        def work() -> None:
            request = ExecRequest(
                argv=("sh", "-c", "trap 'exit 5' USR1; echo up; while :; do sleep 1; done")
            )
            end = Session(sock).exec(
                request, Streams(stdin=zero, stdout=tell, stderr=tell), controls=script
            )
            done.append(end)

        zero = os.open("/dev/zero", os.O_RDONLY)
        thread = threading.Thread(target=work)
        thread.start()
        assert os.read(ready, 3) == b"up\n"
        script.give(Signal(number=signal.SIGUSR1))
        thread.join()
        for fd in (zero, ready, tell):
            os.close(fd)
    assert done[0].exit_status == 5


def test_more_than_the_window_ends_the_session(guest: Guest) -> None:
    with guest.connect() as sock:
        sock.sendall(encode_open(ExecRequest(argv=("sleep", "60"))))
        assert sock.recv(5)[0] == FrameType.STARTED
        chunk = encode_frame(FrameType.STDIN, b"x" * 65536)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(8 * WINDOW_BYTES // len(chunk)):
                sock.sendall(chunk)
            while sock.recv(4096):
                pass


def test_the_end_of_stdin_alone(guest: Guest) -> None:
    ran = guest.run("sh", "-c", "cat; echo after", stdin=b"before\n")
    assert ran.stdout == b"before\nafter\n"


def test_a_command_that_closes_stdin_early(guest: Guest) -> None:
    ran = guest.run("sh", "-c", "exec <&-; sleep 0.2; echo done", stdin=noise(1 << 20))
    assert (ran.stdout, ran.end.exit_status) == (b"done\n", 0)


def test_a_command_that_closes_stdout_early(guest: Guest, peer: Peer) -> None:
    request = ExecRequest(argv=("sh", "-c", "echo x; exec >&- 2>&-; read line; exit 3"))
    peer.start(request, close=True)
    data = b""
    os.set_blocking(peer.stdout, True)
    data = peer.read_until(b"x\n")
    assert data == b"x\n"
    os.write(peer.stdin, b"go\n")
    assert peer.end().exit_status == 3
    os.close(peer.stdin)


def test_a_client_that_stops_reading_ends_the_writer(guest: Guest) -> None:
    read, write = os.pipe()
    with guest.connect() as sock:
        done: list[ExecEnd] = []
        streams = Streams(stdin=None, stdout=write, stderr=write)
        request = ExecRequest(argv=("yes",))
        thread = threading.Thread(target=lambda: done.append(Session(sock).exec(request, streams)))
        thread.start()
        assert os.read(read, 4) == b"y\ny\n"
        os.close(read)
        thread.join()
        os.close(write)
    assert done[0].signal == signal.SIGPIPE


def test_output_is_complete_though_a_child_holds_the_pipe(guest: Guest) -> None:
    ran = guest.run("sh", "-c", "sleep 300 & head -c 1000000 /dev/zero; echo $! >&2")
    assert len(ran.stdout) == 1_000_000
    os.kill(int(ran.stderr), signal.SIGKILL)


def test_a_child_left_behind_goes_on_writing(guest: Guest, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    text = f"( read x < {fifo}; echo noise; echo alive > {fifo} ) & exit 0"
    assert guest.run("sh", "-c", text).end.exit_status == 0
    fifo.write_text("go\n")
    assert fifo.read_text() == "alive\n"


def test_a_slow_reader_gets_everything(guest: Guest) -> None:
    read, write = os.pipe()
    done: list[ExecEnd] = []
    with guest.connect() as sock:
        request = ExecRequest(argv=("head", "-c", "3000000", "/dev/zero"))
        streams = Streams(stdin=None, stdout=write, stderr=write)
        thread = threading.Thread(target=lambda: done.append(Session(sock).exec(request, streams)))
        thread.start()
        total = 0
        while total < 3_000_000:
            total += len(os.read(read, 1000))
        thread.join()
    os.close(read)
    os.close(write)
    assert (total, done[0].exit_status) == (3_000_000, 0)


TTY = Terminal(rows=24, cols=80, term="xterm-test")


def test_a_terminal_with_size_and_resize(guest: Guest, peer: Peer, script: Script) -> None:
    text = (
        "trap 'stty size; exit 0' WINCH; tty; stty size; echo $TERM; echo up; "
        "while :; do sleep 0.1; done"
    )
    peer.start(ExecRequest(argv=("sh", "-c", text), terminal=TTY), controls=script)
    shown = peer.read_until(b"up\r\n").decode().split()
    assert shown[0].startswith("/dev/pts/")
    assert shown[1:] == ["24", "80", "xterm-test", "up"]
    script.give(Resize(rows=50, cols=132))
    assert peer.read_until(b"132").strip() == b"50 132"
    assert peer.end().exit_status == 0
    os.close(peer.stdin)


def test_ctrl_c_reaches_the_foreground(guest: Guest, peer: Peer) -> None:
    peer.start(ExecRequest(argv=("sh", "-c", "echo up; sleep 60"), terminal=TTY))
    peer.read_until(b"up\r\n")
    os.write(peer.stdin, b"\x03")
    end = peer.end()
    assert end.exit_status == 130
    os.close(peer.stdin)


def test_the_end_of_input_ends_a_reader_on_a_terminal(guest: Guest, peer: Peer) -> None:
    peer.start(ExecRequest(argv=("cat",), terminal=TTY))
    os.write(peer.stdin, b"no newline")
    os.close(peer.stdin)
    assert peer.end().exit_status == 0


def test_escape_sequences_pass_untouched(guest: Guest) -> None:
    request = ExecRequest(argv=("printf", "\\033[31mred\\033[0m"), terminal=TTY)
    assert guest.run(request=request).stdout == b"\x1b[31mred\x1b[0m"


def test_a_long_output_to_a_terminal_is_complete(guest: Guest) -> None:
    request = ExecRequest(argv=("seq", "1", "20000"), terminal=TTY)
    lines = guest.run(request=request).stdout.decode().split("\r\n")
    assert lines == [*(str(n) for n in range(1, 20001)), ""]


def test_detach_leaves_the_command_running(guest: Guest, peer: Peer, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    text = f"echo up; read x < {fifo}; seq 1 50000; echo alive > {fifo}"
    peer.start(ExecRequest(argv=("sh", "-c", text), terminal=TTY), keys=b"\x10\x11")
    peer.read_until(b"up\r\n")
    os.write(peer.stdin, b"\x10\x11")
    assert peer.end().kind is EndKind.DETACHED
    os.close(peer.stdin)
    fifo.write_text("go\n")
    assert fifo.read_text() == "alive\n"


@pytest.mark.parametrize("terminal", [None, TTY])
def test_a_vanished_client_takes_the_command_along(
    guest: Guest, tmp_path: Path, terminal: Terminal | None
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    text = f"trap '' HUP; exec sleep 600 > {fifo}"
    with guest.connect() as sock:
        sock.sendall(encode_open(ExecRequest(argv=("sh", "-c", text), terminal=terminal)))
        assert sock.recv(5)[0] == FrameType.STARTED
        held = os.open(fifo, os.O_RDONLY)
    assert os.read(held, 1) == b""  # its last holder, which ignores SIGHUP, was killed
    os.close(held)


def test_a_vanished_client_spares_what_was_left_with_nohup(guest: Guest, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    text = f"( trap '' HUP; echo up; read x < {fifo}; echo alive > {fifo} ) & wait"
    with guest.connect() as sock:
        sock.sendall(encode_open(ExecRequest(argv=("sh", "-c", text))))
        data = b""
        while b"up\n" not in data:
            data += sock.recv(100)
    fifo.write_text("go\n")
    assert fifo.read_text() == "alive\n"


def test_a_busy_session_does_not_hold_up_another(guest: Guest) -> None:
    with guest.connect() as stuck:
        stuck.sendall(encode_open(ExecRequest(argv=("yes",))))
        assert stuck.recv(5)[0] == FrameType.STARTED  # and nothing more is read
        assert guest.run("echo", "x").stdout == b"x\n"


def test_signals_reach_the_whole_group(guest: Guest, peer: Peer, script: Script) -> None:
    peer.start(
        ExecRequest(argv=("sh", "-c", "echo up; sleep 60; echo not reached")), controls=script
    )
    peer.read_until(b"up\n")
    script.give(Signal(number=signal.SIGINT))
    assert peer.end().exit_status == 130
    os.close(peer.stdin)


def test_the_connection_ends_in_order(guest: Guest) -> None:
    with guest.connect() as sock:
        sock.sendall(encode_open(ExecRequest(argv=("true",), stdin=False)))
        data = b""
        while part := sock.recv(4096):
            data += part
    kinds: list[int] = []
    while data:
        kind, length = struct.unpack(">BI", data[:5])
        kinds.append(kind)
        data = data[5 + length :]
    assert kinds[0] == FrameType.STARTED
    assert kinds[-1] == FrameType.EXIT


def test_run_over_a_broken_connection_is_lost() -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(encode_frame(FrameType.STARTED, b"{}") + encode_frame(FrameType.STDOUT, b"bye"))
    theirs.shutdown(socket.SHUT_WR)
    ran = run_over(ours, ExecRequest(argv=("true",)))
    ours.close()
    theirs.close()
    assert (ran.end.kind, ran.stdout) == (EndKind.LOST, b"bye")
