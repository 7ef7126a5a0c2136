# SPDX-License-Identifier: Apache-2.0
"""The host's side against the golden frames."""

from __future__ import annotations

import pytest

from sbx.protocol import control, files, session
from sbx.protocol.auth import ClientHandshake
from sbx.protocol.fields import Fields
from sbx.protocol.frames import (
    CONTROL_IN,
    EXEC_IN,
    HELLO_IN,
    OPENED_IN,
    TREE_IN,
    FrameDecoder,
    FrameType,
    encode_frame,
)
from tests.kit.golden import Golden, load_goldens

GOLDENS = load_goldens()
KEY, GUEST_NONCE, HOST_NONCE = (bytes(range(start, start + 32)) for start in (0, 32, 64))
LINK = control.LinkSetup(mac="52:54:00:73:62:01", address="192.168.126.2", prefix_length=24)
SANDBOX_LINK = control.LinkSetup(
    mac="52:54:00:73:62:02",
    address="192.168.127.2",
    prefix_length=24,
    gateway="192.168.127.1",
)
REQUESTS: dict[str, control.Request] = {
    "hello": control.Hello(),
    "configure": control.Identity(
        hostname="box",
        machine_id="0123456789abcdef" * 2,
        time_ns=1_700_000_000_123_456_789,
        entropy=b"\x00\xff" * 8,
        session_key=KEY,
        port=7070,
        management=LINK,
        sandbox=SANDBOX_LINK,
    ),
    "assemble": control.Assembly(
        layers=("layer0", "layer1"),
        data="data",
        data_is_new=True,
        share="share",
        mounts=(
            control.MountSetup(index=0, target="/work/project"),
            control.MountSetup(index=1, target="/etc/x.conf", read_only=True, is_file=True),
        ),
        user="agent",
        workdir="/work/project",
        env={"LANG": "C.UTF-8"},
        memory_growth_bytes=1 << 30,
        memory_awaited_bytes=1 << 29,
        trust="PEM",
    ),
    "set_time": control.SetTime(time_ns=1_700_000_000_000_000_000),
    "stats": control.AskStats(),
    "shutdown": control.Shutdown(grace_s=10),
    "trim": control.Trim(),
    "grow_disk": control.GrowDisk(size_bytes=60 << 30),
}
COMMANDS: dict[str, session.ExecRequest] = {
    "open exec": session.ExecRequest(
        argv=("sh", "-c", 'echo "$0"', "", "\udcffü"),
        env={"A": "b c"},
        user="1000:docker",
        workdir="/w",
        terminal=session.Terminal(rows=24, cols=80),
    ),
    "open exec with defaults": session.ExecRequest(argv=("true",), stdin=False),
}
FILES: dict[str, files.FileRequest] = {
    "open get": files.GetRequest(path="/a/b", follow=True),
    "open put": files.PutRequest(path="/a", owner="agent"),
    "open stat": files.StatRequest(path="/a"),
}
OPENS = {
    **{name: session.encode_open(one) for name, one in COMMANDS.items()},
    **{name: files.encode_request(one) for name, one in FILES.items()},
}
SMALL: dict[str, bytes] = {
    "stdin": encode_frame(FrameType.STDIN, b"\x00in\xff"),
    "stdin end": encode_frame(FrameType.STDIN_END),
    "output closed": session.encode_output_closed(session.Stream.STDERR),
    "resize": session.encode_resize(50, 132),
    "signal": session.encode_signal(15),
    "detach": encode_frame(FrameType.DETACH),
}
ENTRIES: dict[str, files.FolderEntry | files.FileEntry | files.LinkEntry] = {
    "enter": files.FolderEntry(name="d", mode=0o755, mtime_ns=5),
    "file": files.FileEntry(name="f \udc80", mode=0o644, mtime_ns=-1, size_bytes=3),
    "link": files.LinkEntry(name="l", target="../x"),
}
LIMITS = {**CONTROL_IN, **HELLO_IN, **OPENED_IN, **EXEC_IN, **TREE_IN}


