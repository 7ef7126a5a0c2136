# SPDX-License-Identifier: Apache-2.0
"""Patterns of what is masked, with the grammar of gitignore(5). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from sbx.errors import UserError

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec


def compile_patterns(patterns: Sequence[str]) -> GitIgnoreSpec:
    """One matcher of all; later patterns win. Folders are matched with a `/` at their end.

    Raises:
        UserError: a line is not a pattern.
    """
    from pathspec import GitIgnoreSpec  # noqa: PLC0415 - only for those who mask something

    for pattern in patterns:
        try:
            GitIgnoreSpec.from_lines([pattern])
        except ValueError as error:
            raise UserError(f"not a pattern as in .gitignore: `{pattern}`") from error
    return GitIgnoreSpec.from_lines(patterns)


def matching(patterns: Sequence[str], names: Iterable[str]) -> list[str]:
    """Those of some names, relative to the mount, that are masked."""
    return list(compile_patterns(patterns).match_files(names)) if patterns else []
