"""What every benchmark shares: results with medians over several runs, the machine, the table, the file."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results" / "latest.json"


@dataclass(frozen=True, kw_only=True)
class Result:
    """One comparison. ``ratio`` is always such that 1 means level with the peer, or at the limit.

    For rates (``higher_is_better``) it is ours over the peer's, for times the peer's or limit's over ours: more is
    better in both.
    """

    name: str
    unit: str
    ours: float
    peer: float
    peer_name: str
    higher_is_better: bool
    runs: int
    ours_runs: tuple[float, ...]
    peer_runs: tuple[float, ...]
    note: str = ""

    @property
    def ratio(self) -> float:
        """How we stand to the peer; more is better."""
        ours, peer = (self.ours, self.peer) if self.higher_is_better else (self.peer, self.ours)
        return ours / peer if peer else float("inf")


def compare(
    name: str,
    *,
    unit: str,
    ours: Sequence[float],
    peer: Sequence[float],
    peer_name: str,
    higher_is_better: bool = False,
    note: str = "",
) -> Result:
    """Medians of both sides' runs, which were measured in turn."""
    return Result(
        name=name,
        unit=unit,
        ours=statistics.median(ours),
        peer=statistics.median(peer),
        peer_name=peer_name,
        higher_is_better=higher_is_better,
        runs=len(ours),
        ours_runs=tuple(round(value, 4) for value in ours),
        peer_runs=tuple(round(value, 4) for value in peer),
        note=note,
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that *share* of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def machine() -> dict[str, object]:
    """Where the figures were taken; ratios travel, absolute figures do not."""
    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def show(results: Sequence[Result]) -> None:
    """Print the table."""
    table = Table("benchmark", "ours", "limit or peer", "ratio", "runs", "beside", box=None, pad_edge=False)
    for result in results:
        table.add_row(
            result.name,
            f"{result.ours:,.2f} {result.unit}",
            f"{result.peer:,.2f} {result.unit}",
            f"{result.ratio:.2f}",
            str(result.runs),
            result.peer_name,
        )
    Console().print(table)


def publish(results: Sequence[Result], *, keep_others: bool) -> None:
    """Write the file; with *keep_others* results of benchmarks not run now stay in it."""
    rows = {result.name: {**asdict(result), "ratio": round(result.ratio, 3)} for result in results}
    if keep_others and RESULTS.exists():
        rows = {row["name"]: row for row in json.loads(RESULTS.read_text())["results"]} | rows
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"machine": machine(), "results": list(rows.values())}, indent=1) + "\n")
