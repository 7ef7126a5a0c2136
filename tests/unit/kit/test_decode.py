# SPDX-License-Identifier: Apache-2.0
"""Decoding is strict, says where, names what was probably meant, and tells everything at once."""

from __future__ import annotations

from sbx.kit.model import Command, Install
from tests.unit.kit.kits import MIXIN, SANDBOX, problems, read, warnings


def test_an_unknown_key_names_the_nearest_one_with_line_and_column() -> None:
    assert problems(MIXIN, "setup:\n  installs: []\n") == [
        "spec.yaml:5:3: unknown key `installs` in `setup`; did you mean `install`?"
    ]
    assert problems(MIXIN, "display_name: x\n") == [
        "spec.yaml:4:1: unknown key `display_name`; did you mean `displayName`?"
    ]


def test_an_unknown_key_that_is_near_none_lists_the_valid_ones() -> None:
    (only,) = problems(MIXIN, "security: {zzz: 1}\n")
    assert only == "spec.yaml:4:12: unknown key `zzz` in `security`; valid keys: privileged"


def test_all_findings_come_at_once_and_in_order() -> None:
    body = """\
    ports: [{container: 0}, {container: x}]
    environment: {variables: {PATH: /x}}
    volumes: [{path: relative}]
    credentials: [{service: Bad_Name}]
    setup: {install: [{commands: x}], startup: [{command: []}]}
    """
    found = problems('schemaVersion: "2"\nkind: mixin\n', body)
    lines = [int(line.split(":")[1]) for line in found]
    assert lines == sorted(lines)
    for words in (
        "missing key `name`", "`0` is not from 1 to 65535", "expected a whole number, found `x`",
        "variable `PATH` is reserved", "`relative` is not an absolute path", "kebab-case",
        "did you mean `command`?", "missing key `command`",
        "`setup.startup[0].command`: it is empty",
    ):  # fmt: skip
        assert [line for line in found if words in line], words


def test_what_stands_in_for_a_mistake_makes_no_further_ones() -> None:
    assert len(problems(MIXIN, "permissions: {network: {allow: [{x: 1}]}}\n")) == 1
    assert len(problems(SANDBOX.replace("image: shell", "image: []"))) == 1


def test_numbers_without_quotes_are_read_as_they_were_written_and_told() -> None:
    spec = read(MIXIN, "version: 1.20\n")
    assert spec.spec.version == "1.20"
    assert warnings(MIXIN, "version: 1.20\n") == [
        'spec.yaml:4:10: `version` is text, and 1.20 without quotes is a number: write "1.20"'
    ]


def test_nothing_is_the_same_as_absent() -> None:
    spec = read(MIXIN, "description:\nports: ~\n").spec
    assert (spec.description, spec.ports) == (None, ())


def test_a_key_that_is_there_twice() -> None:
    assert problems(MIXIN, "name: b\n") == ["spec.yaml:4:1: key `name` is there twice"]
    body = "environment:\n  variables:\n    A: x\n    A: y\n"
    assert problems(MIXIN, body) == ["spec.yaml:7:5: key `A` is there twice"]


def test_wrong_types() -> None:
    for body, words in {
        "ports: 3\n": "expected a list, found `3`",
        "setup: []\n": "expected a mapping, found a list",
        "security: {privileged: maybe}\n": "expected true or false, found `maybe`",
        "ports: [{container: '80'}]\n": "expected a whole number, found `80`",
        "description: [a]\n": "expected text, found a list",
        "setup: {install: [{command: {a: b}}]}\n": "expected text, found a mapping",
    }.items():
        (only,) = problems(MIXIN, body)
        assert words in only


def test_a_command_is_a_list_or_a_mapping() -> None:
    short = read(SANDBOX.replace("[run]}", "[run], command: [a, b]}")).spec.sandbox
    assert short is not None
    assert short.command == Command(default=("a", "b"))
    both = "[run], command: {default: [a], interactive: [b]}}"
    long = read(SANDBOX.replace("[run]}", both)).spec.sandbox
    assert long is not None
    assert long.command == Command(default=("a",), interactive=("b",))


def test_defaults() -> None:
    body = """\
    setup:
      install: [{command: x}]
      startup: [{command: [x]}]
      files: [{path: /a, content: b}]
    """
    setup = read(MIXIN, body).spec.steps
    assert setup.install == (Install(command="x", user="0"),)
    assert setup.startup[0].user == "1000"
    assert setup.files[0].mode == "0644"
