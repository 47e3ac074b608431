"""The losses that training minimizes: likelihood of the truth, and reconstruction error."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from warp_phys.models.coordinates import Physical
from warp_phys.models.gaussian import Gaussian
from warp_phys.models.roots import FLOW, predict, rollout
from warp_phys.models.warp_phys import WarpPhys
from warp_phys.records.records import Records

# Weight of the mean's squared error beside the log density.
_MEAN_WEIGHT = 10.0

# In standard deviations of the data: where the squared error bends into a logarithm, and beyond
# what a predicted sample counts as lost.
_BEND = 10.0
_LOST = 1e4


def supervised_loss(estimate: Gaussian, truth: Tensor, valid: Tensor) -> Tensor:
    """Return negative log density plus weighted squared error of the mean, over all samples.

    With estimates N(m_nt, C_nt) of true coordinates q_n, the mean over records and samples of

        10 |m_nt - q_n|^2 - log N(q_n; m_nt, C_nt).

    The density alone learns from precise records first, for their residuals weigh most, and leaves
    the mean of noisy ones poor; the squared error weighs all records alike.

    Args:
        estimate: (N, T, Q).
        truth: (N, Q).
        valid: (N, T).
    """
    target = truth.unsqueeze(1)
    squared = (estimate.mean - target).square().sum(dim=-1)
    loss = _MEAN_WEIGHT * squared - estimate.log_density(target)
    return torch.where(valid, loss, 0.0).sum() / valid.sum()


def reconstruction_loss(
    model: WarpPhys, records: Records, unknowns: Physical, place: int
) -> Tensor:
    r"""Return the mean squared error of the predicted outputs, in the scale of the data.

    With a closed form or one-interval steps it is the paper's: y_t = f(tau_t; theta_t) against
    x_t at every t. A rollout is costly, so theta is taken at one sample and the whole record is
    predicted from it.

    Args:
        model: Built.
        records: N records.
        unknowns: With leading dimensions (N, T), differentiable.
        place: Sample at which a rollout takes theta.
    """
    network, _ = model.built()
    with torch.no_grad():
        residual = network.scaling.residual(
            _predicted(model, records, unknowns, place), records.observed
        )
        tame = (residual.abs() < _LOST) | ~records.seen
    # Where the flow runs away its gradient is useless or infinite, and infinity times zero is not
    # zero: such samples take no part, which predict and rollout do for unknowns that are NaN.
    rows = tame.all(dim=-1)
    if model.root == "rollout":
        rows = rows.all(dim=-1, keepdim=True).expand_as(rows)
    kept = torch.where(rows.unsqueeze(-1), unknowns.parameters, torch.nan)
    usable = Physical(kept, unknowns.initial_state, unknowns.noise_sd)
    predicted = _predicted(model, records, usable, place)
    residual = network.scaling.residual(predicted, records.observed)
    used = records.seen & residual.isfinite()
    error = torch.where(used, residual, 0.0)
    # The square, but beyond the bend the logarithm: a lost trajectory must not drown the rest.
    robust = _BEND**2 * torch.log1p((error / _BEND).square())
    lost = (records.seen & ~used).sum() * _BEND**2 * math.log1p((_LOST / _BEND) ** 2)
    return (robust.sum() + lost) / records.seen.sum().clamp_min(1)


def _predicted(model: WarpPhys, records: Records, unknowns: Physical, place: int) -> Tensor:
    system, root = model.system, model.root
    if root == "solution":
        return predict(system, root, records, unknowns, method="solution")
    if root == "step":
        return predict(system, root, records, unknowns, **FLOW)
    frozen = Physical(
        unknowns.parameters[:, place],
        unknowns.initial_state[:, place],
        unknowns.noise_sd[:, place],
    )
    return rollout(system, records, frozen, **FLOW)
