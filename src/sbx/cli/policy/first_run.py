# SPDX-License-Identifier: Apache-2.0
"""The question that every `run` and `create` begins with: was a posture chosen?

It is felt at each start, so the rest of the policy is imported only when the answer is no.
"""

from __future__ import annotations

from sbx.cli.app import App
from sbx.store.paths import POLICY


def ensure_posture(app: App, *, needed: bool = False) -> None:
    """Before a sandbox comes up: let the person choose a posture where none was chosen yet.

    Nobody there to ask: it comes up closed, with a warning (docs/decisions/0008-no-posture.md),
    unless a posture is `needed`.

    Raises:
        UserError: they gave no answer, or could give none and it is needed.
    """
    if (app.paths.config / POLICY).exists():
        return
    from sbx.cli.policy.posture import choose_now

    choose_now(app, needed=needed)
