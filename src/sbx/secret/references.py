# SPDX-License-Identifier: Apache-2.0
"""Values that others keep: a password manager's URI, or the output of the user's own command."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from sbx.credential.values import Value, check_value
from sbx.errors import HostError, SbxError, TransientError, UserError
from sbx.secret.entries import Entry, Source
from sbx.system.process import CommandError, base_env, run
from sbx.system.text import printable

_TIMEOUT_S = 30.0
_ARN = re.compile(r"arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:[A-Za-z0-9/_+=.@-]+")
_OP = re.compile(r"op://[^\x00-\x1f\x7f]+")
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
ON_DEMAND = "on-demand"
DEFAULT_REFRESH_S = 55 * 60.0


def check_reference(uri: str) -> str:
    """A URI that we know how to resolve.

    Raises:
        UserError: we do not.
    """
    if not _OP.fullmatch(uri) and not _ARN.fullmatch(uri):
        raise UserError(
            f'unknown kind of reference: "{printable(uri[:80])}"',
            hint="Use op://VAULT/ITEM/FIELD, the ARN of an AWS secret, or --command",
        )
    return uri


def check_command(text: str) -> str:
    """A command for the user's shell.

    Raises:
        UserError: it is empty or has several lines.
    """
    if not text.strip() or not text.isprintable():
        raise UserError("--command takes one line for the shell")
    return text


def parse_refresh(text: str) -> float | None:
    """How long a fetched value counts, in seconds; None for `on-demand`.

    Raises:
        UserError: it is no duration.
    """
    if text == ON_DEMAND:
        return None
    found = _DURATION.fullmatch(text)
    if not text or found is None:
        raise UserError(
            f'not a duration: "{printable(text[:80])}"', hint=f"Use 55m, 1h30m or {ON_DEMAND}"
        )
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    total = hours * 3600 + minutes * 60 + seconds
    if total < 1:
        raise UserError("a refresh time is at least 1s", hint=f"Or use {ON_DEMAND}")
    return float(total)


def fetch(entry: Entry, *, show_error: bool = False) -> Value:
    """The value behind a reference. Takes as long as its program does, at most 30 seconds.

    `show_error` adds what the program wrote to its standard error, if it fails.

    Raises:
        HostError: the program is not there.
        TransientError: it fails; what it printed is in no message.
    """
    if entry.source is Source.COMMAND:
        argv = ["/bin/sh", "-c", entry.reference]
    elif entry.reference.startswith("op://"):
        argv = ["op", "read", "--no-newline", entry.reference]
    else:
        argv = ["aws", "secretsmanager", "get-secret-value", "--secret-id", entry.reference,
                "--query", "SecretString", "--output", "text"]  # fmt: skip
    if shutil.which(argv[0], path=base_env()["PATH"]) is None:
        raise HostError(
            f"the secret `{entry.name}` needs a program that is missing: `{argv[0]}`",
            hint=f"Install `{argv[0]}` and log in with it",
        )
    with tempfile.TemporaryDirectory(prefix="sbx-secret-") as folder:
        try:
            done = run(argv, cwd=Path(folder), timeout_s=_TIMEOUT_S, check=False)
        except CommandError as error:
            raise _failed(entry, f"no answer after {_TIMEOUT_S:.0f} s") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace")[-2000:] if show_error else None
        raise _failed(entry, f"status {done.returncode}", said)
    try:
        return check_value(done.stdout.decode("utf-8"))
    except UnicodeDecodeError:
        raise _failed(entry, "what came is no text") from None
    except SbxError as error:
        raise _failed(entry, error.message) from None


def _failed(entry: Entry, why: str, said: str | None = None) -> TransientError:
    what = "command" if entry.source is Source.COMMAND else "reference"
    return TransientError(
        f"the {what} of secret `{entry.name}` gave no value: {why}",
        hint="Run it by hand and see what it prints",
        details=said,
    )
