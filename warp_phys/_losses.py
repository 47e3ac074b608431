"""What training minimizes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from warp_phys._coordinates import Physical
from warp_phys._gaussian import Gaussian
from warp_phys._model import WarpPhys
from warp_phys._records import Records
from warp_phys._roots import predict, rollout

# Beyond this many standard deviations the error counts linearly: early in training the physics
# may run away, and one such record must not drown the rest.
_FAR = 10.0


def supervised_loss(estimate: Gaussian, truth: Tensor, valid: Tensor) -> Tensor:
    """Return the mean negative log density of the true coordinates over all samples.

    Args:
        estimate: (N, T, Q).
        truth: (N, Q).
        valid: (N, T).
    """
    density = estimate.log_density(truth.unsqueeze(1))
    return -(density * valid).sum() / valid.sum()


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
    system = model.system
    if model.root == "solution":
        predicted = predict(system, "solution", records, unknowns, method="solution")
    else:
        options = {"method": "rk4", "substeps": model.settings.substeps}
        if model.root == "step":
            predicted = predict(system, "step", records, unknowns, **options)
        else:
            frozen = Physical(
                unknowns.parameters[:, place],
                unknowns.initial_state[:, place],
                unknowns.noise_sd[:, place],
            )
            predicted = rollout(system, records, frozen, **options)
    residual = network.scaling.residual(predicted, records.observed)
    used = records.seen & residual.isfinite()
    error = torch.where(used, residual, 0.0)
    squared = 2.0 * F.huber_loss(error, torch.zeros_like(error), reduction="sum", delta=_FAR)
    return squared / used.sum().clamp_min(1)
