"""Closed form of the damped linear oscillator, accurate in every regime and between them."""

from __future__ import annotations

import torch
from torch import Tensor

_TERMS = 11  # |z| <= 1: the first neglected term is below 1e-20


def damped_oscillation(
    t: Tensor, position: Tensor, velocity: Tensor, frequency_squared: Tensor, rate: Tensor
) -> tuple[Tensor, Tensor]:
    r"""Solve x'' + 2 rate x' + frequency_squared x = 0.

    With z = (frequency_squared - rate^2) t^2, C = cos(sqrt z) and S = t sin(sqrt z) / sqrt z,
    both entire functions of z (cosh and sinh where z < 0):

        x(t) = e^(-rate t) (x_0 (C + rate S) + v_0 S)
        v(t) = e^(-rate t) (v_0 (C - rate S) - frequency_squared x_0 S)

    Around z = 0 a power series is used, so that values and derivatives of all orders pass smoothly
    from the under- to the overdamped side; where z < 0 the exponentials are combined first, so
    that nothing overflows.

    Args:
        t: Time since the initial time.
        position: x_0.
        velocity: v_0.
        frequency_squared: Squared natural frequency, 1/time^2.
        rate: Damping rate, 1/time.

    Returns:
        x(t) and v(t), of the broadcast shape of the arguments.
    """
    cosine, sine = _decaying_pair(t, frequency_squared, rate)
    x = position * (cosine + rate * sine) + velocity * sine
    v = velocity * (cosine - rate * sine) - frequency_squared * position * sine
    return x, v


def scaled_energy(
    t: Tensor, position: Tensor, velocity: Tensor, frequency_squared: Tensor, rate: Tensor
) -> Tensor:
    """Return e^(2 rate t) (v^2 + 2 rate x v + frequency_squared x^2), constant in time.

    With x = e^(-rate t) u it is the energy of u, which is undamped:
    u'' + (frequency_squared - rate^2) u = 0.
    """
    form = velocity**2 + 2.0 * rate * position * velocity + frequency_squared * position**2
    return torch.exp(2.0 * rate * t) * form


def _decaying_pair(t: Tensor, frequency_squared: Tensor, rate: Tensor) -> tuple[Tensor, Tensor]:
    """Return e^(-rate t) C and e^(-rate t) S."""
    z = (frequency_squared - rate**2) * t**2
    decay = torch.exp(-rate * t)
    # Every branch sees harmless arguments where another one is taken, so no gradient is NaN.
    one = torch.ones_like(z)
    under, over = z > 1.0, z < -1.0
    angle = torch.sqrt(torch.where(under, z, one))
    under_pair = decay * torch.cos(angle), decay * t * torch.sin(angle) / angle
    near = torch.where(under | over, torch.zeros_like(z), z)
    near_pair = decay * _series(near, 0), decay * t * _series(near, 1)
    spread = torch.sqrt(torch.where(over, -z, one))
    # Slow exponent (rate t - spread) without cancellation: the product of both is (w t)^2.
    slow = torch.where(over, frequency_squared * t**2 / (rate * t + spread), torch.zeros_like(z))
    lasting = torch.exp(-slow)
    over_pair = (
        0.5 * lasting * (1.0 + torch.exp(-2.0 * spread)),
        -0.5 * lasting * t * torch.expm1(-2.0 * spread) / spread,
    )
    cosine, sine = (
        torch.where(under, a, torch.where(over, c, b))
        for a, b, c in zip(under_pair, near_pair, over_pair, strict=True)
    )
    return cosine, sine


def _series(z: Tensor, odd: int) -> Tensor:
    """Return cos(sqrt z) for odd = 0 and sin(sqrt z) / sqrt z for odd = 1, by Horner's rule."""
    total = torch.ones_like(z)
    for term in range(_TERMS, 0, -1):
        total = 1.0 - z * total / ((2 * term - 1 + odd) * (2 * term + odd))
    return total
