# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a kit: every finding with its place, collected, not raised one by one."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from sbx.errors import UserError
from sbx.kit.builtin import SPEC_FILE
from sbx.system.text import printable

SPEC = SPEC_FILE
_MOST = 100  # findings that are kept: more help nobody


class Level(StrEnum):
    """How much a finding matters."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a document, counted from 1; line 0 is no place."""

    line: int = 0
    column: int = 0


NOWHERE = Mark()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong, or will not work as its author may expect."""

    level: Level
    message: str
    path: str  # dotted, such as `setup.install[0].command`; empty: the document
    mark: Mark = NOWHERE
    file: str = SPEC

    def __str__(self) -> str:
        place = f":{self.mark.line}:{self.mark.column}" if self.mark.line else ""
        return printable(f"{self.file}{place}: {self.message}")


class KitError(UserError):
    """A kit that cannot be used; `findings` are all the reasons."""

    def __init__(
        self, message: str, *, hint: str | None = None, findings: tuple[Finding, ...] = ()
    ) -> None:
        errors = [str(one) for one in findings if one.level is Level.ERROR]
        super().__init__(message, hint=hint, details="\n".join(errors) or None)
        self.findings = findings


@dataclass(slots=True)
class Findings:
    """Collects the findings of one kit."""

    file: str = SPEC
    found: list[Finding] = field(default_factory=list[Finding])

    def error(self, path: str, message: str, mark: Mark = NOWHERE) -> None:
        self._add(Level.ERROR, path, message, mark)

    def warning(self, path: str, message: str, mark: Mark = NOWHERE) -> None:
        self._add(Level.WARNING, path, message, mark)

    @property
    def failed(self) -> bool:
        """Whether there is an error among them."""
        return any(one.level is Level.ERROR for one in self.found)

    def has_error_at(self, path: str) -> bool:
        """Whether an error was found at a path, above it or below it."""
        return any(
            one.level is Level.ERROR and (_leads_to(one.path, path) or _leads_to(path, one.path))
            for one in self.found
        )

    @property
    def warnings(self) -> tuple[Finding, ...]:
        return tuple(one for one in self.found if one.level is Level.WARNING)

    def check(self, what: str) -> None:
        """Raise KitError with everything found, if there is an error."""
        if not self.failed:
            return
        count = sum(one.level is Level.ERROR for one in self.found)
        text = f"invalid spec.yaml of kit {what}: {count} error{'s' if count > 1 else ''}"
        ordered = sorted(self.found, key=lambda one: (one.mark.line, one.mark.column))
        raise KitError(text, findings=tuple(ordered))

    def _add(self, level: Level, path: str, message: str, mark: Mark) -> None:
        one = Finding(level=level, message=message, path=path, mark=mark, file=self.file)
        if len(self.found) < _MOST and one not in self.found:
            self.found.append(one)


def _leads_to(above: str, path: str) -> bool:
    return bool(above) and (path == above or path.startswith((f"{above}.", f"{above}[")))
