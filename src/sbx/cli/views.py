# SPDX-License-Identifier: Apache-2.0
"""What is shown of a sandbox: rows of `ls`, the document of `inspect`, results of actions."""

from __future__ import annotations

import sbx
from sbx.cli.output import Json, timestamp
from sbx.cli.port_rows import active_ports, port_row
from sbx.sandbox.git import GitMode
from sbx.sandbox.state import State
from sbx.sandbox.status import DiskState, SandboxStatus
from sbx.store import paths as names
from sbx.store.paths import Paths


def row(one: SandboxStatus) -> dict[str, Json]:
    """A sandbox as `ls --json` has it. One that failed is stopped, and says why."""
    spec, record = one.spec, one.record
    fields: dict[str, Json] = {
        "id": spec.id,
        "name": spec.name,
        "agent": spec.agent,
        "status": "stopped" if one.state is State.FAILED else one.state.value,
        "ports": [port_row(binding) for binding in active_ports(one)],
        "workspaces": [*_clone(one), *(str(mount) for mount in spec.mounts)],
        "created_at": timestamp(spec.created_at),
        "last_used_at": timestamp(record.last_used_at),
        "detached": record.detached,
    }
    if one.state is State.FAILED and record.failure is not None:
        fields["failure"] = record.failure.message
    if not one.responsive:
        fields["responsive"] = False
    if (shortage := disk_shortage(one)) is not None:
        fields["disk_state"] = shortage.value
    if spec.git is not None:
        fields["git"] = git_facts(one)
    return fields


def git_facts(one: SandboxStatus) -> dict[str, Json]:
    """Branch or clone of a sandbox, and how far it is; empty without one."""
    work, state = one.spec.git, one.record.git
    if work is None:
        return {}
    fields: dict[str, Json] = {
        "mode": work.mode.value,
        "repository": str(work.repository) if work.url is None else None,
        "url": work.url,
        "branch": work.branch,
        "base": work.base,
        "start": work.start or None,
        "head": state.head if state else None,
        "commits_ahead": state.ahead if state else 0,
        "uncommitted_files": state.uncommitted if state else 0,
        "brought_over_at": timestamp(state.at) if state else None,
        "problem": state.problem if state else None,
    }
    return {key: value for key, value in fields.items() if value is not None}


def branch_cell(one: SandboxStatus) -> str:
    """Branch, commits ahead and changed files in a few characters: `fix +2 ~1`."""
    work, state = one.spec.git, one.record.git
    if work is None:
        return ""
    parts = [work.branch or work.start[:12] or "clone"]
    if state is not None and state.ahead:
        parts.append(f"+{state.ahead}")
    if state is not None and state.uncommitted:
        parts.append(f"~{state.uncommitted}")
    return " ".join([*parts, "!"] if state is not None and state.problem else parts)


def _clone(one: SandboxStatus) -> list[str]:
    """The folder of the host that a clone is of: it is no mount."""
    work = one.spec.git
    return [work.origin] if work is not None and work.mode is GitMode.CLONE else []


def disk_shortage(one: SandboxStatus) -> DiskState | None:
    """What of a running sandbox's disk a user should know at a glance."""
    state = one.live.disk_state if one.live is not None else DiskState.OK
    return None if state is DiskState.OK else state


def cells(one: SandboxStatus) -> list[str]:
    """A sandbox as a line of the table of `ls`."""
    state = one.state.value if one.responsive else f"{one.state.value} (not answering)"
    match disk_shortage(one):
        case DiskState.FULL:
            state = f"{state} (disk full)"
        case DiskState.HOST_FULL:
            state = f"{state} (stands still: no space left on the host)"
        case DiskState.OK | DiskState.LOW | None:
            pass
    own = [*_clone(one), *(str(mount.source) for mount in one.spec.mounts)]
    workspace = own[0] if own else "-"
    ports = ", ".join(map(str, active_ports(one)))
    return [one.spec.name, one.spec.agent, state, ports, workspace]


