# SPDX-License-Identifier: Apache-2.0
"""`exec` is exact: bytes, streams, statuses, signals, users, folders, many at once."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.kit.installation import Installation

NAME = "exec"


@pytest.fixture(scope="module", name="box")
def _box(shared: Installation) -> Installation:
    """One running sandbox for the whole module."""
    shared.ok("create", "--name", NAME, "-q", "-e", "FROM_CREATE=yes", "--memory", "1g", "shell")
    shared.ok("run", "--name", NAME, "-d")
    return shared


def test_the_default_user_folder_and_environment(box: Installation) -> None:
    done = box.inside(
        NAME, "sh", "-c", "id -un; pwd; hostname; echo $FROM_CREATE $HOME $SANDBOX_NAME"
    )
    assert done.ok().text.split("\n")[:3] == ["agent", "/home/agent/workspace", NAME]
    assert "yes /home/agent exec" in done.text


def test_arguments_arrive_verbatim(box: Installation) -> None:
    hostile = [
        "a b",
        "'",
        '"',
        "$(id)",
        "`id`",
        "*",
        "-x",
        "--",
        "back\\slash",
        "new\nline",
        "ü",
        "",
    ]
    code = "import sys; print(ascii(sys.argv[1:]))"
    done = box.inside(NAME, "python3", "-c", code, *hostile)
    assert done.ok().text.strip() == ascii(hostile)


def test_streams_stay_apart_and_the_status_comes_back(box: Installation) -> None:
    done = box.inside(NAME, "sh", "-c", "echo out; echo err >&2; exit 37")
    assert (done.returncode, done.out, done.err) == (37, b"out\n", b"err\n")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_signal_inside_is_128_plus_its_number(box: Installation, number: signal.Signals) -> None:
    assert box.inside(NAME, "sh", "-c", f"kill -{number.value} $$").returncode == 128 + number


def test_a_hundred_megabytes_through_cat_are_equal(box: Installation, tmp_path: Path) -> None:
    data = os.urandom(1 << 20) * 100
    (tmp_path / "in").write_bytes(data)
    with (tmp_path / "in").open("rb") as given, (tmp_path / "out").open("wb") as taken:
        done = subprocess.run(
            box.command("exec", NAME, "cat"),
            stdin=given,
            stdout=taken,
            env=box.env(),
            timeout=110,
            check=False,
        )
    assert done.returncode == 0
    assert hashlib.sha256((tmp_path / "out").read_bytes()).digest() == hashlib.sha256(data).digest()


def test_input_ends_inside_when_it_ends_outside(box: Installation) -> None:
    assert box.inside(NAME, "wc", "-c", stdin=b"x" * 100_000).ok().text.strip() == "100000"
    assert box.inside(NAME, "wc", "-c").ok().text.strip() == "0"


def test_output_that_nobody_reads_ends_the_command(box: Installation) -> None:
    with box.popen("exec", NAME, "yes") as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.read(4) == b"y\ny\n"
        child.stdout.close()
        assert child.wait(timeout=60) != 0
    assert box.inside(NAME, "pgrep", "-x", "yes").returncode == 1


def test_twenty_at_once_do_not_mix(box: Installation) -> None:
    def one(number: int) -> bool:
        text = f"<{number}>".encode() * 5000
        done = box.inside(NAME, "sh", "-c", f"cat; exit {number}", stdin=text)
        return done.out == text and done.returncode == number

    with ThreadPoolExecutor(20) as pool:
        assert all(pool.map(one, range(20)))


def test_a_signal_reaches_a_command_that_never_reads(box: Installation) -> None:
    with box.popen(
        "exec", NAME, "sh", "-c", "trap 'exit 9' INT; echo up; while :; do sleep 1; done"
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        try:
            child.send_signal(signal.SIGINT)
            assert child.wait(timeout=60) == 9
        finally:
            child.kill()
        assert child.stdin is not None
        child.stdin.close()


def test_a_client_that_is_killed_takes_its_command_with_it(box: Installation) -> None:
    with box.popen("exec", NAME, "sh", "-c", "echo up; exec sleep 987") as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        child.kill()
    gone = "for i in $(seq 100); do pgrep -f 'sleep 98[7]' || exit 0; sleep 0.1; done; exit 1"
    box.inside(NAME, "sh", "-c", gone).ok()


def test_users_groups_and_folders(box: Installation) -> None:
    assert box.inside(NAME, "id", "-u", user="root").ok().text == "0\n"
    assert box.inside(NAME, "id", "-u", user="1000").ok().text == "1000\n"
    assert box.inside(NAME, "id", "-gn", user="agent:users").ok().text == "users\n"
    assert box.ok("exec", "-w", "/tmp", NAME, "pwd").text == "/tmp\n"
    missing = box.call("exec", "-w", "/no/such", NAME, "pwd")
    assert missing.returncode != 0
    assert b"/no/such" in missing.out + missing.err
    nobody = box.inside(NAME, "id", user="nosuchuser")
    assert nobody.returncode != 0
    assert b"nosuchuser" in nobody.out + nobody.err


def test_variables_by_value_by_name_and_from_a_file(box: Installation, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("# comment\nA=file\nB=file\n")
    box.extra_env["TAKEN"] = "from the host"
    done = box.ok(
        "exec", "--env-file", str(tmp_path / "env"), "-e", "A=flag", "-e", "TAKEN", NAME,
        "sh", "-c", "echo $A-$B-$TAKEN",
    )  # fmt: skip
    assert done.text == "flag-file-from the host\n"


def test_a_missing_program_is_127_and_a_folder_126(box: Installation) -> None:
    missing = box.inside(NAME, "no-such-program")
    assert missing.returncode == 127
    assert b"no-such-program" in missing.out
    assert box.inside(NAME, "/etc").returncode == 126


def test_a_background_child_does_not_hold_the_session(box: Installation) -> None:
    done = box.inside(NAME, "sh", "-c", "sleep 600 & echo done")
    assert done.ok().text == "done\n"
    box.inside(NAME, "pkill", "-x", "sleep")


def test_an_unknown_sandbox_is_told_in_the_words_that_scripts_match(box: Installation) -> None:
    done = box.call("exec", "nobody", "true")
    assert done.returncode == 1
    assert b'ERROR: sandbox not found: "nobody"' in done.err
