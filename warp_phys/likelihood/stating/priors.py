"""The argument `priors`: distributions of unknowns by name, or a joint log density."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor
from torch.distributions import Distribution, constraints

from warp_phys.likelihood.prior import Joint, LogDensity
from warp_phys.likelihood.stating.choose_unknowns import well_inside
from warp_phys.likelihood.unknown import Unknown
from warp_phys.systems.errors import UsageError, unknown_name
from warp_phys.systems.model.supports import bounds

# Unknowns begin in the central part of their prior.
_CENTRAL = (0.05, 0.95)
Priors = Mapping[str, Any] | Joint | None


def read_priors(
    priors: Priors, entries: Sequence[Unknown], known: Sequence[str]
) -> tuple[tuple[Unknown, ...], list[LogDensity | None], Joint | None]:
    """Return the unknowns within their priors, their log densities, and the joint one.

    Args:
        priors: A mapping from label to distribution, or a function of all unknowns by label.
        entries: The unknowns.
        known: Labels of what is known.

    Raises:
        UsageError: A prior is no distribution of one number, or of a quantity that is known.
        UnknownNameError: There is no such unknown.
    """
    if callable(priors) and not isinstance(priors, Mapping):
        return tuple(entries), [None] * len(entries), priors
    if not isinstance(priors, Mapping):
        raise UsageError(
            "expected priors as a mapping from name to distribution, or a function of a mapping "
            f"from name to tensor that returns the log density, got {priors!r}"
        )
    _check_names(priors, [entry.label for entry in entries], known)
    found: list[Unknown] = []
    densities: list[LogDensity | None] = []
    for entry in entries:
        # noise_sd is that of all outputs, noise_sd(prey) that of one.
        given = priors.get(entry.label, priors.get(entry.label.split("(")[0]))
        if entry.kind != "noise":
            given = priors.get(entry.label)
        if given is None:
            found.append(entry)
            densities.append(None)
            continue
        distribution = as_distribution(entry.label, given)
        found.append(_within(entry, distribution))
        densities.append(_log_density(distribution))
    return tuple(found), densities, None


def _check_names(priors: Mapping[str, Any], labels: Sequence[str], known: Sequence[str]) -> None:
    short = [label.split("(")[0] for label in labels if not label.endswith("(0)")]
    for name in priors:
        if name in labels or name in short:
            continue
        if name in known:
            raise UsageError(
                f"priors[{name!r}] is of a quantity that is known; leave it out, or make the "
                "quantity unknown"
            )
        raise unknown_name("unknown that can have a prior", name, [*labels, *short, *known])


def as_distribution(name: str, given: Any) -> Any:
    """Return a frozen distribution of SciPy or one of torch; a range is a uniform distribution.

    Raises:
        UsageError: It is neither, or of several numbers.
    """
    if isinstance(given, tuple) and len(given) == 2:
        low, high = given
        if not low < high:
            raise UsageError(f"expected priors[{name!r}] as (low, high) with low < high: {given!r}")
        return stats.uniform(loc=low, scale=high - low)
    usable = isinstance(given, Distribution) or (hasattr(given, "logpdf") and hasattr(given, "ppf"))
    if not usable:
        raise UsageError(
            f"expected priors[{name!r}] as a distribution, such as truncated_normal(1.0, 0.5) or "
            f"one of torch.distributions, or as a range (low, high); got {given!r}"
        )
    size = (
        given.batch_shape.numel() * given.event_shape.numel()
        if isinstance(given, Distribution)
        else np.size(given.ppf(0.5))
    )
    if size != 1:
        raise UsageError(
            f"expected priors[{name!r}] as the distribution of one quantity, got {size} of them; "
            "give every quantity its own"
        )
    return given


def described(given: Any) -> str:
    """Return a distribution as text."""
    frozen = getattr(given, "dist", None)
    if frozen is None:
        return repr(given)
    arguments = [*map(str, given.args), *(f"{k}={v}" for k, v in given.kwds.items())]
    return f"{frozen.name}({', '.join(arguments)})"


def _log_density(distribution: Any) -> LogDensity:
    """Return the log density as a function of tensors; minus infinity outside the support."""
    if not isinstance(distribution, Distribution):

        def of_scipy(values: Tensor) -> Tensor:
            found = distribution.logpdf(values.numpy())
            return torch.as_tensor(np.asarray(found, dtype=np.float64)).reshape(values.shape)

        return of_scipy

    # A value inside the support, in place of those outside, which torch refuses.
    usual = 0.5 * sum(_central(distribution))
    support = distribution.support
    assert isinstance(support, constraints.Constraint)

    def of_torch(values: Tensor) -> Tensor:
        inside = support.check(values)
        found = distribution.log_prob(torch.where(inside, values, usual)).double()
        return torch.where(inside, found.reshape(values.shape), -torch.inf)

    return of_torch


def _ends(distribution: Any) -> tuple[float, float]:
    """Return the ends of the support."""
    if not isinstance(distribution, Distribution):
        low, high = distribution.support()
        return float(low), float(high)
    support = distribution.support
    low = getattr(support, "lower_bound", -np.inf)
    return float(low), float(getattr(support, "upper_bound", np.inf))


def _central(distribution: Any) -> tuple[float, float]:
    """Return two quantiles between which most of the prior lies."""
    if not isinstance(distribution, Distribution):
        low, high = (float(distribution.ppf(q)) for q in _CENTRAL)
        return low, high
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        draws = distribution.sample((1000,)).double().flatten()
    ends = draws.quantile(torch.tensor(_CENTRAL, dtype=torch.float64))
    return float(ends[0]), float(ends[1])


def _within(entry: Unknown, distribution: Any) -> Unknown:
    """Return an unknown whose support ends where its prior does, and which begins inside it."""
    low, high = bounds(entry.support)
    first, last = _ends(distribution)
    first, last = max(low, first), min(high, last)
    if not first < last:
        raise UsageError(
            f"priors[{entry.label!r}] leaves no value of the support ({low:g}, {high:g}): "
            f"{described(distribution)}"
        )
    support = entry.support if (first, last) == (low, high) else (first, last)
    if (first, last) == (0.0, np.inf):
        support = "positive"
    usual = well_inside(support, _central(distribution))
    return replace(entry, support=support, usual=usual, ranged=True)