def answer(name: str) -> Fields | control.Refusal:
    return control.parse_answer(GOLDENS[name].payload).result


def fields(name: str) -> Fields:
    found = answer(name)
    assert isinstance(found, Fields)
    return found


@pytest.mark.parametrize(("number", "name"), list(enumerate(REQUESTS, 1)))
def test_requests(number: int, name: str) -> None:
    assert control.encode_request(number, REQUESTS[name]) == GOLDENS[name].data


@pytest.mark.parametrize("name", OPENS)
def test_opens(name: str) -> None:
    assert OPENS[name] == GOLDENS[name].data


@pytest.mark.parametrize("name", SMALL)
def test_small_frames(name: str) -> None:
    assert SMALL[name] == GOLDENS[name].data


@pytest.mark.parametrize("name", ENTRIES)
def test_entries_both_ways(name: str) -> None:
    assert files.encode_entry(ENTRIES[name]) == GOLDENS[f"{name} to guest"].data
    golden = GOLDENS[f"{name} to host"]
    assert files.parse_entry(FrameType[golden.frame], golden.payload) == ENTRIES[name]


@pytest.mark.parametrize("golden", [g for g in GOLDENS.values() if g.way == "to host"], ids=str)
def test_the_decoder_takes_what_the_guest_says(golden: Golden) -> None:
    decoder = FrameDecoder(LIMITS)
    decoder.feed(golden.data)
    assert list(decoder) == [(FrameType[golden.frame], golden.payload)]
    assert decoder.pending == 0


def test_answers() -> None:
    ready = control.AgentReady(generation=1, kernel="6.12.1", configured=False)
    assert control.parse_ready(fields("answer hello")) == ready
    assert answer("answer refused") == control.Refusal(
        code="disk", message="disk did not appear: `data`"
    )
    stats = control.parse_stats(fields("answer stats"))
    assert (stats.attached, stats.detached, stats.load_1min) == (1, 2, 0.25)
    assert (stats.memory_used_bytes, stats.disk_used_bytes) == (1 << 29, 5 << 30)
    assert control.parse_stats(fields("answer stats without disk")).disk_size_bytes is None


@pytest.mark.parametrize(
    ("name", "event"),
    [
        ("event sessions", control.SessionsEvent(attached=3, detached=1)),
        (
            "event disk",
            control.DiskEvent(state=control.DiskState.LOW, free_bytes=1000, total_bytes=100000),
        ),
        ("event log", control.LogEvent(text="line\nwith \x1b[31m and ü")),
        ("event sandbox_ended", control.SandboxEndedEvent()),
        ("event of a later generation", None),
    ],
)
def test_events(name: str, event: control.AgentEvent | None) -> None:
    assert control.parse_event(GOLDENS[name].payload) == event


def test_handshake() -> None:
    handshake = ClientHandshake(KEY, HOST_NONCE)
    assert handshake.answer(GOLDENS["session hello"].payload) == GOLDENS["session auth"].data
    assert handshake.is_genuine(GOLDENS["session welcome"].payload)


def test_session_answers() -> None:
    payload = {name: golden.payload for name, golden in GOLDENS.items()}
    assert session.parse_failure(payload["failed"]) == session.Failure(
        code="exec", message="no", status=127
    )
    assert files.parse_facts(payload["facts"]) is files.PathKind.FOLDER
    assert files.parse_facts(payload["facts of nothing"]) is None
    assert session.parse_credit(payload["credit"]) == 65536
    assert session.parse_stream(payload["stream end"]) is session.Stream.STDOUT
    assert session.parse_exit(payload["exit status"]) == session.Exit(status=37)
    assert session.parse_exit(payload["exit signal"]) == session.Exit(signal=9)
    assert files.parse_entry(FrameType.SKIPPED, payload["skipped"]) == files.SkippedEntry(
        path="/a/fifo", reason="not a file, folder or symbolic link"
    )


def test_every_frame_type_has_a_golden() -> None:
    assert {golden.frame for golden in GOLDENS.values()} == {kind.name for kind in FrameType}
