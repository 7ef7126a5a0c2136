# SPDX-License-Identifier: Apache-2.0
"""Microseconds for a decision of the policy, for 10 to 100 000 rules.

The rules are a mix: exact names, `*.x`, `**.x`, globs, addresses and ranges, HTTP rules with paths,
one in ten a deny. The questions are half hits, half misses. Flat is the aim: what a decision costs
depends on the labels of the name and on the kinds of patterns, not on their number.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence

from bench.frame.rows import Curve, Finding
from bench.frame.suite import Bench
from sbx.policy.engine import Policy, compile_policy
from sbx.policy.hosts import Endpoint, HostName, parse_endpoint
from sbx.policy.patterns import parse_resource
from sbx.policy.rules import Effect, Rule, parse_http, parse_protocols

SIZES = (10, 100, 1_000, 10_000, 100_000)
ROUNDS = 7
QUESTIONS = 2_000


def make_rule(number: int) -> Rule:
    """The rule with this number; its kind follows from the last digit."""
    http = None
    match number % 10:
        case 0 | 1 | 2 | 3:
            text = f"host{number}.example.com:443"
        case 4:
            text = f"*.child{number}.example.net"
        case 5:
            text = f"**.tree{number}.example.org"
        case 6:
            text = f"node{number}-*.cloud.example"
        case 7:
            text = f"{20 + number % 70}.{number >> 8 & 255}.{number & 255}.0/24:443"
        case 8:
            text = f"api{number % 50}.example.com:443"
            http = parse_http("GET,POST", f"/repos/r{number}/**")
        case _:
            text = f"bad{number}.example.com"
    effect = Effect.DENY if number % 10 == 9 else Effect.ALLOW
    return Rule(
        id=str(number),
        name=f"rule-{number}",
        effect=effect,
        resources=(parse_resource(text),),
        protocols=parse_protocols(None, effect, http),
        http=http,
    )


def endpoints(size: int, rng: random.Random) -> list[Endpoint]:
    """Questions about rules that there are and about others, every form alike."""
    forms = (
        *("host{}.example.com", "a.child{}.example.net", "a.b.c.tree{}.example.org"),
        *("node{}-x.cloud.example", "bad{}.example.com", "www.host{}.example.com"),
    )
    return [
        parse_endpoint(rng.choice(forms).format(rng.randrange(2 * size)), default_port=443)
        for _ in range(QUESTIONS)
    ]


def measure(ask: Callable[[], object]) -> tuple[float, ...]:
    """Microseconds for one question, in each round."""
    found: list[float] = []
    for _ in range(ROUNDS):
        before = time.perf_counter_ns()
        ask()
        found.append((time.perf_counter_ns() - before) / 1_000 / QUESTIONS)
    return tuple(found)


def questions(policy: Policy, asked: Sequence[Endpoint], size: int) -> dict[str, tuple[float, ...]]:
    """Each kind of decision, timed."""
    names = [to.host for to in asked if isinstance(to.host, str)]
    api = [parse_endpoint(f"api{n % 50}.example.com:443") for n in range(QUESTIONS)]
    paths = [f"/repos/r{n * 7 % (2 * size)}/issues" for n in range(QUESTIONS)]
    long = HostName(".".join(["a"] * 127))
    return {
        "lookup": measure(lambda: [policy.lookup(name) for name in names]),
        "connection": measure(lambda: [policy.connection(to) for to in asked]),
        "request": measure(
            lambda: [
                policy.request(*one) for one in zip(api, ["GET"] * QUESTIONS, paths, strict=True)
            ]
        ),
        "127 labels": measure(lambda: [policy.lookup(long) for _ in names]),
    }


def run(bench: Bench) -> Iterator[Finding]:
    """Curves `decision` and `compile`."""
    sizes = SIZES[:4] if bench.quick else SIZES
    asked: dict[str, list[tuple[float, ...]]] = {}
    compiled: list[tuple[float, ...]] = []
    for size in sizes:
        rng = random.Random(size)  # noqa: S311 - the same questions in every run
        rules = [make_rule(number) for number in range(size)]
        before = time.perf_counter()
        policy = compile_policy(rules)
        compiled.append(((time.perf_counter() - before) * 1_000,))
        for name, found in questions(policy, endpoints(size, rng), size).items():
            asked.setdefault(name, []).append(found)
    x = tuple(map(float, sizes))
    yield Curve(
        name="policy/decision", x_name="rules", y_name="microseconds per decision", x=x,
        series={name: tuple(found) for name, found in asked.items()}, log_x=True,
        expected="Flat: a decision costs what the labels of the name cost.",
    )  # fmt: skip
    yield Curve(
        name="policy/compile", x_name="rules", y_name="milliseconds", x=x,
        series={"compile": tuple(compiled)}, log_x=True,
        expected="Linear (the axis of the rules is logarithmic).",
    )  # fmt: skip
