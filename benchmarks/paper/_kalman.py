"""A joint unscented Kalman filter on state and parameters: a control with the same physics."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from torch import Tensor

from benchmarks.paper._models import Budget, Forecast
from benchmarks.paper._physics import (
    context_data,
    failed_records,
    flow_outputs,
    held_parameters,
    named,
    physics_outputs,
)
from benchmarks.paper._tasks import Floats, Split, Task
from benchmarks.paper._unknowns import Unknowns
from benchmarks.paper._unscented import Belief, predict, update

# Side by side: standard deviations of the prior, in those of the training set, whose ranges are
# narrower than the test's; and noise assumed where there is none, in standard deviations of the
# outputs over the training set. Too little noise makes a filter sure of what is wrong.
_WIDTHS = (1.5, 3.0)
_NOISE = (1e-6, 1e-5, 1e-4)
# What validation chooses from: random walk of the parameters for each sample, in standard
# deviations of their prior.
_WALK = (0.0, 1e-3, 1e-2)
# Of an update whose outputs are not linear in the unknowns.
_PASSES = 3
# Deviation of what is the same in all training records, relative to its size.
_EXACT = 1e-9


class KalmanFilter:
    r"""State and parameters filtered along each context, then the physical flow.

    Unknown are the states x and the free parameters q, those with positive support by their
    logarithms; the mass of an oscillator is held. From sample to sample

    .. math:: x_{i+1} = \Phi_{\Delta t}(x_i; q_i), \quad q_{i+1} = q_i + \eta_i, \quad
        y_i = h(x_i; q_i) + \varepsilon_i

    with the exact flow. The prior is the normal distribution with the mean and the covariance of
    the true initial states and parameters of the training set, widened. Several filters run side
    by side, with different widths and, where the data have no noise, levels of it; each record
    keeps the one under which its own context is likeliest. Known noise is given. The random walk
    is chosen on the validation set. Where outputs are not linear in the unknowns, each update is
    repeated at what it found.

    References:
        S. J. Julier, J. K. Uhlmann, Proc. SPIE 3068 (1997) 182-193, doi:10.1117/12.280797.
        E. A. Wan, R. van der Merwe, Proc. IEEE AS-SPCC (2000) 153-158,
        doi:10.1109/ASSPCC.2000.882463.
        D. T. Magill, IEEE Trans. Automatic Control 10 (1965) 434-439 (filters side by side).
    """

    def fit(self, task: Task, budget: Budget) -> float:  # noqa: ARG002  # nothing is drawn
        """Take the prior from the training set and choose the random walk on the validation set.

        Returns:
            The mean squared error behind the context, in standard deviations of the outputs; a
            record that fails counts 1.
        """
        self._unknowns = Unknowns(task)
        self._prior = _prior(task, self._unknowns)
        self._spread = np.nanstd(task.train.sequence, axis=(0, 1))
        losses = {walk: self._loss(task, walk) for walk in _WALK}
        self._walk = min(losses, key=losses.__getitem__)
        return losses[self._walk]

    def forecast(self, task: Task, split: Split) -> Forecast:
        """Filter every context and follow the physics from its last sample.

        In repeat-copy, whose cycle starts over, physics starts at the first sample.
        """
        return self._forecast(task, split, self._walk)

    def count(self) -> int:
        """Return 0: nothing is trained by steps."""
        return 0

    def _loss(self, task: Task, walk: float) -> float:
        split = task.validation
        outputs = self._forecast(task, split, walk).outputs
        behind = np.arange(outputs.shape[1]) >= split.context[:, None]
        squares = (((outputs - split.target) / self._spread) ** 2).mean(axis=2)
        errors = np.where(behind, squares, 0.0).sum(axis=1) / behind.sum(axis=1)
        return float(np.where(np.isfinite(errors), errors, 1.0).mean())

    def _forecast(self, task: Task, split: Split, walk: float) -> Forecast:
        first, last = self._filtered(task, split, walk)
        states, parameters = (part.numpy() for part in self._unknowns.physical(last))
        if task.cycle_gap is None:
            outputs = _followed(task, split, parameters, states)
        else:
            start = self._unknowns.physical(first)[0].numpy()
            outputs = physics_outputs(task, split, parameters, start)
        failed = failed_records(split, outputs)
        outputs[failed] = np.nan
        parameters[failed] = np.nan
        return Forecast(outputs, named(task, parameters), int(failed.sum()))

    def _filtered(self, task: Task, split: Split, walk: float) -> tuple[Tensor, Tensor]:
        """Return the means (N, n) after the first and after the last sample of the contexts."""
        data = context_data(split, cycle=task.cycle_gap is not None)
        observed = torch.tensor(data["observed"].values)
        blind = ~observed.isfinite().any(dim=2).any(dim=1)
        counts = torch.tensor(split.context - (task.cycle_gap is not None))
        priors, noise = self._side_by_side(split)
        filters = len(noise) // len(split)
        observed, counts = observed.repeat(filters, 1, 1), counts.repeat(filters)
        walks = walk * self._unknowns.parameter_part(self._prior.factor[0].norm(dim=1))
        passes = 1 if self._unknowns.linear_outputs else _PASSES
        outputs = self._unknowns.outputs
        first, likelihood = update(priors, outputs, observed[:, 0], noise, passes)
        belief, last = first, first
        for sample, step in enumerate(np.diff(data["time"].values), start=1):
            belief = predict(belief, self._unknowns.flow(float(step)), walks)
            belief, gained = update(belief, outputs, observed[:, sample], noise, passes)
            last = belief.where(sample < counts, last)
            likelihood = likelihood + gained
        likelihood = likelihood.nan_to_num(-torch.inf, neginf=-torch.inf).view(filters, -1)
        chosen = likelihood.argmax(dim=0), torch.arange(len(split))
        means = (part.mean.unflatten(0, (filters, -1))[chosen] for part in (first, last))
        # A record of which nothing was seen is lost, not forecast from the prior.
        after_first, after_last = (part.masked_fill(blind[:, None], torch.nan) for part in means)
        return after_first, after_last

    def _side_by_side(self, split: Split) -> tuple[Belief, Tensor]:
        """Return priors and standard deviations of the noise, filter by filter, each N records."""
        known = split.data["true_noise_sd"].values
        levels = _NOISE[:1] if (known > 0.0).all() else _NOISE
        factors, noise = [], []
        for width, level in itertools.product(_WIDTHS, levels):
            factors.append((width * self._prior.factor).repeat(len(split), 1, 1))
            noise.append(torch.tensor(np.where(known > 0.0, known, level * self._spread)))
        mean = self._prior.mean.repeat(len(split) * len(noise), 1)
        return Belief(mean, torch.cat(factors)), torch.cat(noise)


def _prior(task: Task, unknowns: Unknowns) -> Belief:
    """Return the normal distribution (1, n) of the training set's true unknowns."""
    initial = task.train.data["true_initial_state"].values
    z = unknowns.unbounded(initial, held_parameters(task, task.train))
    mean = z.mean(dim=0)
    rows = (z - mean) / math.sqrt(max(len(z) - 1, 1))
    exact = torch.diag(_EXACT * mean.abs().clamp_min(1.0))
    factor = torch.linalg.qr(torch.cat([rows, exact]), mode="r").R.mT
    return Belief(mean[None], factor[None])


def _followed(task: Task, split: Split, parameters: Floats, states: Floats) -> Floats:
    """Return (N, T, O): what was observed up to the context, and the flow from its last sample."""
    outputs = split.sequence.copy()
    for count in np.unique(split.context):
        rows = np.flatnonzero(split.context == count)
        found = flow_outputs(task.system, split.times[count - 1 :], parameters[rows], states[rows])
        outputs[rows, count:] = found[:, 1:]
    return outputs
