# SPDX-License-Identifier: Apache-2.0
"""What a sandbox keeps of the kits that it was made from: fixed at its creation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A command that is run at every start."""

    argv: tuple[str, ...]
    user: str
    background: bool = False  # the start does not wait for its end


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedKit:
    """A kit, as it was."""

    name: str
    resolved: str  # a path, a commit, a digest, a built-in agent
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KitPlace:
    """A place where the secret of a kit's own service is put in."""

    host: str  # a pattern of `sbx.credential.places`
    header: str  # lower case
    format: str | None  # with one `%s`; None: Basic
    username: str = ""  # of Basic


@dataclass(frozen=True, slots=True, kw_only=True)
class KitService:
    """A service that a kit declares, and that the user agreed to."""

    name: str  # as `sbx secret set` has it
    variable: str | None  # of the sandbox, holds a placeholder
    places: tuple[KitPlace, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What later starts and sessions need of them."""

    interactive: tuple[str, ...] = ()  # what `run` starts on a terminal; empty: the same as without
    startup: tuple[Step, ...] = ()
    services: tuple[KitService, ...] = ()
    kits: tuple[UsedKit, ...] = ()  # empty: nothing was to be carried out


NO_RECIPE = Recipe()
