# SPDX-License-Identifier: Apache-2.0
"""What all commands of one call share: global flags, and the folders and settings behind them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sbx.lifecycle.standby import Standby
    from sbx.store.paths import Paths
    from sbx.store.settings import Settings


class Format(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


@dataclass
class App:
    """The global flags of one call. Paths and settings are found when first asked for."""

    debug: bool = False
    no_input: bool = False
    app_name: str | None = None
    format: Format = Format.TABLE
    timings: bool = False  # show where the time of a start went
    printed: bool = False  # a document is on standard output
    standby: Standby | None = None  # a supervisor that is loaded for the start that will come

    @cached_property
    def paths(self) -> Paths:
        """The folders of this installation; nothing is made.

        Raises:
            UserError: `--app-name` is not a name.
        """
        from sbx.store.paths import find_paths

        return find_paths(self.app_name)

    @cached_property
    def settings(self) -> Settings:
        """The settings in force.

        Raises:
            UserError: the settings file, or a variable, is malformed.
        """
        from sbx.store.settings import load_settings

        return load_settings(self.paths)


def current_app() -> App:
    """The `App` of the running command."""
    return click.get_current_context().ensure_object(App)
