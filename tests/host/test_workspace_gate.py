# SPDX-License-Identifier: Apache-2.0
"""The gate with a real filter: a program that calls as the file server does, and a busy host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sbx.workspace.gate.gate import GateRules, gate_command, gate_config

# A server of the share: each line of its input is a call, each line of its output how it ended.
SERVER = """
import json, os, sys
top = os.open(sys.argv[1], os.O_PATH)
held = {}
def folder(path):
    return os.open(path or ".", os.O_PATH | os.O_DIRECTORY, dir_fd=top)
def look(path):
    above, name = os.path.split(path)
    return os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=folder(above))
def at(path):
    above, name = os.path.split(path)
    return name, folder(above)
proc = os.open("/proc/self/fd", os.O_PATH)
def do(call, *args):
    if call == "look":
        return look(*args)
    if call == "read":
        return os.read(os.open(str(look(*args)), os.O_RDONLY, dir_fd=proc), 99).decode()
    if call == "hold":
        held[args[0]] = look(args[0])
    if call == "write-held":
        os.write(os.open(str(held[args[0]]), os.O_WRONLY, dir_fd=proc), b"guest")
    if call == "write":
        os.write(os.open(str(look(args[0])), os.O_RDWR, dir_fd=proc), b"guest")
    if call == "make":
        name, above = at(args[0])
        os.write(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644, dir_fd=above), b"guest")
    if call == "mkdir":
        name, above = at(args[0]); os.mkdir(name, dir_fd=above)
    if call == "symlink":
        name, above = at(args[1]); os.symlink(args[0], name, dir_fd=above)
    if call == "rename":
        (a, x), (b, y) = at(args[0]), at(args[1]); os.rename(a, b, src_dir_fd=x, dst_dir_fd=y)
    if call == "link":
        (b, y) = at(args[1])
        os.link(str(look(args[0])), b, src_dir_fd=proc, dst_dir_fd=y, follow_symlinks=True)
    if call == "unlink":
        name, above = at(args[0]); os.unlink(name, dir_fd=above)
    if call == "rmdir":
        name, above = at(args[0]); os.rmdir(name, dir_fd=above)
    if call == "list":
        return sorted(os.listdir(os.open(".", os.O_RDONLY, dir_fd=folder(args[0]))))
for line in sys.stdin:
    try:
        answer = do(*json.loads(line))
        print(json.dumps("ok" if answer is None or type(answer) is int else answer), flush=True)
    except OSError as error:
        print(json.dumps(error.strerror), flush=True)
