# SPDX-License-Identifier: Apache-2.0
"""`sbx policy log`: what was allowed and blocked, live too; and whether the log is whole."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import click

from sbx.cli import engine
from sbx.cli.app import App, Format
from sbx.cli.exit_status import ExitStatus
from sbx.cli.group import Command
from sbx.cli.options import formats_with, pass_app, sandbox_names
from sbx.cli.output import Json, clean, emit, note, out, table, timestamp, warn
from sbx.cli.policy import logviews, ocsf
from sbx.cli.policy.follow import follow
from sbx.cli.policy.logviews import Seen
from sbx.errors import NotFoundError
from sbx.store import records as sandboxes
from sbx.store.audit import Log, Record, find_logs
from sbx.store.audit_reader import Verdict, records, verify

_OCSF = "ocsf"
_LAST = 10  # entries that are shown before following
_EXAMPLES = """
sbx policy log

# One sandbox, live
sbx policy log shell-myproject --follow

# Was the log changed by anybody?
sbx policy log --verify

# For other tools, one OCSF event a line
sbx policy log --format ocsf
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What was asked for."""

    sandbox: str | None
    kind: str | None
    limit: int | None
    ocsf: bool


@click.command("log", cls=Command, examples=_EXAMPLES)
@click.argument("sandbox", required=False, shell_complete=sandbox_names)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most so many rows each")
@click.option(
    "--type", "kind", type=click.Choice(["all", "network", "http", "dns"]), metavar="TYPE",
    help="network, http, dns or all (default: all but look-ups that were allowed)",
)  # fmt: skip
@click.option(
    "--follow", "following", is_flag=True, help="The last entries, and each new one as it comes"
)
@click.option(
    "--verify", "verifying", is_flag=True,
    help="Check that no line was changed or is missing; the exit status is 1 if so",
)  # fmt: skip
@formats_with(_OCSF)
@pass_app
@click.pass_context
def log(
    ctx: click.Context, app: App, *, sandbox: str | None, limit: int | None, kind: str | None,
    following: bool, verifying: bool, form: str | None,
) -> ExitStatus:  # fmt: skip
    """Show what sandboxes reached and what was blocked, also of sandboxes that are removed.

    Equal decisions are one row. With --follow, or as ocsf, each entry is a line of its own.
    """
    if following and verifying:
        raise click.UsageError("--follow and --verify cannot be used together", ctx)
    if following and app.format is Format.YAML:
        raise click.UsageError("--follow prints lines: use --format json or ocsf", ctx)
    _check_name(app, sandbox)
    wanted = _Wanted(sandbox=sandbox, kind=kind, limit=limit, ocsf=form == _OCSF)
    if verifying:
        return _verify(app, find_logs(app.paths, sandbox))
    if following:
        _follow(app, wanted)
    elif wanted.ocsf:
        for one in _last(list(_read(app, wanted)), limit):
            out(json.dumps(ocsf.event(one)))
    else:
        _show(app, wanted)
    return ExitStatus.OK


def _check_name(app: App, name: str | None) -> None:
    """Raise NotFoundError unless there is or was such a sandbox."""
    if name is None or find_logs(app.paths, name):
        return
    if engine.known(name) not in sandboxes.names(app.paths):
        raise NotFoundError(f'sandbox not found: "{name}"', hint="Run: sbx ls")


def _read(app: App, wanted: _Wanted) -> Iterator[Seen]:
    for found in find_logs(app.paths, wanted.sandbox):
        for record in records(found):
            _tell(found, record)
            if (one := _seen(found, record, wanted)) is not None:
                yield one


def _seen(found: Log, record: Record, wanted: _Wanted) -> Seen | None:
    if record.entry is None or not logviews.is_wanted(record.entry, wanted.kind):
        return None
    return Seen(sandbox=found.sandbox, at=record.at, entry=record.entry)


def _tell(found: Log, record: Record) -> None:
    """What is not as it should be."""
    if (lost := record.lost) is not None:
        warn(
            f"sandbox {clean(found.sandbox)}: {lost.blocked} blocked and {lost.allowed} allowed "
            f"since {timestamp(lost.since)} are not in the log: it could not be written"
        )
    if (repaired := record.repaired) is not None:
        note(
            f"the log of sandbox {clean(found.sandbox)} ended in an unfinished line of "
            f"{repaired.dropped_bytes} bytes, which was cut off at {timestamp(record.at)}"
        )


def _show(app: App, wanted: _Wanted) -> None:
    seen = list(_read(app, wanted))
    blocked = logviews.group(seen, allowed=False, limit=wanted.limit)
    allowed = logviews.group(seen, allowed=True, limit=wanted.limit)
    if app.format is not Format.TABLE:
        rows: dict[str, Json] = {
            "allowed": [row.document() for row in allowed],
            "blocked": [row.document() for row in blocked],
        }
        if app.settings.text("output.jsonCompat") == "wrapped":
            emit(app, {f"{name}_hosts": found for name, found in rows.items()})
        else:
            latest = max((one.at for one in seen), default=None)
            emit(app, {"updated_at": timestamp(latest or datetime.now(UTC)), **rows})
        return
    if not seen:
        out("No policy log entries found")
        return
    sections = (("Blocked requests:", blocked), ("Allowed requests:", allowed))
    shown = [(title, found) for title, found in sections if found]
    for place, (title, found) in enumerate(shown):
        out(("\n" if place else "") + title)
        out(table(logviews.COLUMNS, [row.cells() for row in found]))


def _last(seen: list[Seen], limit: int | None) -> list[Seen]:
    seen.sort(key=lambda one: one.at)
    return seen if limit is None else seen[-limit:]


def _follow(app: App, wanted: _Wanted) -> None:
    show = _printer(app, wanted)
    last: int | None = wanted.limit or _LAST  # of what is there; then everything is shown

    def on_records(found: list[tuple[Log, Record]]) -> None:
        nonlocal last
        for where, record in found:
            _tell(where, record)
        seen = [one for where, record in found if (one := _seen(where, record, wanted)) is not None]
        for one in _last(seen, last):
            show(one)
        sys.stdout.flush()
        last = None

    follow(app.paths, wanted.sandbox, on_records)


def _printer(app: App, wanted: _Wanted) -> Callable[[Seen], None]:
    if wanted.ocsf:
        return lambda one: out(json.dumps(ocsf.event(one)))
    if app.format is Format.JSON:
        return lambda one: out(json.dumps(logviews.document(one)))
    return lambda one: out(clean(logviews.line(one)))


def _verify(app: App, logs: list[Log]) -> ExitStatus:
    verdicts = [verify(found) for found in logs]
    bad = any(verdict.problems for verdict in verdicts)
    if app.format is not Format.TABLE:
        emit(app, [_verdict_document(verdict) for verdict in verdicts])
    elif not verdicts:
        out("No policy log entries found")
    else:
        for verdict in verdicts:
            _print_verdict(verdict)
    return ExitStatus.FAILURE if bad else ExitStatus.OK


def _print_verdict(verdict: Verdict) -> None:
    name = f"{clean(verdict.log.sandbox)} ({clean(verdict.log.sandbox_id)})"
    if not verdict.problems:
        out(f"✓ {name}: {verdict.entries} lines, the last has hash {verdict.hash}")
    for problem in verdict.problems:
        place = f"line {problem.line}" if problem.line is not None else "as a whole"
        out(f"✗ {name}: generation {problem.generation}, {place}: {problem.text}")
    for text in verdict.notes:
        note(f"{name}: {text}")


def _verdict_document(verdict: Verdict) -> Json:
    return {
        "sandbox": verdict.log.sandbox,
        "sandbox_id": verdict.log.sandbox_id,
        "ok": not verdict.problems,
        "lines": verdict.entries,
        "hash": verdict.hash,
        "problems": [
            {"generation": p.generation, "line": p.line, "text": p.text} for p in verdict.problems
        ],
        "notes": list(verdict.notes),
    }
