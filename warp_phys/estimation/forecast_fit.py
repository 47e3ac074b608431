"""The start of a forecast from a fit: its optimum, and the joint covariance around it."""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from warp_phys.estimation.forecast_bands import Frozen, Place, Spread
from warp_phys.estimation.forecast_noise import own_parameters
from warp_phys.fitting.result.completion import Completion
from warp_phys.fitting.result.read import converged, noise_model
from warp_phys.models.coordinates import Physical
from warp_phys.systems.forcing.dataset import read_doses
from warp_phys.systems.model.supports import Support, to_unconstrained
from warp_phys.systems.model.system import System

# Eigenvalues of the information, scaled to a unit diagonal, that rounding alone can produce; as in
# `fitting.uncertainty.covariance`.
_ROUNDING = 1e-11
# Largest standard deviation of a logarithm: the quadratic approximation is not valid further out.
_WIDEST = 1.0
# The integration passes through the whole record, however long it is, and beyond.
_MAX_STEPS = 100_000


def freeze_fit(fitted: xr.Dataset, system: System, complete: Completion | None = None) -> Frozen:
    """Return optimum, start and spread of every trajectory of a fit.

    A trajectory that was not fitted has NaN everywhere, one that has not converged in its spread.
    """
    parameters, states, noise = (
        _tensor(fitted[name]) for name in ("parameters", "initial_state", "noise_sd")
    )
    own = own_parameters(fitted)
    values = {"parameter": parameters, "initial_state": states}
    if own is not None:
        values["noise"] = own.values
    return Frozen(
        labels=fitted["trajectory"].values,
        history=str(fitted.attrs.get("history", "")),
        unknowns=Physical(parameters, states, noise),
        start=_tensor(fitted["initial_time"]),
        outputs=[str(name) for name in fitted["output"].values],
        distribution=noise_model(fitted),
        spread=_spread(fitted, values),
        max_steps=_MAX_STEPS,
        doses=read_doses(fitted, system, fitted["trajectory"].values.tolist()),
        complete=complete,
        times=_times(fitted) if system.increments else None,
        own=own,
    )


def _times(fitted: xr.Dataset) -> Tensor:
    """Return the times of the records, (N, T)."""
    grid = fitted["time"].transpose("trajectory", ..., missing_dims="ignore")
    times = torch.as_tensor(np.array(grid.values, dtype=np.float64))
    return times.expand(fitted.sizes["trajectory"], -1)


def _spread(fitted: xr.Dataset, values: dict[str, Tensor]) -> Spread:
    places = _places(fitted)
    mean = torch.stack(
        [to_unconstrained(values[kind][:, index], support) for kind, index, support in places],
        dim=1,
    )
    information = _tensor(fitted["information"])
    known = information.isfinite().all(dim=2).all(dim=1) & torch.from_numpy(converged(fitted))
    # The coordinates with a nonlinear bijection (logarithm or logit), see `_root`.
    bent = torch.tensor([support != "real" for _, _, support in places])
    root = _root(torch.where(known[:, None, None], information, 0.0), bent)
    return Spread(
        places,
        torch.where(known.unsqueeze(1), mean, torch.nan),
        root,
        _tensor(fitted["degrees_of_freedom"]),
    )


def _places(fitted: xr.Dataset) -> list[Place]:
    """Return the unknowns, with the supports that the fit gave them."""
    names = {
        "parameter": fitted["parameter"].values.tolist(),
        "initial_state": fitted["state"].values.tolist(),
    }
    if "noise_parameter" in fitted.coords:
        names["noise"] = fitted["noise_parameter"].values.tolist()
    return [
        (str(kind), names[str(kind)].index(str(label).removesuffix("(0)")), _support(low, high))
        for label, kind, low, high in zip(
            fitted["estimated"].values,
            fitted["estimated_kind"].values,
            fitted["estimated_lower"].values.tolist(),
            fitted["estimated_upper"].values.tolist(),
            strict=True,
        )
    ]


def _support(low: float, high: float) -> Support:
    if (low, high) == (-np.inf, np.inf):
        return "real"
    return "positive" if (low, high) == (0.0, np.inf) else (low, high)


def _root(information: Tensor, bent: Tensor) -> Tensor:
    """Return square roots (N, D, D) of the pseudo-inverse of information.

    With F = S^-1 V diag(l) V^T S^-1 and S = diag(F)^(-1/2), a root is S V diag(l)^(-1/2).
    Directions whose eigenvalue is a rounding error do not change the outputs and are left out.
    Along others that are hardly determined, the bijections of the supports become strongly
    nonlinear long before one standard deviation is reached, so that these columns are shortened.

    Args:
        information: (N, D, D).
        bent: (D,), which coordinates are logarithms or the like.
    """
    diagonal = information.diagonal(dim1=1, dim2=2)
    scale = torch.where(diagonal > 0.0, diagonal, 1.0).rsqrt()
    values, vectors = torch.linalg.eigh(information * scale.unsqueeze(1) * scale.unsqueeze(2))
    deviation = torch.where(values > _ROUNDING, values.clamp_min(_ROUNDING).rsqrt(), 0.0)
    columns = vectors * scale.unsqueeze(2) * deviation.unsqueeze(1)
    longest = (columns.abs() * bent.unsqueeze(1)).amax(dim=1, keepdim=True)
    return columns / (longest / _WIDEST).clamp_min(1.0)


def _tensor(variable: xr.DataArray) -> Tensor:
    dims = ("trajectory", *(dim for dim in variable.dims if dim != "trajectory"))
    return torch.as_tensor(np.array(variable.transpose(*dims).values, dtype=np.float64))
