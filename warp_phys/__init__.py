"""Parameters of known physics as the hidden state of a linear recurrence.

The public names are those in `__all__`; each is imported when it is first used, so that
`import warp_phys` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from warp_phys._estimate import estimate
    from warp_phys._fit import fit
    from warp_phys._forecast import forecast
    from warp_phys._model import WarpPhys
    from warp_phys._plot import plot_history, plot_observed, plot_parameters, plot_predicted
    from warp_phys._read import read_trajectories
    from warp_phys._recurrence import autoregressive_recurrence, linear_recurrence
    from warp_phys._recurrence._complex_diagonal import ComplexDiagonal
    from warp_phys._recurrence._identity_low_rank import IdentityPlusLowRank
    from warp_phys._recurrence._transitions import Dense, Diagonal, DiagonalPlusLowRank, Identity
    from warp_phys._summary import summary
    from warp_phys._train import train
    from warp_phys._versions import show_versions
    from warp_phys._warp import Warp
    from warp_phys.systems._files import load, save

__version__ = "0.1.0"

_HOMES = {
    "ComplexDiagonal": "_recurrence._complex_diagonal",
    "Dense": "_recurrence._transitions",
    "Diagonal": "_recurrence._transitions",
    "DiagonalPlusLowRank": "_recurrence._transitions",
    "Identity": "_recurrence._transitions",
    "IdentityPlusLowRank": "_recurrence._identity_low_rank",
    "Warp": "_warp",
    "WarpPhys": "_model",
    "autoregressive_recurrence": "_recurrence",
    "estimate": "_estimate",
    "fit": "_fit",
    "forecast": "_forecast",
    "linear_recurrence": "_recurrence",
    "load": "systems._files",
    "plot_history": "_plot",
    "plot_observed": "_plot",
    "plot_parameters": "_plot",
    "plot_predicted": "_plot",
    "read_trajectories": "_read",
    "save": "systems._files",
    "show_versions": "_versions",
    "summary": "_summary",
    "train": "_train",
}

__all__ = [
    "ComplexDiagonal",
    "Dense",
    "Diagonal",
    "DiagonalPlusLowRank",
    "Identity",
    "IdentityPlusLowRank",
    "Warp",
    "WarpPhys",
    "autoregressive_recurrence",
    "estimate",
    "fit",
    "forecast",
    "linear_recurrence",
    "load",
    "plot_history",
    "plot_observed",
    "plot_parameters",
    "plot_predicted",
    "read_trajectories",
    "save",
    "show_versions",
    "summary",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value  # the next look takes no search
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
