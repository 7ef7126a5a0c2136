# SPDX-License-Identifier: Apache-2.0
"""`sbx inspect`: everything that is known of one sandbox, what failed included."""

from __future__ import annotations

import click

from sbx.cli import engine, views
from sbx.cli.app import App, Format
from sbx.cli.group import Command
from sbx.cli.options import format_options, pass_app, sandbox_names
from sbx.cli.output import clean, duration, emit, out
from sbx.cli.port_rows import active_ports
from sbx.sandbox.git import GitMode
from sbx.sandbox.status import DiskState, SandboxStatus
from sbx.sandbox.units import format_size

_EXAMPLES = """
sbx inspect shell-myproject

# Why did it fail?
sbx inspect shell-myproject --json | jq -r .failure.message
"""


@click.command("inspect", cls=Command, examples=_EXAMPLES)
@click.argument("sandbox", shell_complete=sandbox_names)
@format_options
@pass_app
def command(app: App, sandbox: str) -> None:
    """Show everything about a sandbox."""
    engine.begin(app)
    engine.refresh_git(app, sandbox)
    one = engine.status(app, sandbox, details=True)
    if app.format is not Format.TABLE:
        emit(app, views.document(one, app.paths))
        return
    lines = [
        *_head(one),
        *_mounts(one),
        *_network(one),
        *_canaries(one),
        *_git(one),
        *_size(one),
        *_times(one),
        *_failure(one),
    ]
    lines.append(("folder", str(app.paths.sandbox(one.spec.name))))
    width = max(len(key) for key, _value in lines) + 2
    for key, value in lines:
        out(f"{key:<{width}}{clean(value)}".rstrip())


def _head(one: SandboxStatus) -> list[tuple[str, str]]:
    state = one.state.value if one.responsive else f"{one.state.value} (not answering)"
    lines = [
        ("sandbox", one.spec.name),
        ("id", one.spec.id),
        ("agent", one.spec.agent),
        ("state", state),
    ]
    if one.live is not None:
        lines.append(("uptime", duration(one.live.uptime_s)))
        lines.append(("sessions", str(one.live.sessions)))
    return [*lines, ("image", one.spec.template)]


def _mounts(one: SandboxStatus) -> list[tuple[str, str]]:
    work = one.spec.git
    if work is not None and work.mode is GitMode.CLONE:
        clone = [("workspace", f"{work.origin} (clone)")]
        return [*clone, *_shared(one), ("workdir", one.spec.workdir)]
    if not one.spec.mounts:
        return [("workspace", "none · no workspace bind mount"), ("workdir", one.spec.workdir)]
    return [*_shared(one), ("workdir", one.spec.workdir)]


def _shared(one: SandboxStatus) -> list[tuple[str, str]]:
    return [("workspace", describe_mount(str(m.source), str(m.target), read_only=m.read_only))
            for m in one.spec.mounts]  # fmt: skip


def _git(one: SandboxStatus) -> list[tuple[str, str]]:
    work, state = one.spec.git, one.record.git
    if work is None:
        return []
    lines = [
        ("repository", work.origin),
        (work.mode.value, f"{work.branch or 'detached'}, from {work.start[:12]}"),
    ]
    if work.url is not None:
        lines = [("clone", work.url)]
    if state is not None:
        ahead = f"{state.ahead} commits ahead, {state.uncommitted} files with uncommitted changes"
        lines.append(("", ahead))
        if state.problem is not None:
            lines.append(("problem", state.problem))
    return lines


def describe_mount(source: str, target: str, *, read_only: bool) -> str:
    """A mount for people: `/path (rw)`, `/path → /other (ro)`."""
    place = source if source == target else f"{source} → {target}"
    return f"{place} ({'ro' if read_only else 'rw'})"


def _network(one: SandboxStatus) -> list[tuple[str, str]]:
    lines = [("port", str(binding)) for binding in active_ports(one)]
    if one.live is not None:
        lines.append(("connections", str(one.live.connections)))
        counts = {kind: count for kind, count in (one.live.dropped or {}).items() if count}
        if counts:
            text = ", ".join(f"{kind} {count}" for kind, count in counts.items())
            lines.append(("dropped packets", text))
    return lines


def _canaries(one: SandboxStatus) -> list[tuple[str, str]]:
    return [
        (
            "canary",
            f"placeholder of {c.secret} on its way to {c.place} ({c.at:%Y-%m-%d %H:%M:%S} UTC)",
        )
        for c in one.record.canaries
    ]


def _size(one: SandboxStatus) -> list[tuple[str, str]]:
    wanted = one.spec.resources
    lines = [
        ("cpu", str(wanted.cpus)),
        ("memory", format_size(wanted.memory_bytes)),
        (
            "disk",
            f"{format_size(one.disk_size_bytes or wanted.disk_bytes)}, "
            f"{format_size(one.disk_bytes)} taken on the host",
        ),
    ]
    match views.disk_shortage(one):
        case DiskState.LOW | DiskState.FULL as state:
            lines.append(("", f"{state}: sbx disk grow {one.spec.name} SIZE makes room"))
        case DiskState.HOST_FULL:
            lines.append(("", "stands still: no space left on the host"))
        case _:
            pass
    if one.record.accel is not None:
        lines.append(("accel", str(one.record.accel)))
    return lines


def _times(one: SandboxStatus) -> list[tuple[str, str]]:
    times = (
        ("created", one.spec.created_at),
        ("last used", one.record.last_used_at),
        ("stopped", None if one.live else one.record.stopped_at),
    )
    return [(key, f"{at:%Y-%m-%d %H:%M:%S} UTC") for key, at in times if at is not None]


def _failure(one: SandboxStatus) -> list[tuple[str, str]]:
    failure = one.record.failure
    if failure is None:
        return []
    lines = [("failure", failure.message)]
    lines += [("", line) for line in (failure.details or "").splitlines()]
    return [*lines, ("", failure.hint)] if failure.hint else lines
