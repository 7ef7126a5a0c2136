# SPDX-License-Identifier: Apache-2.0
"""`python -m sbx` is `sbx`.

Started by `bin/sbx` of a checkout, it also sees to it that a damaged environment is made again: if
the command line cannot be loaded and a file of the environment differs from its digest, the stamp
is removed and `bin/sbx` starts over, once.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn


def run() -> NoReturn:
    """Run the command line, after mending the environment if that is what keeps it from loading."""
    try:
        from sbx.cli.main import program  # noqa: PLC0415 - its failure is the subject here
    except Exception:
        start_over_if_damaged()
        raise
    program()


def start_over_if_damaged() -> None:
    """Does not return if the environment is damaged and belongs to a checkout."""
    from sbx.system.installed import damaged_files  # noqa: PLC0415 - rarely needed

    launcher = os.environ.get("SBX_LAUNCHER", "")
    stamp = Path(sys.prefix) / "stamp"
    if not launcher or "SBX_STARTED_OVER" in os.environ or not stamp.is_file():
        return
    if damaged_files():
        print("The Python environment is damaged and is made again", file=sys.stderr)  # noqa: T201 - a front door
        stamp.unlink(missing_ok=True)
        os.environ["SBX_STARTED_OVER"] = "1"
        os.execv(launcher, [launcher, *sys.argv[1:]])  # noqa: S606 - our own launcher


if __name__ == "__main__":
    run()
