# SPDX-License-Identifier: Apache-2.0
"""Rows as text: on the terminal, and in docs/performance.md between its two markers."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from bench.frame.facts import ROOT
from bench.frame.results import Results
from bench.frame.rows import Row

DOCUMENT = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- results: written by bench/run -->", "<!-- end of results -->"
HEADS = ("what", "ours", "limit or peer", "ratio", "best", "budget", "met", "runs", "min to max")


def cells(row: Row) -> tuple[str, ...]:
    """One row, as texts under HEADS."""
    limit = f"{number(statistics.median(row.limit))} {row.unit}: " if row.limit else ""
    return (
        row.name,
        f"{number(row.value)} {row.unit}",
        limit + row.limit_name,
        times(row.ratio),
        times(row.floor_ratio),
        budget(row),
        {True: "yes", False: "NO", None: ""}[row.is_met],
        str(len(row.ours)),
        f"{number(min(row.ours))} to {number(max(row.ours))}",
    )


def print_rows(rows: Iterable[Row]) -> None:
    """To standard output, in columns."""
    lines = [HEADS, *(cells(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADS))]
    for line in lines:
        padded = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        print("  ".join(padded).rstrip(), flush=True)


def write_document(results: Sequence[Results]) -> None:
    """Refresh the table in the document; what stands outside of the markers is left alone."""
    text = DOCUMENT.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"no markers in {DOCUMENT}: {BEGIN} ... {END}")
    new = DOCUMENT.with_suffix(".new")
    new.write_text(f"{before}{BEGIN}\n\n{_markdown(results)}\n{END}{after}")
    new.replace(DOCUMENT)


def _markdown(results: Sequence[Results]) -> str:
    lines: list[str] = []
    for found in results:
        facts = found.machine
        changed = " and changes" if facts["is_modified"] else ""
        lines += [
            f"### `{found.suite}`",
            "",
            f"{facts['time']}, commit {facts['commit']}{changed}, Python {facts['python']}, "
            f"{facts['cpus']} CPUs, load {facts['load'][0]} before.",  # type: ignore[index]
            "",
        ]
        if found.rows:
            lines += [_line(HEADS), _line(["---"] * len(HEADS))]
            lines += [_line(cells(row)) for row in found.rows]
            lines += ["", *(f"- `{row.name}`: {row.note}" for row in found.rows if row.note), ""]
        for curve in found.curves:
            picture = f"../bench/results/{curve.name.replace('/', '-')}.png"
            lines += [f"![{curve.name}]({picture})", "", f"{curve.expected}", ""]
            lines += [_line([curve.x_name, *curve.series])]
            lines += [_line(["---"] * (1 + len(curve.series)))]
            for index, x in enumerate(curve.x):
                middles = (_middle(values[index]) for values in curve.series.values())
                lines.append(_line([f"{x:g}", *middles]))
            lines.append("")
    return "\n".join(lines)


def times(ratio: float | None) -> str:
    """A ratio; nothing where there is no limit."""
    return "" if ratio is None else f"{number(ratio)} x"


def budget(row: Row) -> str:
    """What was promised."""
    if row.budget is None:
        return ""
    sign = ">=" if row.more_is_better else "<="
    return f"{sign} {number(row.budget)} {'x' if row.limit else row.unit}"


def _line(texts: Iterable[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"


def _middle(values: Sequence[float]) -> str:
    if not values:
        return "-"
    ordered = sorted(values)
    middle = number(ordered[len(ordered) // 2])
    return (
        middle if len(ordered) == 1 else f"{middle} ({number(ordered[0])} to {number(ordered[-1])})"
    )


def number(value: float) -> str:
    """Three digits that count."""
    if value == 0 or 0.001 <= abs(value) < 100_000:
        digits = 3 if abs(value) < 1 else max(0, 3 - len(str(int(abs(value)))))
        return f"{value:,.{digits}f}".replace(",", " ")
    return f"{value:.2e}"
