# SPDX-License-Identifier: Apache-2.0
"""The calls into the layer below, in one place: names checked first, waiting shown as progress.

Imported only by commands that work on sandboxes; what `ls` does not need is imported where it
is used.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import TYPE_CHECKING

from sbx.cli.app import App
from sbx.cli.logs import set_up_logs
from sbx.errors import NotFoundError, SbxError, UserError
from sbx.sandbox.name import check_name
from sbx.sandbox.state import State
from sbx.system.progress import Progress

if TYPE_CHECKING:
    from sbx.control.messages import StartEvent
    from sbx.lifecycle.request import CreateRequest
    from sbx.lifecycle.session import SessionLease
    from sbx.lifecycle.status import Survey
    from sbx.lifecycle.stop import StopResult
    from sbx.lifecycle.wayback import Work
    from sbx.sandbox.parts import Template
    from sbx.sandbox.status import SandboxStatus

# What the phases of a start are, for people; an unknown one is shown by its own name.
_REFRESH_TIMEOUT_S = 5.0
_PHASES = {
    "parts": "checking the parts",
    "accel": "choosing between KVM and emulation",
    "network": "closing the network",
    "way-out": "opening the way out",
    "ports": "publishing ports",
    "share": "sharing the workspace",
    "disk": "making the disk",
    "memory": "reading the snapshot",
    "restore": "restoring the machine",
    "machine": "starting the machine",
    "boot": "booting",
    "configure": "setting the identity",
    "plug": "attaching disks",
    "assemble": "assembling the sandbox",
    "private": "mounting private folders",
    "git": "setting up the repository",
}


def begin(app: App) -> None:
    """Call once before any other function of this module."""
    set_up_logs(debug=app.debug)


def expect_start(app: App) -> None:
    """Load a supervisor while the command makes up its mind; without a start it is ended."""
    from sbx.lifecycle.standby import Standby

    if app.standby is None:
        app.standby = Standby(app.paths)


def list_all(app: App) -> tuple[SandboxStatus, ...]:
    """Every readable sandbox, by name."""
    from sbx.lifecycle import status as asked

    return asked.list_all(app.paths)


def survey(app: App) -> Survey:
    """Every readable sandbox by name, and what is wrong with the others."""
    from sbx.lifecycle import status as asked

    return asked.survey(app.paths)


def status(app: App, name: str, *, details: bool = False) -> SandboxStatus:
    """One sandbox; with `details` also what takes up to a second to learn.

    Raises:
        NotFoundError: there is no such sandbox.
    """
    from sbx.lifecycle import status as asked

    return asked.status(app.paths, known(name), details=details)


def find(app: App, name: str) -> SandboxStatus | None:
    """One sandbox, or None."""
    try:
        return status(app, name)
    except NotFoundError:
        return None


def known(name: str) -> str:
    """A name that may be looked up: what cannot be a name is not found, and touches no path."""
    try:
        return check_name(name)
    except UserError as error:
        raise NotFoundError(f'sandbox not found: "{name}"', hint="Run: sbx ls") from error


def used_layers(app: App) -> frozenset[str]:
    """Digests of all layers of sandboxes and of the user's templates, in all that share the cache.

    Raises:
        PermanentError: a sandbox or a template is damaged, so that nobody can tell.
    """
    from sbx.lifecycle.base import installations, layer_digests
    from sbx.store import records

    digests = set(layer_digests(installations(app.paths)))
    for where in installations(app.paths):
        for name in records.names(where):
            digests.update(records.read_spec(where, name).layers)
    return frozenset(digests)


def template_layers(app: App) -> frozenset[str]:
    """Digests of the layers of the user's templates (raises as `used_layers`)."""
    from sbx.lifecycle.base import installations, layer_digests

    return layer_digests(installations(app.paths))


def create(app: App, request: CreateRequest, progress: Progress) -> SandboxStatus:
    """Make a sandbox and start it (raises as the lifecycle's `create`)."""
    expect_start(app)
    from sbx.lifecycle.create import create as make

    with start_listener(request.name, progress) as listener:
        made = make(app.paths, request, progress=progress, listener=listener, standby=app.standby)
    from sbx.cli import timings

    timings.show(app, request.name)
    return made


