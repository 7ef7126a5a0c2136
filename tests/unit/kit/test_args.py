# SPDX-License-Identifier: Apache-2.0
"""Arguments: declared, given, checked, and put in where they cannot change the structure."""

from __future__ import annotations

import pytest

from sbx.errors import UserError
from sbx.kit.args import NO_ARGS, parse_args
from sbx.kit.bundle import KitFile
from sbx.kit.findings import KitError
from tests.unit.kit.kits import MIXIN, kit, problems, read


def declared(args: str, use: str = "") -> str:
    return f"args: {args}\n" + (f'description: "{use}"\n' if use else "")


def described(args: str, use: str, *words: str) -> str | None:
    return read(MIXIN, declared(args, use), parse_args(words)).spec.description


def test_a_default_a_given_value_and_one_for_this_kit_alone() -> None:
    args, use = "{who: {default: world}}", "hello ${{ kit.args.who }}"
    assert described(args, use) == "hello world"
    assert described(args, use, "who=you") == "hello you"
    assert described(args, use, "who=you", "extra.who=me") == "hello me"
    assert described(args, use, "other.who=me") == "hello world"


def test_words_win_over_a_file() -> None:
    given = parse_args(["a=1"], ["# comment", "", "a=2", "b=3 = 4"])
    assert (given.of("k", "a"), given.of("k", "b")) == ("1", "3 = 4")


@pytest.mark.parametrize("word", ["a", "=b", "a b=c", "1a=x", "a.b.c=d", "a=" + "x" * 5000, "a=\0"])
def test_words_that_are_none(word: str) -> None:
    with pytest.raises(UserError, match="not an argument of a kit"):
        parse_args([word])


@pytest.mark.parametrize(
    ("args", "words", "problem"),
    [
        ("{a: {}}", (), "exactly one of `default` and `required: true`"),
        ("{a: {default: x, required: true}}", (), "exactly one of"),
        ("{a: {required: false}}", (), "exactly one of"),
        ("{a: {required: true}}", (), "argument `a` has no value: give it with --kit-arg a=VALUE"),
        ("{a: {default: x, enum: [x], pattern: x}}", (), "either `enum` or `pattern`"),
        ("{a: {default: x, enum: [y, z]}}", (), "`x` is not one of `y`, `z`"),
        ("{a: {required: true, enum: [y, z]}}", ("a=q",), "`q` is not one of `y`, `z`"),
        ("{a: {default: x, enum: [x, x]}}", (), "`x` is there twice"),
        ("{a: {default: 'ab', pattern: '[a-z]'}}", (), "`ab` does not match `[a-z]`"),
        ("{a: {default: x, pattern: '('}}", (), "is not a regular expression of RE2"),
        ("{a: {default: x, pattern: '(?=x)x'}}", (), "is not a regular expression of RE2"),
        ("{1a: {default: x}}", (), "a letter or `_`, then"),
        ("{a: {default: x, chose: [x]}}", (), "unknown key `chose` in `args.a`"),
    ],
)
def test_a_declaration_or_value_that_does_not_fit(
    args: str, words: tuple[str, ...], problem: str
) -> None:
    found = problems(MIXIN, declared(args), parse_args(words))
    assert [line for line in found if problem in line], found


def test_a_pattern_that_backtracks_elsewhere_is_linear_here() -> None:
    value = "a" * 4000 + "!"
    found = problems(
        MIXIN, declared("{a: {required: true, pattern: '(a+)+'}}"), parse_args([f"a={value}"])
    )
    assert "does not match" in found[0]


def test_an_undeclared_reference_is_an_error_with_its_place() -> None:
    assert problems(MIXIN, "description: ${{ kit.args.x }}\n") == [
        "spec.yaml:4:14: `${{ kit.args.x }}` is not declared in `args` (arguments: none)"
    ]
    assert "not declared" in problems(MIXIN, "description: ${{ kit.name }}\n")[0]


def test_other_expressions_and_escaped_ones_stay() -> None:
    args = "{a: {default: x}}"
    assert described(args, "${{ github.ref }}") == "${{ github.ref }}"
    assert described(args, "$${{ kit.args.a }}") == "${{ kit.args.a }}"


def test_a_value_cannot_add_a_key() -> None:
    body = "args: {a: {required: true}}\ndescription: ${{ kit.args.a }}\n"
    spec = read(MIXIN, body, parse_args(["a=x\nsecurity: {privileged: true}"])).spec
    assert spec.security is None
    assert spec.description == "x\nsecurity: {privileged: true}"


def test_a_plain_word_becomes_the_number_that_it_now_is() -> None:
    body = "args: {port: {default: '80'}}\nports: [{container: '${{ kit.args.port }}'}]\n"
    assert "expected a whole number" in problems(MIXIN, body)[0]  # in quotes it stays text
    body = "args: {port: {default: '80'}}\nports:\n  - container: ${{ kit.args.port }}\n"
    assert read(MIXIN, body).spec.ports[0].container == 80


def test_files_get_the_values_too() -> None:
    files = {
        "files/home/a": KitFile(b"v=${{ kit.args.v }}", executable=True),
        "files/home/b": KitFile(b"\xff${{ kit.args.v }}"),
    }
    found = kit(MIXIN + "args: {v: {default: '1'}}\n", files).files
    assert found["files/home/a"] == KitFile(b"v=1", executable=True)
    assert found["files/home/b"] == files["files/home/b"]  # not text


def test_a_file_with_an_undeclared_argument_is_an_error() -> None:
    with pytest.raises(KitError) as caught:
        kit(MIXIN, {"files/home/a": KitFile(b"${{ kit.args.v }}")})
    assert (caught.value.details or "").startswith(
        "files/home/a: `${{ kit.args.v }}` is not declared"
    )


def test_a_value_that_no_kit_wants() -> None:
    known = [("k", "a")]
    parse_args(["a=1", "k.a=2"]).check_used(known)
    for word in ("b=1", "j.a=1"):
        with pytest.raises(UserError, match=r"no kit has an argument .* \(arguments: a\)"):
            parse_args([word]).check_used(known)
    NO_ARGS.check_used([])
