"""What `work_precision.py` measures, as a table and as a picture."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

OURS = "warp_phys"
LEVELS = (1e-6, 1e-8)


@dataclass(frozen=True)
class Row:
    """A side at one size and tolerance.

    Attributes:
        case: Its name.
        side: Its name.
        n: Number of trajectories.
        rtol: Relative tolerance.
        warm: Seconds for all n.
        cold: Seconds of the first call, of as many trajectories as are timed.
        error: Of the worst trajectory.
        scaled: Whether fewer than n are timed.
    """

    case: str
    side: str
    n: int
    rtol: float
    warm: float
    cold: float
    error: float
    scaled: bool


def time_at(level: float, rows: list[Row]) -> float:
    """Return the time at which a side's error falls below a level for good, NaN if it never does.

    Interpolated in the logarithms of time and error between tolerances.
    """
    rows = sorted(rows, key=lambda row: row.rtol)
    if not rows or not rows[0].error <= level:
        return math.nan
    for tight, loose in pairwise(rows):
        if not loose.error <= level:
            if not math.isfinite(loose.error):
                return tight.warm
            share = math.log(level / tight.error) / math.log(loose.error / tight.error)
            return tight.warm * (loose.warm / tight.warm) ** share
    return rows[-1].warm


def print_table(rows: list[Row], about: Callable[[str], str]) -> None:
    """Print a table for each case and size."""
    for case, n in dict.fromkeys((row.case, row.n) for row in rows):
        sides: dict[str, list[Row]] = {}
        for row in rows:
            if (row.case, row.n) == (case, n):
                sides.setdefault(row.side, []).append(row)
        print(f"\n{case}, {about(case)}; {n:,} trajectories\n")
        heads = "".join(f" s at {level:g} | per s | times ours |" for level in LEVELS)
        print(f"| side |{heads} cold s |")
        print("|---|" + "---|" * (3 * len(LEVELS) + 1))
        for side, found in sides.items():
            cells = []
            for level in LEVELS:
                took = time_at(level, found)
                ratio = took / time_at(level, sides.get(OURS, []))
                cells += [f"{took:.3g}", f"{n / took:,.0f}", f"{ratio:.2f}"]
            star = " *" if found[0].scaled else ""
            line = " | ".join("-" if cell == "nan" else cell for cell in cells)
            print(f"| {side}{star} | {line} | {max(row.cold for row in found):.1f} |")


def plot(rows: list[Row], path: Path) -> None:
    """Draw time for each trajectory against error, a panel for each case and size."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    # A method of ours by name lies on top of what `integrate` chooses.
    rows = [row for row in rows if row.side == OURS or not row.side.startswith(OURS)]
    panels = list(dict.fromkeys((row.case, row.n) for row in rows))
    names = list(dict.fromkeys(row.side for row in rows))
    colors = dict(zip(names, [*mpl.color_sequences["tab10"], "black"], strict=False))
    across = min(3, len(panels))
    down = math.ceil(len(panels) / across)
    figure, axes = plt.subplots(
        down, across, figsize=(3.4 * across, 3.0 * down + 1.0), squeeze=False, layout="constrained"
    )
    lines = {}
    for ax, (case, n) in zip(axes.flat, panels, strict=False):
        sides = {row.side: None for row in rows if (row.case, row.n) == (case, n)}
        for name in sides:
            found = [row for row in rows if (row.case, row.n, row.side) == (case, n, name)]
            found.sort(key=lambda row: row.rtol)
            (lines[name],) = ax.loglog(
                [row.error for row in found],
                [1e6 * row.warm / n for row in found],
                color=colors[name],
                marker="o",
                markersize=3,
                linewidth=2.5 if name == OURS else 1.0,
            )
        ax.invert_xaxis()
        ax.minorticks_off()
        ax.grid(alpha=0.3)
        ax.set_title(f"{case}, {n:,}", fontsize="medium")
        ax.set_xlabel("error of the worst trajectory", fontsize="small")
        ax.set_ylabel("µs for each trajectory", fontsize="small")
        ax.tick_params(labelsize="small")
    for ax in list(axes.flat)[len(panels) :]:
        ax.set_axis_off()
    figure.legend(
        lines.values(), lines.keys(), loc="outside lower center", ncols=across + 1, fontsize="small"
    )
    figure.savefig(path, dpi=130)
