# SPDX-License-Identifier: Apache-2.0
"""Microseconds for a decision, for 10 to 100 000 rules: `PYTHONPATH=src python bench/policy.py`.

The rules are a mix: exact names, `*.x`, `**.x`, globs, addresses and ranges, HTTP rules with paths,
one in ten a deny. The questions are half hits, half misses. Flat is the aim: what a decision costs
depends on the labels of the name and on the kinds of patterns, not on their number.
"""

from __future__ import annotations

import json
import random
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import TypedDict

from sbx.policy.engine import Policy, compile_policy
from sbx.policy.hosts import Endpoint, HostName, parse_endpoint
from sbx.policy.patterns import parse_resource
from sbx.policy.rules import Effect, Rule, parse_http, parse_protocols

SIZES = (10, 100, 1_000, 10_000, 100_000)
ROUNDS = 7
QUESTIONS = 2_000


class Row(TypedDict):
    """What was measured for one number of rules."""

    rules: int
    compile_ms: float
    us: dict[str, dict[str, float]]  # question -> min, median, max
    peak_rss_mb: float


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


def measure(ask: Callable[[], object]) -> dict[str, float]:
    """Microseconds for one question: min, median, max over the rounds."""
    found: list[float] = []
    for _ in range(ROUNDS):
        before = time.perf_counter_ns()
        ask()
        found.append((time.perf_counter_ns() - before) / 1_000 / QUESTIONS)
    return {"min": min(found), "median": statistics.median(found), "max": max(found)}


def questions(policy: Policy, asked: Sequence[Endpoint], size: int) -> dict[str, dict[str, float]]:
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


def main() -> None:
    """Print a table, or JSON with `--json`."""
    rows: list[Row] = []
    for size in SIZES:
        rng = random.Random(size)  # noqa: S311 - the same questions in every run
        rules = [make_rule(n) for n in range(size)]
        before = time.perf_counter()
        policy = compile_policy(rules)
        compile_ms = (time.perf_counter() - before) * 1_000
        rows.append(
            Row(
                rules=size,
                compile_ms=compile_ms,
                us=questions(policy, endpoints(size, rng), size),
                peak_rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            )
        )
    if "--json" in sys.argv[1:]:
        print(json.dumps(rows, indent=1))
        return
    print("us per decision: median (min-max) of 7 rounds; compile in ms")
    for row in rows:
        timed = row["us"]
        cells = [f"{k} {t['median']:.1f} ({t['min']:.1f}-{t['max']:.1f})" for k, t in timed.items()]
        print(
            f"{row['rules']:>7}  {'  '.join(cells)}  compile {row['compile_ms']:.0f}"
            f"  peak {row['peak_rss_mb']:.0f} MB"
        )


if __name__ == "__main__":
    main()
