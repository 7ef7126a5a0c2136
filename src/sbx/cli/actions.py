# SPDX-License-Identifier: Apache-2.0
"""Doing the same to several sandboxes: one that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sbx.cli import views
from sbx.cli.app import App, Format
from sbx.cli.exit_status import ExitStatus
from sbx.cli.output import Json, emit
from sbx.cli.report import report_error
from sbx.errors import SbxError


def each(app: App, names: Iterable[str], act: Callable[[str], dict[str, Json]]) -> ExitStatus:
    """Call `act` for every name (once); print the results if JSON or YAML was asked for."""
    results: list[Json] = []
    status = ExitStatus.OK
    for name in dict.fromkeys(names):
        try:
            results.append(act(name))
        except SbxError as error:
            status = ExitStatus.FAILURE
            results.append(views.action("failed", name, error=error.message))
            report_error(app, error, document=False)
    if app.format is not Format.TABLE:
        emit(app, results)
    return status