def document(one: SandboxStatus, where: Paths) -> dict[str, Json]:
    """A sandbox as `inspect --json` has it; what is not known or empty is absent."""
    spec, record, live = one.spec, one.record, one.live
    folder = where.sandbox(spec.name)
    failure = record.failure
    fields: dict[str, Json] = {
        "id": spec.id,
        "name": spec.name,
        "agent": spec.agent,
        "state": one.state.value,
        "responsive": None if one.responsive else False,
        "uptime": go_duration(live.uptime_s) if live else None,
        "image": spec.template,
        "layers": list(spec.layers),
        "user": spec.user,
        "command": list(spec.command),
        "workspace": next(iter((*_clone(one), *(str(m.source) for m in spec.mounts))), None),
        "workdir": spec.workdir,
        "mounts": [
            {"source": str(m.source), "target": str(m.target), "read_only": m.read_only}
            for m in spec.mounts
        ],
        "git": git_facts(one),
        "resources": {
            "cpus": spec.resources.cpus,
            "memory_bytes": spec.resources.memory_bytes,
            "disk_bytes": one.disk_size_bytes or spec.resources.disk_bytes,
            "disk_allocated_bytes": one.disk_bytes,
            "disk_used_bytes": live.disk_used_bytes if live else None,
            "disk_state": live.disk_state.value if live else None,
            "memory_used_bytes": live.memory_used_bytes if live else None,
        },
        "ports": [
            f"{binding.host}->{binding.sandbox_port}/{binding.protocol.transport}"
            for binding in active_ports(one)
        ],
        "network": {"connections": live.connections, "dropped": live.dropped} if live else None,
        "secrets": _secrets(where, spec.name),
        "canaries": [
            {"secret": c.secret, "place": c.place, "at": timestamp(c.at)} for c in record.canaries
        ],
        "accel": str(record.accel) if record.accel else None,
        "sessions": live.sessions if live else None,
        "detached": record.detached,
        "starts": record.starts,
        "created_at": timestamp(spec.created_at),
        "last_used_at": timestamp(record.last_used_at),
        "stopped_at": timestamp(record.stopped_at),
        "failure": None
        if failure is None
        else {
            "message": failure.message,
            "hint": failure.hint,
            "details": failure.details,
            "at": timestamp(failure.at),
        },
        "daemon_version": f"v{sbx.__version__}" if live else None,
        "daemon_pid": live.pid if live else None,
        "folder": str(folder),
        "logs": {
            "events": str(folder / names.EVENTS),
            "supervisor": str(folder / names.SUPERVISOR_LOG),
            "console": str(folder / names.CONSOLE_LOG),
        },
    }
    return _without_empty(fields)


def _secrets(where: Paths, sandbox: str) -> list[Json]:
    """The secrets that a sandbox gets, without values."""
    from sbx.errors import SbxError
    from sbx.secret.entries import read_entries
    from sbx.secret.source import chosen

    try:
        entries = chosen(read_entries(where), sandbox)
    except SbxError:
        return []  # `sbx secret ls` says why
    return [
        {"name": e.name, "source": e.source.value, "scope": "sandbox" if e.sandbox else "global"}
        for e in entries
    ]


def action(
    done: str, name: str, *, sandbox_id: str | None = None, error: str | None = None
) -> dict[str, Json]:
    """What happened to one sandbox, as mutating verbs report it."""
    fields: dict[str, Json] = {
        "action": done, "resource": "sandbox", "name": name, "id": sandbox_id, "error": error,
    }  # fmt: skip
    return {key: value for key, value in fields.items() if value is not None}


def go_duration(seconds: float) -> str:
    """A length of time as Go prints it: `42s`, `5m3s`, `2h0m3s`."""
    whole = int(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def _without_empty(fields: dict[str, Json]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for key, value in fields.items():
        kept = _without_empty(value) if isinstance(value, dict) else value  # pyright: ignore[reportUnknownArgumentType]
        if kept is not None and kept not in ("", [], {}):
            found[key] = kept
    return found
