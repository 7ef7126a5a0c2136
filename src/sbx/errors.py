# SPDX-License-Identifier: Apache-2.0
"""The one error shape of the project.

Every failure that a person may read is an `SbxError`: a sentence that says what failed on which
object, a hint that says what to do now, and optional details. Classes are cut by what the caller
does about them, not by where they come from. Only `sbx.cli` prints them and exits.
"""

from __future__ import annotations


class SbxError(Exception):
    """A failure that has a sentence for the user.

    `message` has no full stop and starts in lower case; `hint` is a command or an action;
    `details` holds longer evidence, such as the end of a log.
    """

    def __init__(
        self, message: str, *, hint: str | None = None, details: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details


class UserError(SbxError):
    """What was asked cannot be done as asked: the user changes the request."""


class NotFoundError(UserError):
    """The named object does not exist."""


class ConflictError(UserError):
    """The object is in a state, or a name is taken, that forbids the request."""


class HostError(SbxError):
    """The host lacks or forbids something: the user changes the machine (package, permission)."""


class TransientError(SbxError):
    """It failed now and may work later without anybody changing anything."""


class PermanentError(SbxError):
    """It failed and will fail again: a damaged object, or a defect of ours."""


class OutcomeUnknownError(SbxError):
    """The request was sent and no answer came: it may or may not have been carried out."""
