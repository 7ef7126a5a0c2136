# SPDX-License-Identifier: Apache-2.0
"""Copying between the host and a sandbox, with the rules of `docker cp` for where things land.

A folder source that ends in `/.` means its contents. An existing folder as destination is copied
into; anything else is the new name, and its parent must be there.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from sbx.agent.file_session import FileSession
from sbx.agent.trees import TreeReceiver, TreeReport
from sbx.errors import HostError, UserError
from sbx.protocol.files import GetRequest, PathKind, PutRequest

# Each request needs a connection of its own: call, enter, use once.
OpenSession = Callable[[], AbstractContextManager[FileSession]]

DEFAULT_OWNER = "agent"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    path: str
    kind: PathKind
    contents: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Landing:
    """Into `folder`, as `name`, or (None) as the entries of the folder itself."""

    folder: str
    name: str | None


def copy_out(
    open_session: OpenSession, source: str, destination: str, *, follow: bool = False
) -> TreeReport:
    """Copy from the sandbox's absolute path `source` to the host. Files belong to the caller.

    Raises:
        UserError: one of the paths does not fit.
        HostError: it cannot be written here.
        SbxError: the guest agent fails.
    """
    found = _guest_source(open_session, source, follow=follow)
    landing = _land(found, destination, _host_kind)
    if not Path(landing.folder).is_dir():
        raise UserError(f"no such folder: `{landing.folder}`")
    contents = landing.name is None
    try:
        fd = os.open(landing.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            request = GetRequest(path=found.path, follow=follow, contents=contents)
            with open_session() as session:
                report = session.get(request, TreeReceiver(fd, name=landing.name))
        finally:
            os.close(fd)
    except OSError as error:
        raise _cannot("write", error, destination) from error
    return _not_empty(report, source)


def copy_in(
    open_session: OpenSession,
    source: str,
    destination: str,
    *,
    follow: bool = False,
    owner: str = DEFAULT_OWNER,
) -> TreeReport:
    """Copy the host's `source` to the sandbox's absolute path `destination`, for user `owner`.

    Raises:
        UserError: one of the paths does not fit.
        HostError: it cannot be read here.
        SbxError: the guest agent fails.
    """
    found = _host_source(source, follow=follow)
    landing = _land(found, destination, lambda path: _guest_kind(open_session, path))
    if _guest_kind(open_session, landing.folder) is not PathKind.FOLDER:
        raise UserError(f"no such folder in the sandbox: `{landing.folder}`")
    request = PutRequest(path=landing.folder, owner=owner)
    try:
        with open_session() as session:
            report = session.put(
                request,
                lambda tree: tree.send(Path(found.path), name=landing.name),
                follow=follow,
            )
    except OSError as error:
        raise _cannot("read", error, source) from error
    return _not_empty(report, source)


def _land(source: _Source, destination: str, kind_of: Callable[[str], PathKind | None]) -> _Landing:
    kind = kind_of(destination)
    if kind is PathKind.FOLDER:
        name = None if source.contents else posixpath.basename(source.path)
        return _Landing(folder=destination, name=name)
    if source.kind is PathKind.FOLDER and kind is not None:
        raise UserError(f"cannot copy a folder onto a file: `{destination}`")
    plain = destination.rstrip("/")
    if destination.endswith("/") and source.kind is not PathKind.FOLDER:
        raise UserError(f"no such folder: `{destination}`")
    return _Landing(folder=posixpath.dirname(plain) or ".", name=posixpath.basename(plain))


def _guest_source(open_session: OpenSession, source: str, *, follow: bool) -> _Source:
    if not source.startswith("/"):
        raise UserError(f"not an absolute path: `{source}`", hint="Use SANDBOX:/path")
    contents = source.endswith("/.") or not source.strip("/")
    path = posixpath.normpath(source)
    must_be_folder = contents or source.endswith("/")
    with open_session() as session:
        kind = session.stat(path, follow=follow or must_be_folder)
    if kind is None:
        raise UserError(f"no such file or folder in the sandbox: `{source}`")
    if must_be_folder and kind is not PathKind.FOLDER:
        raise UserError(f"not a folder: `{source}`")
    return _Source(path=path, kind=kind, contents=contents)


def _host_source(source: str, *, follow: bool) -> _Source:
    contents = source == "." or source.endswith("/.")
    path = os.path.abspath(source)  # noqa: PTH100 - without resolving links: a link is copied as one
    must_be_folder = contents or source.endswith("/")
    kind = _host_kind(path, follow=follow or must_be_folder)
    if kind is None:
        raise UserError(f"no such file or folder: `{source}`")
    if must_be_folder and kind is not PathKind.FOLDER:
        raise UserError(f"not a folder: `{source}`")
    return _Source(path=path, kind=kind, contents=contents or path == "/")


def _host_kind(path: str, *, follow: bool = True) -> PathKind | None:
    try:
        mode = Path(path).stat(follow_symlinks=follow).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _cannot("read", error, path) from error
    kinds = {
        stat.S_IFREG: PathKind.FILE,
        stat.S_IFDIR: PathKind.FOLDER,
        stat.S_IFLNK: PathKind.LINK,
    }
    return kinds.get(stat.S_IFMT(mode), PathKind.OTHER)


def _guest_kind(open_session: OpenSession, path: str) -> PathKind | None:
    if not path.startswith("/"):
        raise UserError(f"not an absolute path: `{path}`", hint="Use SANDBOX:/path")
    with open_session() as session:
        return session.stat(path)


def _not_empty(report: TreeReport, source: str) -> TreeReport:
    if report.skipped and not report.entries:
        raise UserError(f"not a file, folder or symbolic link: `{source}`")
    return report


def _cannot(verb: str, error: OSError, path: str) -> HostError:
    where = error.filename if isinstance(error.filename, str) else path
    return HostError(f"cannot {verb} `{where}`: {error.strerror or error}")