def prepare_agent(app: App, request: CreateRequest, progress: Progress) -> Template:
    """Make the layer of an agent ahead of time (raises as the lifecycle's `create`)."""
    from sbx.lifecycle.agent_layer import agent_template

    with start_listener("for the installation", progress) as listener:
        return agent_template(app.paths, request, progress=progress, listener=listener)


def start(app: App, name: str, progress: Progress) -> SandboxStatus:
    """Bring a sandbox up if it is not (raises as the lifecycle's `start`)."""
    expect_start(app)
    from sbx.lifecycle.start import start as bring_up

    with start_listener(known(name), progress) as listener:
        running = bring_up(
            app.paths, name, progress=progress, listener=listener, standby=app.standby
        )
    from sbx.cli import timings

    timings.show(app, name)
    return running


def stop(app: App, name: str) -> StopResult:
    """Bring a sandbox down."""
    from sbx.lifecycle.stop import stop as bring_down

    return bring_down(app.paths, known(name))


def remove(app: App, name: str, *, force: bool, delete_branch: bool = False) -> None:
    """Delete a sandbox."""
    from sbx.lifecycle.remove import remove as delete

    delete(app.paths, known(name), force=force, delete_branch=delete_branch)


def losses(app: App, name: str, *, delete_branch: bool) -> tuple[str, ...]:
    """What the removal of a sandbox would lose of its commits and changes, in sentences."""
    from sbx.lifecycle import branch

    found = find(app, name)
    if found is None or found.spec.git is None:
        return ()
    try:
        branch.sync(app.paths, name)
    except SbxError as error:
        return (f"what sandbox {name} has done last is not known: {error.message}",)
    return branch.losses(app.paths, found.spec, delete_branch=delete_branch)


def refresh_git(app: App, name: str) -> None:
    """Ask a running sandbox in branch or clone mode what it has now; a bound time, else never mind.

    While a session goes on, what is not committed is not told otherwise.
    """
    from sbx.lifecycle import branch

    found = find(app, name)
    if found is not None and found.spec.git is not None:
        with contextlib.suppress(SbxError):
            branch.sync(app.paths, name, timeout_s=_REFRESH_TIMEOUT_S)


def work_of(app: App, name: str) -> Work:
    """What a sandbox changed, brought over first (raises as the lifecycle's `work_of`)."""
    from sbx.lifecycle import wayback

    return wayback.work_of(app.paths, known(name))


def host_branches(app: App, name: str) -> tuple[str, bytes]:
    """The user's branches for a sandbox (raises as the lifecycle's `host_branches`)."""
    from sbx.lifecycle import branch

    return branch.host_branches(app.paths, known(name))


def sync(app: App, name: str) -> None:
    """Bring over the commits of a sandbox in branch or clone mode, if it runs."""
    from sbx.lifecycle.branch import sync as bring

    bring(app.paths, known(name))


def keep_running(app: App, name: str) -> None:
    """Let a running sandbox stay up without sessions."""
    from sbx.lifecycle.session import keep_running as keep

    keep(app.paths, name, keep=True)


@contextlib.contextmanager
def session(app: App, name: str) -> Generator[SessionLease]:
    """A connection to the agent of a running sandbox; while it is open, the sandbox stays up."""
    from sbx.lifecycle.session import open_session

    with open_session(app.paths, known(name)) as lease:
        yield lease


class StartListener:
    """Turns the supervisor's report into one step of progress."""

    def __init__(self, name: str, progress: Progress) -> None:
        self._name = name
        self._progress = progress
        self._begun = False

    def __call__(self, event: StartEvent) -> None:
        if not self._begun:
            self._begun = True
            self._progress.begin(f"Starting sandbox {self._name}")
        self._progress.note(_PHASES.get(event.phase, event.phase))
        if event.state is State.RUNNING:  # what follows, of kits, has steps of its own
            self.done()

    def done(self) -> None:
        if self._begun:
            self._begun = False
            self._progress.end()


@contextlib.contextmanager
def start_listener(name: str, progress: Progress) -> Generator[StartListener]:
    """What turns the report of a start into progress."""
    listener = StartListener(name, progress)
    yield listener
    listener.done()
