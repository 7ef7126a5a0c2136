# SPDX-License-Identifier: Apache-2.0
"""One command: its process, its pipes or terminal, and the connection that it is shown on.

Both directions push back. Towards the client: output is read only while the connection takes it.
From the client: standard input is bounded by a window, so that a process which never reads it does
not hold up a signal or a new window size.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import struct
import termios
from collections.abc import Callable

from .conn import Connection
from .launch import Command, Ends, run_child
from .links import read_text
from .loop import READ, WRITE, Loop, close_quietly
from .place import Place
from .wire import (
    CHUNK_BYTES,
    CREDIT,
    DETACH,
    EXEC_IN,
    EXIT,
    FAILED,
    OUTPUT_CLOSED,
    RESIZE,
    SIGNAL,
    STARTED,
    STDERR,
    STDIN,
    STDIN_END,
    STDOUT,
    STREAM_END,
    WINDOW_BYTES,
    frame,
    message,
)

_PIPE_BYTES = 256 * 1024
_START_TIMEOUT_S = 30.0
_KILL_AFTER_S = 5.0
_END_OF_INPUT = b"\x04"  # what a terminal makes an end of file of (VEOF)


class ExecSession:
    """A running command. `on_change` is called when its client left and when it is over."""

    def __init__(self, loop: Loop, connection: Connection, on_change: Callable[[], None]) -> None:
        self._loop = loop
        self._connection: Connection | None = connection
        self._on_change = on_change
        self._pid = 0
        self._pidfd = -1
        self._terminal: int | None = None
        self._stdin: int | None = None
        self._stdin_queue = bytearray()
        self._stdin_ended = False
        self._last_input = b"\n"
        self._credit = 0
        self._outputs: dict[int, int] = {}  # STDOUT or STDERR -> descriptor
        self._paused = False
        self._ended: dict[str, object] | None = None  # the body of EXIT, once the process ended
        self._left: dict[int, int] = {}  # bytes that were in each output when the process ended

    @property
    def is_attached(self) -> bool:
        """Whether a client is connected, if only to receive the last output."""
        return self._connection is not None

    @property
    def is_over(self) -> bool:
        """Whether nothing of it is left."""
        return self._connection is None and self._ended is not None

    # -- start

    async def start(self, command: Command, place: Place) -> bool:
        """Start the process and tell the client whether it runs; False if it does not."""
        read_report, write_report = os.pipe2(os.O_CLOEXEC)
        try:
            self._fork(command, place, write_report)
        except OSError as error:
            close_quietly(write_report)
            close_quietly(read_report)
            self._refuse(126, f"cannot start a process in the sandbox: {error.strerror}")
            return False
        os.close(write_report)
        try:
            in_time = await self._loop.readable(read_report, _START_TIMEOUT_S)
            report = (
                os.read(read_report, 4096) if in_time else b"126 the command did not start in time"
            )
        finally:
            os.close(read_report)
        if report:
            status, _, text = report.decode(errors="replace").partition(" ")
            self._abandon(int(status), text)
            return False
        self._serve()
        return True

    def _fork(self, command: Command, place: Place, report: int) -> None:
        theirs = (
            self._open_terminal(command, place) if command.terminal else self._open_pipes(command)
        )
        try:
            pid = place.fork()
            if pid == 0:
                run_child(command, place, theirs, report)
            self._pid = pid
            self._pidfd = os.pidfd_open(pid)
        finally:
            for fd in {theirs.stdin, theirs.stdout, theirs.stderr}:
                os.close(fd)
            if self._pid == 0:
                self._close_streams()

    def _open_terminal(self, command: Command, place: Place) -> Ends:
        ours, theirs = place.open_terminal(command.rows, command.cols)
        self._terminal = ours
        self._outputs[STDOUT] = ours
        if command.stdin:
            self._stdin = ours
        return Ends(theirs, theirs, theirs)

    def _open_pipes(self, command: Command) -> Ends:
        flags = os.O_CLOEXEC
        if command.stdin:
            stdin, self._stdin = os.pipe2(flags)
            _prepare_pipe(self._stdin)
        else:
            stdin = os.open("/dev/null", os.O_RDONLY | flags)
        ends: list[int] = []
        for kind in (STDOUT, STDERR):
            ours, theirs = os.pipe2(flags)
            _prepare_pipe(ours)
            self._outputs[kind] = ours
            ends.append(theirs)
        return Ends(stdin, *ends)

    def _refuse(self, status: int, text: str) -> None:
        if self._connection is not None:
            body: dict[str, object] = {"code": "exec", "message": text, "status": status}
            self._connection.send(message(FAILED, body))
            self._connection.finish()
            self._connection = None

    def _abandon(self, status: int, text: str) -> None:
        """The child reported a failure, or did not come as far as exec: it is of no use."""
        try:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        except ProcessLookupError:
            pass
        reap(self._loop, self._pidfd)
        self._close_streams()
        self._refuse(status, text)

    def _serve(self) -> None:
        self._loop.watch(self._pidfd, READ, lambda _events: self._on_process_end())
        for kind, fd in self._outputs.items():
            if fd != self._terminal:
                self._watch_output(kind, fd)
        if self._terminal is not None:
            self._loop.watch(self._terminal, READ, self._on_terminal)
        elif self._stdin is not None:
            self._loop.watch(self._stdin, 0, self._on_stdin)
        connection = self._connection
        if connection is not None:
            connection.limits = EXEC_IN
            connection.on_frame = self._on_frame
            connection.on_room = self._on_room
            connection.on_lost = lambda _reason: self._on_vanished()
            connection.send(message(STARTED, {}))
            connection.resume()

    # -- from the client

    def _on_frame(self, kind: int, payload: bytes) -> None:
        if kind == STDIN:
            self._take_input(payload)
        elif kind == STDIN_END:
            self._stdin_ended = True
            if self._terminal is not None and self._stdin is not None:
                # Once ends a fresh line; in the middle of one it only hands over what is there.
                self._stdin_queue += _END_OF_INPUT * (1 if self._last_input == b"\n" else 2)
            self._feed_process()
        elif kind == OUTPUT_CLOSED:
            self._close_output(payload)
        elif kind == RESIZE and len(payload) == 4 and self._terminal is not None:
            rows, cols = struct.unpack(">HH", payload)
            fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
        elif kind == SIGNAL and len(payload) == 1:
            self._signal_group(payload[0])
        elif kind == DETACH:
            self._detach()

    def _take_input(self, data: bytes) -> None:
        if self._stdin is None or self._stdin_ended:
            return
        if len(self._stdin_queue) + len(data) > WINDOW_BYTES:
            self._on_vanished()  # a client that does not keep to the window is not ours
            return
        self._stdin_queue += data
        self._last_input = data[-1:] or self._last_input
        self._feed_process()

    def _feed_process(self) -> None:
        if self._stdin is None:
            return
        while self._stdin_queue:
            try:
                written = os.write(self._stdin, memoryview(self._stdin_queue)[:CHUNK_BYTES])
            except BlockingIOError:
                break
            except OSError:  # EPIPE: the process closed its standard input
                self._end_stdin(told=True)
                return
            del self._stdin_queue[:written]
            self._credit += written
        self._grant_credit()
        if self._stdin_ended and not self._stdin_queue and self._terminal is None:
            self._end_stdin(told=False)
            return
        wanted = WRITE if self._stdin_queue else 0
        if self._terminal is None:
            self._loop.change(self._stdin, wanted)
        elif not self._paused and STDOUT in self._outputs:
            self._loop.change(self._terminal, READ | wanted)

    def _grant_credit(self) -> None:
        if self._credit and (self._credit >= WINDOW_BYTES // 2 or not self._stdin_queue):
            self._send(frame(CREDIT, struct.pack(">I", self._credit)))
            self._credit = 0

    def _end_stdin(self, *, told: bool) -> None:
        """Close the process's standard input; `told`: it did so itself, and the client hears it."""
        if self._stdin is None:
            return
        if self._stdin != self._terminal:
            self._loop.unwatch(self._stdin)
            os.close(self._stdin)
        self._stdin = None
        self._stdin_queue.clear()
        if told:
            self._send(frame(STREAM_END, b"\0"))

    def _close_output(self, payload: bytes) -> None:
        kind = {b"\1": STDOUT, b"\2": STDERR}.get(payload)
        if kind in self._outputs and self._terminal is None:
            self._drop_output(kind)  # the process gets SIGPIPE when it writes again
            self._maybe_finish()

    def _signal_group(self, number: int) -> None:
        if self._ended is None and 1 <= number <= 64:
            try:
                os.killpg(self._pid, number)  # not reaped yet, so the number is still its own
            except OSError:
                return

    def _detach(self) -> None:
        """The client leaves on purpose: the process goes on, its output is read and dropped."""
        self._say_goodbye()
        self._on_change()
        self._on_room()

    def _on_vanished(self) -> None:
        """The client is gone without a word: hang up, and kill what does not go."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._on_change()
        if self._ended is not None:
            self._maybe_finish()
            return
        self._end_stdin(told=False)
        if self._terminal is not None:
            self._drop_output(STDOUT)  # the kernel hangs up the terminal's processes
        self._signal_session(signal.SIGHUP)
        self._loop.call_after(_KILL_AFTER_S, self._kill_session)
        self._on_room()

    def _kill_session(self) -> None:
        # Only while the command itself ignores the hang-up: what it left running with nohup stays.
        if self._ended is None:
            self._signal_session(signal.SIGKILL)

    def _signal_session(self, number: signal.Signals) -> None:
        for pid in session_members(self._pid):
            try:
                os.kill(pid, number)
            except OSError:
                continue

    # -- from the process

    def _watch_output(self, kind: int, fd: int) -> None:
        self._loop.watch(fd, READ, lambda _events: self._on_output(kind, fd))

    def _on_terminal(self, events: int) -> None:
        if self._terminal is None:
            return
        if events & WRITE:
            self._feed_process()
        if events & ~WRITE and STDOUT in self._outputs:
            self._on_output(STDOUT, self._terminal)

    def _on_stdin(self, events: int) -> None:
        if events & select.EPOLLERR:
            self._end_stdin(told=True)
        elif events & WRITE:
            self._feed_process()

    def _on_output(self, kind: int, fd: int) -> None:
        limit = CHUNK_BYTES if self._ended is None else min(CHUNK_BYTES, self._left[kind])
        try:
            data = os.read(fd, limit)
        except BlockingIOError:
            if self._ended is not None:
                self._left[kind] = 0
                self._loop.unwatch(fd)
                self._maybe_finish()
            return
        except OSError as error:
            if error.errno != errno.EIO:  # EIO is how a terminal ends
                raise
            data = b""
        if not data:
            self._end_output(kind)
            return
        if self._ended is not None:
            self._left[kind] -= len(data)
        if self._connection is not None:
            self._connection.send_chunk(kind, data)
            self._pause_if_full()
        if self._ended is not None and self._left[kind] == 0:
            self._loop.unwatch(fd)
            self._maybe_finish()

    def _end_output(self, kind: int) -> None:
        if kind in self._outputs:
            if self._ended is None:
                self._send(frame(STREAM_END, b"\1" if kind == STDOUT else b"\2"))
            fd = self._outputs[kind]
            if fd == self._terminal:
                # Every process closed the terminal; the command may still run.
                self._loop.unwatch(fd)
                del self._outputs[kind]
            else:
                self._drop_output(kind)
        self._maybe_finish()

    def _drop_output(self, kind: int) -> None:
        fd = self._outputs.pop(kind, None)
        if fd is None:
            return
        self._loop.unwatch(fd)
        os.close(fd)
        if fd == self._terminal:
            self._terminal = None
            self._stdin = None

    def _pause_if_full(self) -> None:
        if self._connection is not None and self._connection.is_full and not self._paused:
            self._paused = True
            for fd in self._outputs.values():
                self._loop.unwatch(fd)

    def _on_room(self) -> None:
        if not self._paused:
            return
        self._paused = False
        for kind, fd in self._outputs.items():
            if self._ended is not None and self._left[kind] == 0:
                continue
            if fd == self._terminal:
                self._loop.watch(fd, READ, self._on_terminal)
            else:
                self._watch_output(kind, fd)
        if self._terminal is not None:
            self._feed_process()

    # -- the end

    def _on_process_end(self) -> None:
        self._loop.unwatch(self._pidfd)
        found = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        os.close(self._pidfd)
        if found is not None and found.si_code == os.CLD_EXITED:
            self._ended = {"status": found.si_status}
        else:
            self._ended = {"signal": found.si_status if found is not None else 9}
        self._end_stdin(told=False)
        # What is in the pipes now was written before the end. What children left behind write
        # later is nobody's: waiting for them could take for ever.
        self._left = {kind: _readable_bytes(fd) for kind, fd in self._outputs.items()}
        if self._terminal is not None and STDOUT in self._outputs:
            self._left[STDOUT] = 1 << 20  # a terminal hands over in pieces: read until it is empty
        for kind, fd in list(self._outputs.items()):
            if self._left[kind] == 0:
                self._loop.unwatch(fd)
            elif not self._paused and kind in self._outputs:
                self._on_output(kind, fd)
        self._maybe_finish()

    def _maybe_finish(self) -> None:
        if self._ended is None:
            return
        if self._connection is not None:
            if any(self._left[kind] for kind in self._outputs):
                return
            self._send(message(EXIT, self._ended))
            self._say_goodbye()
        self._leave_outputs()
        self._on_change()

    def _leave_outputs(self) -> None:
        """Close the terminal. Pipes that children still hold are read and dropped to their end."""
        if self._terminal is not None:
            terminal = self._terminal
            self._outputs.clear()
            self._terminal = None
            self._loop.unwatch(terminal)
            os.close(terminal)
        for fd in self._outputs.values():
            self._loop.unwatch(fd)
            drain(self._loop, fd)
        self._outputs.clear()

    def _close_streams(self) -> None:
        fds = {
            fd for fd in (self._terminal, self._stdin, *self._outputs.values()) if fd is not None
        }
        for fd in fds:
            close_quietly(fd)
        self._outputs.clear()
        self._terminal = self._stdin = None

    def _say_goodbye(self) -> None:
        """Let the connection end after what is queued; sending may have found the client gone."""
        if self._connection is not None:
            self._connection.finish()
            self._connection = None

    def _send(self, data: bytes) -> None:
        if self._connection is not None:
            self._connection.send(data)


def reap(loop: Loop, pidfd: int) -> None:
    """Take the status of a child whenever it ends, and close the descriptor."""

    def on_end(_events: int) -> None:
        loop.unwatch(pidfd)
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        os.close(pidfd)

    loop.watch(pidfd, READ, on_end)


def drain(loop: Loop, fd: int) -> None:
    """Read and drop until the end, so that background processes do not die of a closed pipe."""

    def on_data(_events: int) -> None:
        try:
            if os.read(fd, CHUNK_BYTES):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        loop.unwatch(fd)
        os.close(fd)

    loop.watch(fd, READ, on_data)


def session_members(leader: int) -> list[int]:
    """Every process whose session (setsid(2)) is `leader`'s."""
    found: list[int] = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            text = read_text(f"/proc/{name}/stat") or ""
            fields = text.rpartition(")")[2].split()  # state, ppid, pgrp, session, ...
            if len(fields) > 3 and fields[3] == str(leader):
                found.append(int(name))
    return found


def _prepare_pipe(ours: int) -> None:
    """Our end never blocks. A larger pipe means fewer switches between agent and command."""
    os.set_blocking(ours, False)
    try:
        fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except OSError:  # the user's pipes together are at their limit: it works as it is
        return


def _readable_bytes(fd: int) -> int:
    size = fcntl.ioctl(fd, termios.FIONREAD, struct.pack("i", 0))
    (count,) = struct.unpack("i", size)
    return int(count)