"""
REFUSED = "Operation not permitted"


class Server:
    """A program behind the gate."""

    def __init__(self, root: Path, rules: GateRules) -> None:
        config = gate_config(rules, root=root)
        program = [sys.executable, "-I", "-S", "-c", SERVER, str(root / "0")]
        self.child = subprocess.Popen(
            gate_command(config, program), pass_fds=[config], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        os.close(config)

    def call(self, *words: str) -> object:
        """How a call ended: `ok`, what it found, or the words of its error."""
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self.child.stdin.write(json.dumps(words).encode() + b"\n")
        self.child.stdin.flush()
        return json.loads(self.child.stdout.readline())

    def end(self) -> str:
        """End it; its words."""
        _, err = self.child.communicate()
        assert self.child.returncode == 0, err
        return err.decode()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_exception: object) -> None:
        with self.child:
            self.child.kill()


@pytest.fixture(name="top")
def _top(tmp_path: Path) -> Path:
    top = tmp_path.resolve() / "share" / "0"
    (top / ".git" / "refs").mkdir(parents=True)
    (top / ".git" / "objects").mkdir()
    (top / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (top / ".git" / "config").write_text("[core]\n")
    (top / "sub").mkdir()
    (top / "file").write_text("host")
    return top


def test_gits_own_files_at_any_time(top: Path) -> None:
    with Server(top.parent, GateRules(guarded=frozenset({0}))) as server:
        allowed = [
            ("make", "new"), ("mkdir", "folder"), ("write", "file"), ("rename", "new", "sub/new"),
            ("make", ".git/index.lock"), ("rename", ".git/index.lock", ".git/index"),
            ("mkdir", ".git/refs/heads"), ("make", ".git/refs/heads/config"), ("unlink", "sub/new"),
            ("mkdir", "sub/hooks"), ("make", "sub/hooks/useState.ts"), ("make", "config"),
            ("symlink", "/etc", "link"), ("link", "file", "other"), ("rmdir", "folder"),
            ("mkdir", "bare"), ("mkdir", "bare/objects"), ("mkdir", "bare/refs"),
            ("make", "bare/config"),
        ]  # fmt: skip
        for words in allowed:
            assert server.call(*words) == "ok", words
        refused = [
            ("make", ".git/commondir"), ("mkdir", ".git/hooks"), ("make", ".git/config.worktree"),
            ("write", ".git/config"), ("unlink", ".git/config"), ("rename", ".git/config", "c"),
            ("rename", "file", ".git/config"), ("link", ".git/config", "c"),
            ("link", "file", ".git/config"), ("symlink", "../sub", ".git/hooks"),
            ("symlink", "../sub", ".git/modules"), ("rename", ".git", "moved"),
            ("rename", "sub", ".git/modules"), ("rename", "link", ".git/x"), ("mkdir", "sub/.git"),
            ("make", "sub/.git"), ("symlink", "x", "sub/.git"), ("rename", "sub", "bare/.git"),
            ("make", "bare/HEAD"), ("rename", "file", "bare/HEAD"), ("mkdir", ".sbx"),
            ("mkdir", "sub/.GIT"),
        ]  # fmt: skip
        for words in refused:
            assert server.call(*words) == REFUSED, words
        # What a program on the host makes or replaces is guarded from its first moment.
        (top / "made" / ".git" / "hooks").mkdir(parents=True)
        (top / "made" / ".git" / "config").write_text("[core]\n")
        (top / "new-config").write_text("[core]\n")
        server.call("hold", "new-config")
        (top / "new-config").rename(top / ".git" / "config")
        for words in (
            ("write-held", "new-config"), ("write", ".git/config"), ("write", "made/.git/config"),
            ("make", "made/.git/hooks/pre-commit"), ("mkdir", "made/.git/modules/x/hooks"),
        ):  # fmt: skip
            assert server.call(*words) in (REFUSED, "No such file or directory"), words
        assert (top / ".git" / "config").read_text() == "[core]\n"
        for name in ("HEAD", "objects", "refs"):  # a bare repository of the host
            (top / "bare.git" / name).mkdir(parents=True)
        assert server.call("make", "bare.git/config") == REFUSED
        assert server.call("mkdir", "bare.git/hooks") == REFUSED
        assert server.call("make", "bare.git/packed-refs") == "ok"
        assert "refused to make .git/commondir" in server.end()


def test_masked_names_are_not_there_whenever_they_appear(top: Path) -> None:
    patterns = ("*.env", "vault/", "/sub/deep/*.key", "!open.env")
    rules = GateRules(masks={0: patterns}, fixed=frozenset({b"0/.sbxignore"}))
    with Server(top.parent, rules) as server:
        assert server.call("look", "secret.env") == "No such file or directory"
        (top / "secret.env").write_text("the key")
        (top / "sub" / "deep").mkdir()
        (top / "sub" / "deep" / "x.key").write_text("the key")
        (top / "vault").mkdir()
        (top / "vault" / "gold").write_text("the key")
        (top / "open.env").write_text("open")
        for path in ("secret.env", "sub/deep/x.key", "vault"):
            assert server.call("look", path) == "No such file or directory"
        assert server.call("read", "open.env") == "open"
        assert server.call("read", "file") == "host"
        for words in (
            ("rename", "secret.env", "x"), ("unlink", "secret.env"), ("make", "sub/new.env"),
            ("mkdir", "sub/vault"), ("rename", "file", "a.env"), ("rename", "vault", "v"),
            ("rename", "sub", "s"), ("rename", "sub/deep", "sub/d"), ("make", ".sbxignore"),
        ):  # fmt: skip
            assert server.call(*words) == REFUSED, words
        assert server.call("make", "vault.txt") == "ok"
        server.end()


def test_what_covers_a_masked_file_is_seen_and_nothing_else(top: Path, tmp_path: Path) -> None:
    """The cover here is a hard link: as for the gate, what counts is which file it is."""
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    rules = GateRules(masks={0: ("*.env",)}, covers=(empty,))
    with Server(top.parent, rules) as server:
        (top / "a.env").hardlink_to(empty)
        assert server.call("read", "a.env") == ""
        (top / "key").write_text("the key")
        (top / "key").rename(top / "a.env")
        assert server.call("look", "a.env") == "No such file or directory"
        assert server.call("list", "") == [".git", "a.env", "file", "sub"]
        server.end()


def test_it_ends_with_its_program_and_as_it_ended(tmp_path: Path) -> None:
    rules = GateRules(guarded=frozenset({0}))
    for script, status in (("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", -9)):
        config = gate_config(rules, root=tmp_path)
        done = subprocess.run(
            gate_command(config, [sys.executable, "-I", "-S", "-c", script]),
            pass_fds=[config], check=False,
        )  # fmt: skip
        os.close(config)
        assert done.returncode == status


def test_without_its_helper_nothing_passes(top: Path) -> None:
    with Server(top.parent, GateRules(guarded=frozenset({0}))) as server:
        assert server.call("make", "first") == "ok"
        server.child.kill()
        _, err = server.child.communicate()
        assert server.child.returncode == -9, err
        assert not (top / "second").exists()
