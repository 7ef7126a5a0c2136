# SPDX-License-Identifier: Apache-2.0
"""Kits put together: what they extend, in which order, and what does not fit."""

from __future__ import annotations

import textwrap

import pytest

from sbx.errors import UserError
from sbx.kit.args import NO_ARGS, parse_args
from sbx.kit.bundle import Bundle, KitFile
from sbx.kit.compose import MAX_PARENTS, Kit, compose, load_kit
from sbx.kit.findings import KitError
from tests.unit.kit.kits import MIXIN, SANDBOX, fetch_from, kit


def ref(number: int) -> str:
    """A pinned reference."""
    return f"docker.io/kits/k{number}@sha256:{number:064x}"


def sandbox(name: str, body: str = "", extends: int | None = None) -> str:
    head = f'schemaVersion: "2"\nkind: sandbox\nname: {name}\n'
    middle = "sandbox: {image: base}\n" if extends is None else f"extends: {ref(extends)}\n"
    return head + middle + textwrap.dedent(body)


def load(*texts: str) -> Kit:
    """The first of some kits; each is named by its number."""
    return load_kit(ref(0), fetch_from({ref(i): text for i, text in enumerate(texts)}), NO_ARGS)


def chain(length: int) -> list[str]:
    """A kit with so many parents above each other."""
    kits = [sandbox(f"k{i}", extends=i + 1) for i in range(length)]
    return [*kits, sandbox(f"k{length}")]


def test_five_levels_and_no_more() -> None:
    assert load(*chain(MAX_PARENTS)).ancestors == ("k1", "k2", "k3", "k4", "k5")
    with pytest.raises(KitError, match="more than 5 levels"):
        load(*chain(MAX_PARENTS + 1))


def test_a_circle_is_told() -> None:
    with pytest.raises(KitError, match="extends itself"):
        load(sandbox("a", extends=0))
    with pytest.raises(KitError, match="extends itself"):
        load(sandbox("a", extends=1), sandbox("b", extends=0))


@pytest.mark.parametrize("parent", ["./base", "docker.io/a/b:1", "git+https://a.com/b#ref=main"])
def test_what_is_extended_is_pinned(parent: str) -> None:
    text = sandbox("a").replace("sandbox: {image: base}", f"extends: {parent}")
    with pytest.raises(KitError, match="not pinned"):
        load(text)


def test_the_child_adds_to_the_parent() -> None:
    parent = """\
        displayName: Parent
        permissions: {network: {allow: [a.com, c.com], deny: [x.com]}}
        environment: {variables: {A: parent, B: parent}}
        setup:
          install: [{command: first}]
          files: [{path: /f, content: parent}, {path: /g, content: parent}]
        volumes: [{path: /v, size: 1g}]
        credentials: [{service: s, apiKey: {name: OLD}}]
    """
    child = """\
        sandbox: {entrypoint: [child]}
        permissions: {network: {allow: [b.com, a.com]}}
        environment: {variables: {B: child}}
        setup:
          install: [{command: second}]
          files: [{path: /f, content: child}]
        volumes: [{path: /v, size: 2g}]
        credentials: [{service: s, apiKey: {name: NEW}}]
    """
    spec = load(sandbox("c", child, extends=1), sandbox("p", parent)).spec
    assert (spec.name, spec.display_name) == ("c", "Parent")
    assert spec.sandbox is not None
    assert (spec.sandbox.image, spec.sandbox.entrypoint) == ("base", ("child",))
    assert (spec.allow, spec.deny) == (("a.com", "c.com", "b.com"), ("x.com",))
    assert spec.variables == {"A": "parent", "B": "child"}
    assert [step.command for step in spec.steps.install] == ["first", "second"]
    assert {f.path: f.content for f in spec.steps.files} == {"/f": "child", "/g": "parent"}
    assert [(v.path, v.size) for v in spec.volumes] == [("/v", "2g")]
    assert [one.api_key.name for one in spec.credentials if one.api_key] == ["NEW"]


def test_lists_that_start_a_program_are_replaced() -> None:
    parent = sandbox("p").replace(
        "{image: base}", "{image: base, entrypoint: [a, b], command: [c]}"
    )
    kept = load(sandbox("c", extends=1), parent).spec.sandbox
    changed = load(sandbox("c", "sandbox: {command: [d]}\n", extends=1), parent).spec.sandbox
    assert kept is not None
    assert kept.command is not None
    assert (kept.entrypoint, kept.command.default) == (("a", "b"), ("c",))
    assert changed is not None
    assert changed.command is not None
    assert (changed.entrypoint, changed.command.default) == (("a", "b"), ("d",))


