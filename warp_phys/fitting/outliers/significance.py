r"""Gross outliers: values that a fit of all the others does not come near.

One value with a slipped unit or a sentinel such as -9999 drags a least squares fit towards itself,
so that its own residual and the scale of the others mislead. Values that stand out are left out,
and the record is fitted again. With k values left out, the sum of squares falling from Q to Q_k,

.. math::
    F = \frac{(Q - Q_k) / k}{Q_k / (n - p - k)}

has the F distribution with k and n - p - k degrees of freedom if the model is linear and the noise
normal: this is the test of a shift in the mean of these values. Any of the (n over k) choices might
have stood out, by which the tail probability is multiplied (Bonferroni).

References:
    R. D. Cook, S. Weisberg, Residuals and Influence in Regression, Chapman and Hall, 1982,
    sec. 2.2.
"""

from __future__ import annotations

import torch
from scipy import stats
from torch import Tensor

from warp_phys.likelihood.problem import FitProblem


def scaled_residuals(problem: FitProblem, predicted: Tensor) -> Tensor:
    """Return residuals (N, T, O) over the known levels, or as they are."""
    residuals = problem.residuals(predicted)
    return residuals if problem.weights is None else residuals * problem.weights.sqrt()


def freedom_of(problem: FitProblem, seen: Tensor) -> Tensor:
    """Return degrees of freedom (N, O) of the scale of each output, where one value is left out.

    Outputs that have a level in common have its freedom in common, too.
    """
    counts = seen.sum(dim=1).double()
    total = counts.sum(dim=1, keepdim=True)
    unknowns = len(problem.unknowns)
    if problem.noise != "each":
        return (total - unknowns).expand_as(counts)
    return counts * (1.0 - unknowns / total.clamp_min(1.0))


def squares_of(problem: FitProblem, scaled: Tensor) -> Tensor:
    """Return the sums of squares (N, O) behind the level of each output."""
    squares = scaled.square().nansum(dim=1)
    return squares if problem.noise == "each" else squares.sum(1, keepdim=True).expand_as(squares)


def variance_ratio(
    problem: FitProblem, gain: Tensor, rest: Tensor, freedom: Tensor, left_out: int
) -> Tensor:
    """Return the statistic F; the arguments are those of `tail_probability`."""
    variance = rest / freedom.clamp_min(1.0)
    if problem.noise == "known":
        variance = variance.clamp_min(1.0)
    return (gain / left_out / variance).nan_to_num(0.0, posinf=1e300)


def tail_probability(
    problem: FitProblem, gain: Tensor, rest: Tensor, freedom: Tensor, left_out: int
) -> Tensor:
    """Return the tail probability of F, without Bonferroni's factor.

    Args:
        problem: The problem.
        gain: Q - Q_k.
        rest: Q_k.
        freedom: n - p - k.
        left_out: k.
    """
    ratio = variance_ratio(problem, gain, rest, freedom, left_out)
    tail = torch.from_numpy(stats.f.sf(ratio.numpy(), left_out, freedom.clamp_min(1.0).numpy()))
    return torch.where(freedom >= 1.0, tail, 1.0)


def least_tail(problem: FitProblem, gain: Tensor, rest: Tensor, freedom: Tensor) -> Tensor:
    """Return a lower bound of the tail probability where one value is left out.

    It is the one for infinite freedom: F is then the square of a normal variable, and t
    distributions have heavier tails than that.
    """
    return (0.5 * variance_ratio(problem, gain, rest, freedom, 1)).clamp_min(0.0).sqrt().erfc()


def gain_of(
    problem: FitProblem, before: Tensor, after: Tensor, scaled: Tensor, output: Tensor
) -> Tensor:
    """Return by how much the sum of squares fell, that of the outlier's output.

    Where outputs have levels of their own, what the others gained or lost in likelihood counts as
    well: n_o log Q of the outlier's output falls by the sum over all outputs.
    """
    one = torch.arange(len(output))
    own, rest = before[one, output], after[one, output]
    if problem.noise != "each":
        return own - rest
    counts = scaled.isfinite().sum(dim=1).double()
    tiny = torch.finfo(torch.float64).tiny
    ratio = (before.clamp_min(tiny) / after.clamp_min(tiny)).log()
    share = (counts * ratio).sum(dim=1) / counts[one, output].clamp_min(1.0)
    return rest * share.clamp(max=600.0).expm1()
