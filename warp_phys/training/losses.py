"""The training losses: negative log likelihood of the truth, and reconstruction error."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from warp_phys.models.coordinates import Physical
from warp_phys.models.gaussian import Gaussian
from warp_phys.models.roots import FLOW, predict, rollout
from warp_phys.models.warp_phys import WarpPhys
from warp_phys.records.records import Records

# Weight of the squared error of the mean relative to the log density.
_MEAN_WEIGHT = 10.0

# In standard deviations of the data: the error at which the loss changes from quadratic to
# logarithmic, and the error beyond which a predicted sample counts as lost.
_BEND = 10.0
_LOST = 1e4


def supervised_loss(estimate: Gaussian, truth: Tensor, valid: Tensor) -> Tensor:
    """Return negative log density plus weighted squared error of the mean, over all samples.

    With estimates N(m_nt, C_nt) of true coordinates q_n, the mean over records and samples of

        10 |m_nt - q_n|^2 - log N(q_n; m_nt, C_nt).

    The log density is a strictly proper score (Gneiting and Raftery, J. Am. Stat. Assoc. 102, 359
    (2007)): only the true posterior minimizes its expectation. Alone, however, it learns from
    precise records first, because it weighs squared errors by the precision, and leaves the mean of
    noisy ones inaccurate. The squared error weighs all records alike.

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

    With a closed form or one-interval steps it is the loss of the paper, which compares
    y_t = f(tau_t; theta_t) with x_t at every t. A rollout is costly, so that theta is taken at one
    sample and the whole record is predicted from it.

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
    # Where a trajectory diverges, the gradient is useless or infinite, and masking the loss does
    # not help: 0 * inf is NaN. Such samples get NaN unknowns, which predict and rollout leave out.
    rows = tame.all(dim=-1)
    if model.root == "rollout":
        rows = rows.all(dim=-1, keepdim=True).expand_as(rows)
    kept = torch.where(rows.unsqueeze(-1), unknowns.parameters, torch.nan)
    usable = Physical(kept, unknowns.initial_state, unknowns.noise_sd)
    predicted = _predicted(model, records, usable, place)
    residual = network.scaling.residual(predicted, records.observed)
    used = records.seen & residual.isfinite()
    error = torch.where(used, residual, 0.0)
    # The Cauchy loss c^2 log(1 + (e / c)^2): close to e^2 for small errors and logarithmic for
    # large ones, so that a lost trajectory does not dominate the others. Lost samples cost a
    # constant.
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
