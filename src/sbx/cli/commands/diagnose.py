# SPDX-License-Identifier: Apache-2.0
"""`sbx diagnose`: what set-up and machines need, each with a verdict and a remedy."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

import click

import sbx
from sbx.cli.app import App, Format
from sbx.cli.checks.catalogue import ALL
from sbx.cli.checks.model import Check, Finding, Outcome
from sbx.cli.checks.runner import run_checks
from sbx.cli.exit_status import ExitStatus
from sbx.cli.group import Command
from sbx.cli.logs import set_up_logs
from sbx.cli.options import formats_with, pass_app
from sbx.cli.output import Json, clean, emit, out

_VERSION = "1.0"  # of the JSON document
_MARKS = {Outcome.PASS: "✓", Outcome.WARN: "!", Outcome.FAIL: "✗", Outcome.SKIP: "-"}
_ISSUE = "github-issue"
_EXAMPLES = """
sbx diagnose

# What fails, and what to do about it
sbx diagnose --json | jq -r '.checks[] | select(.status == "fail") | .hint'

# Text to paste into an issue
sbx diagnose --format github-issue
"""

Results = Sequence[tuple[Check, Finding]]


@click.command("diagnose", cls=Command, examples=_EXAMPLES)
@formats_with(_ISSUE, "-o", "--output")
@pass_app
def command(app: App, form: str | None) -> ExitStatus:
    """Check what this machine needs to run sandboxes.

    The exit status is 1 if a check failed; warnings do not change it.
    """
    set_up_logs(debug=app.debug)
    results = run_checks(ALL, app.paths)
    if form == _ISSUE:
        out(issue_text(results))
    elif app.format is not Format.TABLE:
        emit(app, document(results))
    else:
        _show(results)
    failed = any(finding.outcome is Outcome.FAIL for _check, finding in results)
    return ExitStatus.FAILURE if failed else ExitStatus.OK


def document(results: Results) -> dict[str, Json]:
    """The results as JSON has them."""
    checks: list[Json] = [
        {
            "name": check.name,
            "section": check.section,
            "status": str(finding.outcome),
            "message": finding.message,
            "detail": finding.detail,
            "hint": finding.hint,
        }
        for check, finding in results
    ]
    return {"version": _VERSION, "checks": checks, "summary": {**_summary(results)}}


def issue_text(results: Results) -> str:
    """The results as Markdown, without user names or paths beyond what the checks say."""
    rows = [
        f"| {check.name} | {finding.outcome} | {_cell(finding.message)} |"
        for check, finding in results
    ]
    details = [
        f"**{check.name}**\n\n```\n{clean_lines(finding.detail)}\n```\n"
        for check, finding in results
        if finding.detail and finding.outcome in (Outcome.WARN, Outcome.FAIL)
    ]
    head = [
        "### sbx diagnose",
        "",
        f"- sbx: v{sbx.__version__}",
        f"- host: {platform.platform()}",
        "",
        "| check | result | message |",
        "| --- | --- | --- |",
    ]
    return _without_home("\n".join([*head, *rows, "", *details]).rstrip())


def _without_home(text: str) -> str:
    """An issue is public: the home folder tells the user's name."""
    home = str(Path.home())
    return text if home == "/" else text.replace(home, "~")


def clean_lines(text: str) -> str:
    """Several lines, each without control characters."""
    return "\n".join(clean(line) for line in text.splitlines())


def _cell(text: str) -> str:
    return clean(text).replace("|", "\\|")


def _summary(results: Results) -> dict[str, int]:
    return {str(o): sum(finding.outcome is o for _c, finding in results) for o in Outcome}


def _show(results: Results) -> None:
    section = ""
    width = max(len(check.name) for check, _finding in results)
    for check, finding in results:
        if check.section != section:
            out(f"{'' if not section else chr(10)}{check.section}")
            section = check.section
        out(f"  {_MARKS[finding.outcome]} {check.name:<{width}}  {clean(finding.message)}")
        if finding.outcome in (Outcome.WARN, Outcome.FAIL):
            for line in finding.detail.splitlines():
                out(f"      {clean(line)}")
        if finding.hint:
            out(f"      {clean(finding.hint)}")
    counts = _summary(results)
    counted = zip(("passed", "warnings", "failed", "skipped"), counts.values(), strict=True)
    out("\n" + ", ".join(f"{count} {word}" for word, count in counted))
