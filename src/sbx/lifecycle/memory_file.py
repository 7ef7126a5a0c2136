# SPDX-License-Identifier: Apache-2.0
"""The file that tells an agent where it is: short, in its home folder, never in the user's tree."""

from __future__ import annotations

from sbx.kit.compose import Composition

_KITS = "kits-memory"
_FACTS = """\
# You are in a sandbox

- This is a virtual machine of its own. Work in `{workdir}`; `sudo` needs no password.
- Only hosts that the user allowed can be reached. A blocked one does not resolve, or answers 403.
  Do not look for a way around it: ask the user to run, outside,
  `sbx policy allow network HOST --sandbox {name}`
- A variable or file that holds `proxy-managed` is no mistake: the key is put in on the way out.
"""


def memory_files(whole: Composition, *, name: str, workdir: str) -> dict[str, str]:
    """What is written, by path below the home folder; nothing if the agent reads no such file."""
    instructions = whole.agent.spec.agent_instructions
    if instructions is None or instructions.filename is None:
        return {}
    text = _FACTS.format(name=name, workdir=workdir)
    if instructions.content:
        text += f"\n{instructions.content.rstrip()}\n"
    found: dict[str, str] = {}
    for kit in whole.mixins:
        told = kit.spec.agent_instructions
        if told is not None and told.content:
            found[f"{_KITS}/{kit.spec.name}.md"] = told.content
    if found:
        text += "\n## Kits\n\n" + "".join(f"- Read `~/{path}`\n" for path in found)
    return {instructions.filename: text, **found}
