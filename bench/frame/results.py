# SPDX-License-Identifier: Apache-2.0
"""Results as JSON files, one per suite: written after it, read by the plots and the document."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.frame.facts import ROOT
from bench.frame.rows import Curve, Finding, Row

FOLDER = ROOT / "bench" / "results"
QUICK_FOLDER = FOLDER / "quick"  # not kept in git


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What one suite found."""

    suite: str
    machine: dict[str, object]
    took_s: float
    rows: tuple[Row, ...]
    curves: tuple[Curve, ...]


def write(folder: Path, results: Results) -> None:
    """Keep them, in place of the former ones of this suite."""
    folder.mkdir(parents=True, exist_ok=True)
    data = dataclasses.asdict(results)
    for row, found in zip(data["rows"], results.rows, strict=True):  # for readers of the JSON
        row |= {"median": found.value, "ratio": found.ratio, "is_met": found.is_met}
    text = json.dumps(_rounded(data), indent=1, default=str)
    (folder / f"{results.suite}.json").write_text(text + "\n")


def split(findings: Sequence[Finding]) -> tuple[tuple[Row, ...], tuple[Curve, ...]]:
    """Rows and curves apart."""
    rows = tuple(found for found in findings if isinstance(found, Row))
    return rows, tuple(found for found in findings if isinstance(found, Curve))


def read_all(folder: Path = FOLDER) -> list[Results]:
    """Every suite's results, in the order of their names."""
    return [_read(path) for path in sorted(folder.glob("*.json"))]


def _read(path: Path) -> Results:
    data = json.loads(path.read_text())
    names = {field.name for field in dataclasses.fields(Row)}
    rows = [Row(**{k: _frozen(v) for k, v in row.items() if k in names}) for row in data["rows"]]
    curves = [Curve(**_curve(curve)) for curve in data["curves"]]
    return Results(
        suite=data["suite"],
        machine=data["machine"],
        took_s=data["took_s"],
        rows=tuple(rows),
        curves=tuple(curves),
    )


def _curve(data: dict[str, object]) -> dict[str, Any]:
    series = data["series"]
    assert isinstance(series, dict)
    return {
        **{name: _frozen(value) for name, value in data.items()},
        "series": {name: tuple(tuple(at) for at in values) for name, values in series.items()},
    }


def _frozen(value: object) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _rounded(value: object) -> object:
    """Six digits say all that a noisy machine can."""
    match value:
        case float():
            return float(f"{value:.6g}")
        case dict():
            return {name: _rounded(each) for name, each in value.items()}
        case list() | tuple():
            return [_rounded(each) for each in value]
        case _:
            return value
