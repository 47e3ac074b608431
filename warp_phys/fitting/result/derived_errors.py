"""Standard errors of quantities that follow from the unknowns of a fit."""

from __future__ import annotations

import torch
from torch import Tensor

from warp_phys.fitting.uncertainty.covariance import Uncertainty
from warp_phys.likelihood.problem import FitProblem


def derived_values(
    problem: FitProblem, z: Tensor, parameters: Tensor, states: Tensor, known: Uncertainty
) -> dict[str, tuple[list[int], Tensor]]:
    """Return columns of variables of a result, each with the positions where they belong.

    Intervals of derived quantities are not given; their standard errors come from the delta method,
    var q = (dq/dz) C (dq/dz)^T, and are NaN where q depends on what the data do not determine.

    Args:
        problem: The problem, with derived quantities.
        z: (N, D), coordinates of the unknowns.
        parameters: (N, P).
        states: (N, S), initial states.
        known: The uncertainty of the unknowns.
    """
    derived = problem.unknowns.derived
    if derived is None:
        return {}
    rows = torch.arange(len(problem))
    by_parameter, by_state = problem.unknowns.chain(z, rows, parameters, states)
    places = derived.ties.places
    errors = _errors(by_parameter[:, places], known)
    nothing = torch.full_like(errors, torch.nan)
    found = {
        "standard_errors": (places, errors),
        "parameters_lower": (places, nothing),
        "parameters_upper": (places, nothing),
        "identifiable": (places, errors.isfinite().double()),
    }
    if derived.steady is not None:
        every = list(range(states.shape[1]))
        of_states = _errors(by_state, known)
        nothing = torch.full_like(of_states, torch.nan)
        found |= {
            "initial_state_standard_errors": (every, of_states),
            "initial_state_lower": (every, nothing),
            "initial_state_upper": (every, nothing),
        }
    return found


def _errors(slopes: Tensor, known: Uncertainty) -> Tensor:
    """Return the standard errors (N, Q) of quantities with slopes (N, Q, D) by the coordinates."""
    variance = (slopes @ known.line_covariance * slopes).sum(dim=2)
    # The covariance is NaN, in the diagonal, for all unknowns of a fit without a sound optimum.
    sound = known.covariance.diagonal(dim1=1, dim2=2).isfinite().unsqueeze(1)
    open_ended = ((slopes != 0.0) & ~sound).any(dim=2)
    return torch.where(open_ended, torch.nan, variance.clamp_min(0.0).sqrt())