def test_a_locked_key_stays() -> None:
    parent = sandbox("p", "locked: [sandbox.image, permissions, setup.install]\n")
    load(sandbox("c", "sandbox: {entrypoint: [x]}\n", extends=1), parent)
    for body, key in {
        "sandbox: {image: other}\n": "sandbox.image",
        "permissions: {network: {allow: [a.com]}}\n": "permissions",
        "setup: {install: [{command: x}]}\n": "setup.install",
    }.items():
        with pytest.raises(KitError, match=f"sets `{key}`, which `p` has locked"):
            load(sandbox("c", body, extends=1), parent)


def test_files_lie_over_those_of_the_parent() -> None:
    parent = Bundle(
        spec=sandbox("p").encode(),
        files={"files/home/a": KitFile(b"p"), "files/home/b": KitFile(b"p")},
    )
    child = Bundle(spec=sandbox("c", extends=1).encode(), files={"files/home/a": KitFile(b"c")})
    whole = compose(
        load_kit(ref(0), fetch_from({ref(0): child, ref(1): parent}), NO_ARGS), (), NO_ARGS
    )
    assert {name: file.data for name, file in whole.home_files.items()} == {"a": b"c", "b": b"p"}


def test_a_mixin_cannot_be_extended_and_names_differ() -> None:
    with pytest.raises(KitError, match="which is a mixin"):
        load(sandbox("c", extends=1), MIXIN)
    with pytest.raises(KitError, match="of the same name"):
        load(sandbox("c", extends=1), sandbox("c"))


def test_mixins_add_in_the_order_in_which_they_were_named() -> None:
    def mixin(name: str) -> Kit:
        text = f"""\
            permissions: {{network: {{allow: [{name}.com], deny: [no-{name}.com]}}}}
            environment: {{variables: {{LAST: {name}}}}}
            setup:
              install: [{{command: {name}}}]
              files: [{{path: /same, content: {name}}}]
              startup: [{{command: [{name}]}}]
            ports: [{{container: 80}}]
            volumes: [{{path: /v}}]
        """
        head = MIXIN.replace("extra", name)
        return kit(head + textwrap.dedent(text), {"files/workspace/w": KitFile(name.encode())})

    body = "environment: {variables: {LAST: own, MINE: own}}\nsetup: {install: [{command: own}]}\n"
    whole = compose(kit(SANDBOX + body), [mixin("b"), mixin("a")], NO_ARGS)
    assert [step.command for step in whole.install] == ["own", "b", "a"]
    assert [step.command for step in whole.startup] == [("b",), ("a",)]
    assert whole.variables == {"LAST": "a", "MINE": "own"}
    assert (whole.allow, whole.deny) == (("b.com", "a.com"), ("no-b.com", "no-a.com"))
    assert [file.content for file in whole.setup_files] == ["a"]
    assert whole.workspace_files["w"].data == b"a"
    assert [port.container for port in whole.ports] == [80]
    assert [volume.path for volume in whole.volumes] == ["/v"]


def test_what_does_not_go_together() -> None:
    own, extra = kit(SANDBOX), kit(MIXIN)
    with pytest.raises(KitError, match='has kind "mixin"'):
        compose(extra, (), NO_ARGS)
    with pytest.raises(KitError, match='has kind "sandbox"'):
        compose(own, [kit(SANDBOX.replace("own", "two"))], NO_ARGS)
    with pytest.raises(KitError, match="two kits are named `extra`"):
        compose(own, [extra, extra], NO_ARGS)
    with pytest.raises(UserError, match="no kit has an argument `x`"):
        compose(own, [extra], parse_args(["x=1"]))


def test_a_mixin_for_one_agent() -> None:
    for_shell = kit(MIXIN + "requires: {agent: p}\n")
    with pytest.raises(KitError, match="requires agent `p`, and this one is `own`"):
        compose(kit(SANDBOX), [for_shell], NO_ARGS)
    on_top = load(sandbox("c", extends=1), sandbox("p"))
    assert compose(on_top, [for_shell], NO_ARGS).mixins == (for_shell,)


def test_the_command_line_depends_on_the_terminal() -> None:
    start = "entrypoint: [run], command: {default: [-d], interactive: [-i]}"
    whole = compose(kit(SANDBOX.replace("entrypoint: [run]", start)), (), NO_ARGS)
    assert whole.launch(["x"], terminal=True) == ("run", "-i", "x")
    assert whole.launch([], terminal=False) == ("run", "-d")
