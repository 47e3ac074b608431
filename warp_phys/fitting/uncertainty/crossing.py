r"""Where increasing functions of one variable reach a target: bracketing for many lanes at once.

Each lane has a function tau(x), x >= 0, with tau(0) = 0, that is evaluated elsewhere; this module
proposes the next x and keeps the brackets. Where derivatives are known, x as a function of tau is a
cubic (Hermite) through the last two points; it ends the search as soon as it differs negligibly
from the quadratic that knows one derivative less. Otherwise, as long as nothing above the target is
known, the secant through the last two points is extrapolated, and between a point below and a point
above the target it is interpolated by the Illinois variant of regula falsi, which converges for
every continuous tau and with order 1.44 for a smooth one.

References:
    M. Dowell, P. Jarratt, BIT 11 (1971) 168-174, doi:10.1007/BF01934364.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Relative error of tau at which a crossing is found. The last secant step is taken without a check
# and leaves an error of second order, about the square of this.
_NEAR = 1e-3
# An inverse interpolation is final if its two orders differ by this share of x, this near to the
# target. Its own error is smaller.
_AGREED, _NEAR_ENOUGH = 1e-5, 0.25
# It is followed as long as each miss of the target is at most this share of the last one.
_CONVERGING = 0.5
# Farthest and nearest extrapolation, as multiples of the distance so far.
_FARTHER, _NEARER = 10.0, 1.2
# Most excess over the target, in units of it, that is interpolated: far above, tau is not linear.
_EXCESS = 2.0
# An extrapolation to this share of the limit goes to the limit at once: it is what decides whether
# there is a crossing at all.
_AT_LIMIT = 0.8
# A bracket this narrow, relative to its distance, holds a jump of tau rather than a crossing. The
# point above may then be wrong, because its minimization was trapped: it is forgotten, and the
# search goes on from the point below in steps that are short at first.
_NARROW, _RETRIES, _SHORT = 1e-3, 2, 1.3
# Where the model cannot be integrated above, and tau would not reach the target before even if it
# rose so many times faster than so far, nothing closes the interval.
_STEEPER = 3.0


class Crossings:
    """Searches for the x at which tau(x) reaches a target, for L lanes.

    Args:
        target: (L,), the values to be reached.
        first: (L,), where tau is evaluated first.
        limit: (L,), the largest x: where tau is still below the target there, the crossing is at
            infinity.
        rise: (L,), the derivative of tau at zero, NaN where unknown.
    """

    def __init__(
        self, target: Tensor, first: Tensor, limit: Tensor, rise: Tensor | None = None
    ) -> None:
        self.target = target
        self.limit = limit
        self.first = first.minimum(limit)
        self.found = torch.full_like(target, torch.nan)
        # The point below the target, and the one before it; the point above, infinite if unknown.
        self.below, self.tau_below = torch.zeros_like(target), torch.zeros_like(target)
        self.before, self.tau_before = torch.zeros_like(target), torch.zeros_like(target)
        self.above = torch.full_like(target, torch.inf)
        self.tau_above = torch.full_like(target, torch.inf)
        # Derivatives of tau at these points.
        unknown = torch.full_like(target, torch.nan)
        self.slope_below = unknown if rise is None else rise.clone()
        self.slope_before, self.slope_above = unknown.clone(), unknown.clone()
        # Where the last interpolation puts the crossing, NaN if nowhere; by how much the point that
        # it started from missed the target.
        self.guess, self.miss = unknown.clone(), torch.full_like(target, torch.inf)
        # Differences from the target that Illinois interpolates, halved on the side that stays.
        self.lack, self.excess = target.clone(), torch.full_like(target, torch.inf)
        self.side = torch.zeros_like(target)
        self.retries = torch.zeros_like(target)
        # Farthest extrapolation.
        self.pace = torch.full_like(target, _FARTHER)

    def open(self) -> Tensor:
        """Return the lanes that are still searched."""
        return self.found.isnan().nonzero()[:, 0]

    def propose(self, lanes: Tensor) -> Tensor:
        """Return the next x of some lanes."""
        bracketed = self.above[lanes].isfinite()
        return torch.where(bracketed, self._inside(lanes), self._outward(lanes))

    def take(self, lanes: Tensor, x: Tensor, tau: Tensor, slope: Tensor | None = None) -> Tensor:
        """Enter tau(x) of some lanes; return which of them are below the target.

        Args:
            lanes: The lanes (n,).
            x: (n,), where tau was evaluated.
            tau: (n,).
            slope: (n,), its derivative, or NaN where that is unknown.
        """
        slope = torch.full_like(tau, torch.nan) if slope is None else slope
        target, limit = self.target[lanes], self.limit[lanes]
        below = tau < target
        self._conclude(lanes, x, tau)
        self._interpolate(lanes, x, tau, slope)
        self.found[lanes[below & (x >= limit)]] = torch.inf
        low, high = lanes[below], lanes[~below]
        for name in ("", "tau_", "slope_"):
            getattr(self, f"{name}before")[low] = getattr(self, f"{name}below")[low]
        self.below[low], self.tau_below[low] = x[below], tau[below]
        self.above[high], self.tau_above[high] = x[~below], tau[~below]
        self.slope_below[low], self.slope_above[high] = slope[below], slope[~below]
        self.excess[low] *= torch.where(self.side[low] < 0.0, 0.5, 1.0)
        self.lack[high] *= torch.where(self.side[high] > 0.0, 0.5, 1.0)
        self.lack[low] = target[below] - tau[below]
        excess = tau[~below] - target[~below]
        limited = excess.minimum(_EXCESS * target[~below])
        self.excess[high] = torch.where(excess.isfinite(), limited, torch.inf)
        self.side[lanes] = torch.where(below, -1.0, 1.0).to(x.dtype)
        self.pace[low] = (_SHORT * self.pace[low]).clamp_max(_FARTHER)
        self._leave_open(lanes)
        self._resolve_jumps(lanes)
        return below

    def give_up(self) -> None:
        """Conclude the lanes that are still searched, from their brackets."""
        lanes = self.open()
        end = torch.where(self.tau_above[lanes].isfinite(), self._inside(lanes), torch.inf)
        self.found[lanes] = end

    def _leave_open(self, lanes: Tensor) -> None:
        """Conclude the lanes in which tau cannot reach the target before the model fails."""
        low, high, tau = self.below[lanes], self.above[lanes], self.tau_below[lanes]
        failing = high.isfinite() & self.tau_above[lanes].isinf() & self.found[lanes].isnan()
        slope = (tau - self.tau_before[lanes]) / (low - self.before[lanes])
        slope = slope.maximum(self.slope_below[lanes].nan_to_num(0.0)).nan_to_num(torch.inf)
        never = tau + _STEEPER * slope.clamp_min(0.0) * (high - low) < self.target[lanes]
        self.found[lanes[failing & never]] = torch.inf

    def _resolve_jumps(self, lanes: Tensor) -> None:
        narrow = self.above[lanes] - self.below[lanes] <= _NARROW * self.above[lanes]
        narrow &= self.found[lanes].isnan() & self.above[lanes].isfinite()
        lanes = lanes[narrow]
        again = self.tau_above[lanes].isfinite() & (self.retries[lanes] < _RETRIES)
        # At a jump that stays, the interval ends; at the place beyond which the model cannot be
        # integrated, nothing closes it.
        end = torch.where(self.tau_above[lanes].isfinite(), self.above[lanes], torch.inf)
        self.found[lanes[~again]] = end[~again]
        again = lanes[again]
        self.retries[again] += 1.0
        for table in (self.above, self.tau_above, self.excess):
            table[again] = torch.inf
        self.side[again], self.pace[again] = 0.0, _SHORT

    def _conclude(self, lanes: Tensor, x: Tensor, tau: Tensor) -> None:
        target = self.target[lanes]
        near = (tau / target - 1.0).abs() <= _NEAR
        # The secant to the nearer of the known points, which is a point above only if tau is finite
        # there.
        up, down = self.above[lanes], self.below[lanes]
        upper = self.tau_above[lanes].isfinite() & (up - x < x - down)
        other = torch.where(upper, up, down)
        slope = (tau - torch.where(upper, self.tau_above[lanes], self.tau_below[lanes])) / (
            x - other
        )
        end = x + (target - tau) / slope
        sound = (slope > 0.0) & ((end - x).abs() <= 0.05 * x)
        end = torch.where(sound, end, x)
        self.found[lanes[near]] = end[near]

    def _interpolate(self, lanes: Tensor, x: Tensor, tau: Tensor, slope: Tensor) -> None:
        """Interpolate x as a function of tau; conclude the lanes whose result is certain."""
        # The other point: the one above where this one is below, else the last one below.
        upper = (tau < self.target[lanes]) & self.tau_above[lanes].isfinite()
        far, tau_far, slope_far = (
            torch.where(
                upper, getattr(self, f"{name}above")[lanes], getattr(self, f"{name}below")[lanes]
            )
            for name in ("", "tau_", "slope_")
        )
        # With u = t - tau and the other point at u = d,
        #     x(u) = x + u / tau' + (3 P - Q) u^2 + (Q - 2 P) u^3 / d;
        # without the derivative at the other point the quadratic x + u / tau' + P u^2 remains.
        u, d = self.target[lanes] - tau, tau_far - tau
        first = ((far - x) / d - 1.0 / slope) / d
        second = (1.0 / slope_far - 1.0 / slope) / d
        newton, square = x + u / slope, first * u.square()
        more = (2.0 * first - second) * u.square() * (1.0 - u / d)
        error = torch.where(more.isfinite(), more, square).abs()
        guess = newton + square + more.nan_to_num(0.0, 0.0, 0.0)
        low, high = self.below[lanes], self.above[lanes].minimum(self.limit[lanes])
        sound = (slope > 0.0) & (guess > low) & (guess < high) & ((u < 0.0) == (guess < x))
        near = sound & (u.abs() <= _NEAR_ENOUGH * self.target[lanes]) & (error <= _AGREED * x)
        still = self.found[lanes].isnan()
        self.found[lanes[near & still]] = guess[near & still]
        converging = u.abs() <= _CONVERGING * self.miss[lanes]
        self.guess[lanes] = torch.where(sound & converging, guess, torch.nan)
        self.miss[lanes] = u.abs()

    def _inside(self, lanes: Tensor) -> Tensor:
        low, high = self.below[lanes], self.above[lanes]
        lack, excess = self.lack[lanes], self.excess[lanes]
        mixed = low + (high - low) * lack / (lack + excess)
        # Halved where tau is infinite above, that is, where the integration fails.
        wanted = torch.where(excess.isfinite(), mixed, 0.5 * (low + high))
        return torch.where(self.guess[lanes].isnan(), wanted, self.guess[lanes])

    def _outward(self, lanes: Tensor) -> Tensor:
        low, limit = self.below[lanes], self.limit[lanes]
        slope = (self.tau_below[lanes] - self.tau_before[lanes]) / (low - self.before[lanes])
        wanted = low + (self.target[lanes] - self.tau_below[lanes]) / slope.clamp_min(0.0)
        wanted = torch.where(wanted.isfinite(), wanted, _FARTHER * low)
        first = self.retries[lanes] == 0.0
        farthest = self.pace[lanes] * low
        guess = self.guess[lanes]
        wanted = torch.where(guess.isnan(), wanted.maximum(_NEARER * low), guess)
        wanted = wanted.minimum(farthest).minimum(limit)
        wanted = torch.where(first & (wanted > _AT_LIMIT * limit), limit, wanted)
        return torch.where(low > 0.0, wanted, self.first[lanes])
