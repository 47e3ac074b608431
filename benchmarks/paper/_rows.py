"""The rows of the study: every model and control by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.paper._kalman import KalmanFilter
from benchmarks.paper._least_squares import LeastSquares
from benchmarks.paper._linear_map import LinearMap
from benchmarks.paper._models import Model
from benchmarks.paper._neural_ode import NeuralOde
from benchmarks.paper._parameter_gru import ParameterGru
from benchmarks.paper._physics_rows import WarpPhys
from benchmarks.paper._recurrent_models import Gru, GruAutoregressive, Lstm, StateSpace
from benchmarks.paper._tasks import Task
from benchmarks.paper._teacher_forced import WarpTeacherForced
from benchmarks.paper._transformer import Transformer
from benchmarks.paper._trivial import Copy, HoldLast, Zero
from benchmarks.paper._warp_rows import Warp
from benchmarks.paper._warp_variants import WarpAutoregressive, WarpLinear

Kind = Literal["WARP", "data-driven", "WARP-Phys", "control"]

_VIBRATIONS = ("msd", "msd_zero")
_LV = ("lv", "lv_repeat_copy")
ALL = (*_VIBRATIONS, "sine", *_LV)
_OBSERVED = (*_VIBRATIONS, *_LV)

STATE_SHOWN = ("msd", "msd_zero", "lv")
"""Tasks whose contexts end with a sample of all states, from which physics can run on."""

# As the rivals' networks read.
_FREQUENCIES = 16
_LONGEST_WINDOW = 100


@dataclass(frozen=True)
class Row:
    """A model of the study.

    Attributes:
        kind: What it is, for the tables.
        make: Makes it for a task.
        tasks: Where it stands in the main table.
        trained: Whether seeds and learning rates make a difference.
        roots: Of WARP-Phys: from where the physics runs on; each is a line of its own.
        everywhere: Whether its errors count over all samples, as the paper has them on
            repeat-copy.
        heads: Of WARP-Phys: the group of heads whose best row the table in short shows.
    """

    kind: Kind
    make: Callable[[Task], Model]
    tasks: tuple[str, ...] = ALL
    trained: bool = True
    roots: tuple[str, ...] = ("",)
    everywhere: bool = False
    heads: str = "trained"


def _window(task: Task) -> int:
    """Return the samples the learned features look back over: all of the context."""
    return min(_LONGEST_WINDOW, int(task.train.context.max()))


_ROOTS = ("first_sample", "last_sample", "fit")

ROWS: dict[str, Row] = {
    "WARP, diagonal A": Row("WARP", lambda _: Warp(frequencies=_FREQUENCIES)),
    "WARP, low-rank A": Row(
        "WARP", lambda _: Warp(structure="low_rank", rank=8, frequencies=_FREQUENCIES)
    ),
    "WARP, dense A, small root": Row(
        "WARP", lambda _: Warp(structure="dense", root_width=8, frequencies=8)
    ),
    "WARP, auto-regressive": Row("WARP", lambda _: WarpAutoregressive(), ("msd_zero",)),
    "WARP, shown its target": Row(
        "WARP", lambda _: WarpTeacherForced(), ("lv_repeat_copy",), everywhere=True
    ),
    "GRU": Row("data-driven", lambda _: Gru()),
    "GRU, auto-regressive": Row("data-driven", lambda _: GruAutoregressive(), ("msd_zero",)),
    "LSTM": Row("data-driven", lambda _: Lstm()),
    "Transformer": Row("data-driven", lambda _: Transformer()),
    "diagonal state space": Row("data-driven", lambda _: StateSpace()),
    "Neural ODE": Row("data-driven", lambda _: NeuralOde()),
    "WARP-Phys, information head": Row(
        "WARP-Phys",
        lambda _: WarpPhys("information"),
        trained=False,
        roots=_ROOTS,
        heads="information",
    ),
    "WARP-Phys, direct head": Row(
        "WARP-Phys", lambda task: WarpPhys("direct", window=_window(task)), roots=_ROOTS
    ),
    "WARP-Phys, weights head": Row(
        "WARP-Phys",
        lambda task: WarpPhys("weights", drive="features", window=_window(task)),
        roots=_ROOTS,
    ),
    "WARP-Phys, regression head": Row(
        "WARP-Phys",
        lambda _: WarpPhys("regression"),
        _OBSERVED,
        trained=False,
        roots=_ROOTS,
        heads="regression",
    ),
    "WARP-Phys, regression head, logarithms": Row(
        "WARP-Phys",
        lambda _: WarpPhys("regression", drive="log_difference"),
        _LV,
        trained=False,
        roots=_ROOTS,
        heads="regression",
    ),
    "read-out head": Row(
        "control", lambda task: WarpPhys("readout", window=_window(task)), roots=_ROOTS
    ),
    "GRU of the parameters": Row("control", lambda _: ParameterGru()),
    "least squares on the context": Row("control", lambda _: LeastSquares(), trained=False),
    "linear map on the context": Row("control", lambda _: LinearMap(), _VIBRATIONS, trained=False),
    "Kalman filter": Row("control", lambda _: KalmanFilter(), trained=False),
    "zero": Row("control", lambda _: Zero(), trained=False),
    "last sample held": Row("control", lambda _: HoldLast(), trained=False),
    "the cycle copied": Row("control", lambda _: Copy(), ("lv_repeat_copy",), trained=False),
}


def _warp(**settings: Any) -> Row:
    return Row("WARP", lambda _: Warp(**({"frequencies": _FREQUENCIES} | settings)), ())


# Changes of "WARP, diagonal A", on MSD-Zero.
VARIANTS: dict[str, Row] = {
    "drive: raw": _warp(drive="raw"),
    "drive: features": _warp(drive="features"),
    "A: identity": _warp(structure="identity"),
    "A: complex diagonal": _warp(structure="complex"),
    "A: identity plus low rank": _warp(structure="identity_low_rank", rank=8),
    "A: dense": _warp(structure="dense"),
    "initial state: learned, shared": _warp(initial="learned"),
    "training: for forecasts from any sample": _warp(told_context=False),
    "root: time alone": _warp(frequencies=0),
    "root: none, linear read-out": Row("WARP", lambda _: WarpLinear(), ()),
    "auto-regressive, weights clipped at 1": Row("WARP", lambda _: WarpAutoregressive(1.0), ()),
}

ABLATED = ("WARP, diagonal A", "WARP-Phys, information head", "WARP-Phys, direct head")
"""Rows whose context is varied."""

NOISE_ROWS = (
    "WARP, diagonal A",
    "WARP-Phys, information head",
    "WARP-Phys, direct head",
    "WARP-Phys, regression head",
    "least squares on the context",
    "Kalman filter",
)
"""Rows that meet noise, physics they do not know, and a coarser grid."""
