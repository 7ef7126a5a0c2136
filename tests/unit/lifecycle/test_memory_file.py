# SPDX-License-Identifier: Apache-2.0
"""What an agent is told about where it is."""

from __future__ import annotations

from sbx.kit.args import NO_ARGS
from sbx.kit.compose import compose
from sbx.lifecycle.memory_file import memory_files
from tests.unit.kit.kits import MIXIN, SANDBOX, kit

TOLD = "agentInstructions: {filename: .own/AGENTS.md, content: Be kind}\n"


def test_the_facts_then_the_kit_s_own_words() -> None:
    found = memory_files(compose(kit(SANDBOX + TOLD), (), NO_ARGS), name="s", workdir="/w")
    (text,) = found.values()
    assert list(found) == [".own/AGENTS.md"]
    assert "`/w`" in text
    assert "sbx policy allow network HOST --sandbox s" in text
    assert text.endswith("\nBe kind\n")
    assert len(text) < 1000  # an agent reads it at every start


def test_mixins_have_files_of_their_own_and_a_line_each() -> None:
    extra = kit(MIXIN + "agentInstructions: {content: Lint first}\n")
    silent = kit(MIXIN.replace("extra", "silent"))
    whole = compose(kit(SANDBOX + TOLD), [extra, silent], NO_ARGS)
    found = memory_files(whole, name="s", workdir="/w")
    assert found["kits-memory/extra.md"] == "Lint first"
    assert set(found) == {".own/AGENTS.md", "kits-memory/extra.md"}
    assert "\n## Kits\n\n- Read `~/kits-memory/extra.md`\n" in found[".own/AGENTS.md"]


def test_an_agent_that_reads_no_file_gets_none() -> None:
    assert memory_files(compose(kit(SANDBOX), (), NO_ARGS), name="s", workdir="/w") == {}
