# SPDX-License-Identifier: Apache-2.0
"""Kits from a git server over TLS: the commit that was named, and nothing that it could run."""

from __future__ import annotations

import contextlib
import http.server
import os
import ssl
import subprocess
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sbx.kit.findings import KitError
from sbx.kit.gitsource import fetch_git
from sbx.kit.reference import GitKit, parse_reference
from sbx.system.process import run

SPEC = 'schemaVersion: "2"\nkind: mixin\nname: extra\n'


@dataclass(frozen=True, slots=True)
class Server:
    """A repository and the address at which it is served."""

    work: Path
    url: str

    def git(self, *args: str) -> str:
        env = {
            "PATH": os.environ["PATH"], "HOME": str(self.work.parent), "GIT_AUTHOR_NAME": "a",
            "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b",
        }  # fmt: skip
        return run(["git", "-C", self.work, *args], env=env).stdout.decode().strip()

    def commit(self) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "m")
        self.git("push", "--quiet", "--force", "../served.git", "HEAD:refs/heads/main")
        return self.git("rev-parse", "HEAD")

    def kit(self, options: str) -> GitKit:
        found = parse_reference(f"git+{self.url}#{options}", cwd=Path("/"))
        assert isinstance(found, GitKit)
        return found


class _Backend(http.server.BaseHTTPRequestHandler):
    """git-http-backend(1) behind Python's server."""

    root: Path

    def do_GET(self) -> None:
        self._run(b"")

    def do_POST(self) -> None:
        self._run(self.rfile.read(int(self.headers["Content-Length"])))

    def _run(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        env = {
            "PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": str(self.root), "PATH_INFO": path,
            "QUERY_STRING": query, "REQUEST_METHOD": self.command, "GIT_HTTP_EXPORT_ALL": "1",
            "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body)),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""), "HOME": str(self.root),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }  # fmt: skip
        done = subprocess.run(
            ["git", "http-backend"], env=env, input=body, capture_output=True, check=False
        )
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().splitlines())
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in {**fields, "Content-Length": str(len(answer))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        del format, args


@contextlib.contextmanager
def serving(folder: Path) -> Generator[str]:
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    run(
        ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:prime256v1", "-keyout", key, "-out", certificate,
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    _Backend.root = folder
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Backend) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"https://localhost:{server.server_port}/served.git"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(name="server")
def _server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(f"[http]\n\tsslCAInfo = {tmp_path / 'certificate.pem'}\n")
    monkeypatch.setenv("HOME", str(home))
    work = tmp_path / "work"
    run(["git", "init", "--quiet", "--bare", tmp_path / "served.git"])
    run(["git", "init", "--quiet", work])
    (work / "kits/one").mkdir(parents=True)
    (work / "kits/one/spec.yaml").write_text(SPEC)
    with serving(tmp_path) as url:
        yield Server(work, url)


def test_a_commit_a_branch_and_a_folder(server: Server) -> None:
    first = server.commit()
    (server.work / "kits/one/spec.yaml").write_text(SPEC + "description: new\n")
    tool = server.work / "kits/one/files/home/tool"
    tool.parent.mkdir(parents=True)
    tool.write_text("t")
    tool.chmod(0o755)
    second = server.commit()
    commit, bundle = fetch_git(server.kit("ref=main&dir=kits/one"))
    assert commit == second
    assert bundle.spec.endswith(b"description: new\n")
    assert bundle.files["files/home/tool"].executable
    commit, bundle = fetch_git(server.kit(f"ref={first}&dir=kits/one"))
    assert (commit, bundle.spec) == (first, SPEC.encode())


def test_a_commit_that_no_branch_has_any_more(server: Server) -> None:
    lost = server.commit()
    server.git("commit", "--quiet", "--amend", "--message", "other")
    server.git("push", "--quiet", "--force", "../served.git", "HEAD:refs/heads/main")
    with contextlib.suppress(KitError):  # the server decides whether it still gives it out
        assert fetch_git(server.kit(f"ref={lost}&dir=kits/one"))[0] == lost


@pytest.mark.parametrize("options", ["ref=none&dir=kits/one", f"ref={'0' * 40}&dir=kits/one"])
def test_what_is_not_there(server: Server, options: str) -> None:
    server.commit()
    with pytest.raises(KitError, match="has no"):
        fetch_git(server.kit(options))


def test_no_folder_and_no_kit(server: Server) -> None:
    server.commit()
    with pytest.raises(KitError, match="has no folder"):
        fetch_git(server.kit("ref=main&dir=none"))
    with pytest.raises(KitError, match=r"no spec\.yaml"):
        fetch_git(server.kit("ref=main"))


def test_nothing_of_the_repository_runs(server: Server, tmp_path: Path) -> None:
    """Attributes, filters, hooks and submodules are bytes, and an export does not change files."""
    spy = tmp_path / "spy"
    kit = server.work / "kits/one"
    (kit / "files/home").mkdir(parents=True)
    (kit / "files/home/a").write_text("$Format:%H$ $Id$\n")
    (server.work / ".gitattributes").write_text(
        "* filter=spy export-subst ident eol=crlf\nspec.yaml export-ignore\n"
    )
    (server.work / ".gitmodules").write_text(
        f'[submodule "x"]\n\tpath = x\n\turl = ext::sh -c "touch {spy}"\n'
    )
    server.commit()
    hook = tmp_path / "served.git/hooks/post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {spy}\n")
    hook.chmod(0o755)
    _commit, bundle = fetch_git(server.kit("ref=main&dir=kits/one"))
    assert bundle.files["files/home/a"].data == b"$Format:%H$ $Id$\n"
    assert bundle.spec == SPEC.encode()
    assert not spy.exists()


def test_links_out_and_submodules_are_refused(server: Server) -> None:
    link = server.work / "kits/one/files/home/link"
    link.parent.mkdir(parents=True)
    link.symlink_to("/etc/passwd")
    server.commit()
    with pytest.raises(KitError, match="leads out"):
        fetch_git(server.kit("ref=main&dir=kits/one"))
    link.unlink()
    inner = server.work / "kits/one/files/home/inner"
    run(["git", "init", "--quiet", inner])
    (inner / "a").write_text("a")
    Server(inner, "").git("add", "--all")
    Server(inner, "").git("commit", "--quiet", "--message", "m")
    server.commit()
    with pytest.raises(KitError, match="neither file, folder nor link"):
        fetch_git(server.kit("ref=main&dir=kits/one"))


def test_the_environment_of_the_caller_changes_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.commit()
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "x")
    fetch_git(server.kit("ref=main&dir=kits/one"))
