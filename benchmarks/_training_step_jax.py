"""One training step of the package's models, written in JAX with `lax.scan`.

The parameters are a mapping with the names that the PyTorch model gives them; the batch is what its
training task prepares. Each model comes in several forms, of which the benchmark takes the fastest.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

Parameters = dict[str, Array]
Batch = dict[str, Array]
Loss = Callable[[Parameters, Batch], Array]

BETAS, EPSILON = (0.9, 0.999), 1e-8
MEAN_WEIGHT = 10.0
LOG_SCALES = (-12.0, 3.0)


def features(p: Parameters, signals: Array) -> Array:
    """Return the learned features (..., T, width) of the last samples of (..., T, C)."""
    weight = p["drive.convolution.weight"]
    window = weight.shape[2]
    length = signals.shape[-2]
    edges = [(0, 0)] * (signals.ndim - 2) + [(window - 1, 0), (0, 0)]
    padded = jnp.pad(signals, edges)
    # One product over gathered windows is twice as fast here as lax.conv_general_dilated.
    windows = jnp.concatenate(
        [lax.slice_in_dim(padded, k, k + length, axis=-2) for k in range(window)], axis=-1
    )
    flat = weight.transpose(2, 1, 0).reshape(-1, weight.shape[0])
    hidden = jax.nn.silu(windows @ flat + p["drive.convolution.bias"])
    for layer in ("1", "3"):
        name = f"drive.perceptron.{layer}"
        hidden = jax.nn.silu(hidden @ p[f"{name}.weight"].T + p[f"{name}.bias"])
    return hidden


def differences(signals: Array, channels: int) -> Array:
    """Return x_t - x_{t-1} beside the flags, (..., T, C)."""
    values, flags = signals[..., :channels], signals[..., channels:]
    previous = jnp.concatenate([jnp.zeros_like(values[..., :1, :]), values[..., :-1, :]], axis=-2)
    return jnp.concatenate([values - previous, flags], axis=-1)


def first_state(p: Parameters, signal: Array) -> Array:
    """Return theta_0 (..., D) of first signals (..., C)."""
    hidden = jax.nn.silu(signal @ p["initial.phi.0.weight"].T + p["initial.phi.0.bias"])
    return p["initial.base"] + hidden @ p["initial.phi.2.weight"].T


def step(p: Parameters, theta: Array, drive: Array, *, stable: bool) -> Array:
    """Return A theta + B u for a diagonal or dense A."""
    driven = drive @ p["recurrence.input_matrix"].T
    if "recurrence.matrix" in p:
        return theta @ p["recurrence.matrix"].T + driven
    diagonal = p["recurrence.diagonal"]
    return (jnp.tanh(diagonal) if stable else diagonal) * theta + driven


def mlp(theta: Array, tau: Array, widths: tuple[int, ...]) -> Array:
    """Return networks of weights theta (..., D) at times tau (...)."""
    hidden, offset = tau[..., None], 0
    for into, out in pairwise(widths):
        weight = theta[..., offset : offset + out * into]
        weight = weight.reshape(*theta.shape[:-1], out, into)
        offset += out * into
        bias = theta[..., offset : offset + out]
        offset += out
        # The sum fuses; a batch of tiny matrix products does not.
        hidden = (weight * hidden[..., None, :]).sum(-1) + bias
        if offset < theta.shape[-1]:
            hidden = jnp.tanh(hidden)
    return hidden


def supervised_terms(values: Array, truth: Array) -> Array:
    """Return what each sample adds to the loss, of the numbers (..., K) a head emits."""
    size = truth.shape[-1]
    mean, log_scale, coupling = jnp.split(values, [size, 2 * size], axis=-1)
    log_scale = jnp.clip(log_scale, *LOG_SCALES)
    residual = truth - mean
    score, start = [], 0
    for row in range(size):
        known = (coupling[..., start : start + row] * residual[..., :row]).sum(-1)
        score.append((residual[..., row] + known) * jnp.exp(-log_scale[..., row]))
        start += row
    norm = log_scale.sum(-1) + 0.5 * size * jnp.log(2.0 * jnp.pi)
    density = -0.5 * sum(jnp.square(entry) for entry in score) - norm
    return MEAN_WEIGHT * jnp.square(residual).sum(-1) - density


def physics_loss(
    p: Parameters,
    batch: Batch,
    *,
    drive: str,
    channels: int,
    widths: tuple[int, ...],
    stable: bool,
    inside: bool,
) -> Array:
    """Return the supervised loss of `WarpPhys`: of records (N, T, C), or of one under `vmap`.

    Args:
        p: Parameters.
        batch: Records.
        drive: "features" or "difference".
        channels: How many of the signals are values.
        widths: Of the root network; empty for the direct head.
        stable: Whether the diagonal is tanh(r).
        inside: Whether states are decoded inside the scan.
    """
    signals, elapsed = batch["signals"], batch["elapsed"]
    first = first_state(p, signals[..., 0, :])

    def terms(theta: Array, tau: Array) -> Array:
        truth = batch["truth"]
        truth = truth[..., None, :] if theta.ndim > truth.ndim else truth
        return supervised_terms(mlp(theta, tau, widths) if widths else theta, truth)

    drives = features(p, signals) if drive == "features" else differences(signals, channels)

    def one(theta: Array, given: tuple[Array, Array]) -> tuple[Array, Array]:
        theta = step(p, theta, given[0], stable=stable)
        return theta, terms(theta, given[1]) if inside else theta

    given = (jnp.moveaxis(drives, -2, 0)[1:], jnp.moveaxis(elapsed, -1, 0)[1:])
    _, found = lax.scan(one, first, given)
    if inside:
        losses = jnp.concatenate([terms(first, elapsed[..., 0])[None], found])
        losses = jnp.moveaxis(losses, 0, -1)
    else:
        states = jnp.moveaxis(jnp.concatenate([first[None], found]), 0, -2)
        losses = terms(states, elapsed)
    return jnp.where(batch["valid"], losses, 0.0).sum()


def warp_loss(
    p: Parameters,
    batch: Batch,
    *,
    channels: int,
    widths: tuple[int, ...],
    place: int,
    inside: bool,
) -> Array:
    """Return the loss of `Warp`, of records (N, T, C), or of one under `vmap`."""
    signals, elapsed, target = batch["signals"], batch["elapsed"], batch["target"]
    first = first_state(p, signals[..., 0, :])
    drives = jnp.moveaxis(differences(signals, channels), -2, 0)
    times = jnp.moveaxis(elapsed, -1, 0)

    def one(theta: Array, given: tuple[Array, Array]) -> tuple[Array, tuple[Array, Array]]:
        """Decode the state before, at the next time; then step."""
        drive, tau = given
        value = mlp(theta, tau, widths) if inside else theta
        following = step(p, theta, drive, stable=False)
        return following, (value, following)

    _, (values, states) = lax.scan(one, first, (drives[1:], times[1:]))
    values = jnp.moveaxis(values, 0, -2)
    values = values if inside else mlp(values, elapsed[..., 1:], widths)
    frozen = states[place - 1][..., None, :]
    later = elapsed[..., place:]
    frozen = jnp.broadcast_to(frozen, (*later.shape, frozen.shape[-1]))
    rest = mlp(frozen, later, widths)
    return 0.5 * (
        mean_square(values, target[..., 1:, :]) + mean_square(rest, target[..., place:, :])
    )


def mean_square(predicted: Array, target: Array) -> Array:
    """Return the mean squared error over the measured values."""
    seen = jnp.isfinite(target)
    error = jnp.where(seen, predicted - jnp.nan_to_num(target), 0.0)
    return jnp.square(error).sum() / jnp.maximum(seen.sum(), 1)


def mapped(loss: Loss, *, summed: bool) -> Loss:
    """Return the loss of a batch from that of one record, under `vmap`."""
    each = jax.vmap(loss, in_axes=(None, 0))
    # Records have equal lengths and no gaps here, so that a mean of means is the mean.
    return lambda p, batch: each(p, batch).sum() if summed else each(p, batch).mean()


def losses(kind: str, **options: Any) -> dict[str, Loss]:
    """Return the forms of a model's loss: where the batch is, and where states are decoded."""
    base = physics_loss if kind == "physics" else warp_loss
    found: dict[str, Loss] = {}
    for inside in (False, True):
        loss = partial(base, **options, inside=inside)
        where = "decoded inside" if inside else "decoded after"
        for name, form in (
            (f"scan, {where}", loss),
            (f"vmap of scan, {where}", mapped(loss, summed=kind == "physics")),
        ):
            found[name] = form
    if kind == "physics":
        return {name: partial(_over_samples, loss) for name, loss in found.items()}
    return found


def _over_samples(loss: Loss, p: Parameters, batch: Batch) -> Array:
    return loss(p, batch) / batch["valid"].sum()


def training_step(
    loss: Loss, *, largest: float, decay: float
) -> Callable[..., tuple[Array, Parameters, tuple[Parameters, Parameters, Parameters]]]:
    """Return one step of AdamW with clipped gradients, jitted, its state donated."""

    def one(
        p: Parameters,
        first: Parameters,
        second: Parameters,
        count: Array,
        rate: Array,
        batch: Batch,
    ) -> tuple[Array, Parameters, tuple[Parameters, Parameters, Parameters]]:
        value, gradient = jax.value_and_grad(loss)(p, batch)
        size = jnp.sqrt(sum(jnp.square(entry).sum() for entry in gradient.values()))
        scale = jnp.minimum(1.0, largest / (size + 1e-6))
        gradient = {name: scale * entry for name, entry in gradient.items()}
        first = {n: BETAS[0] * first[n] + (1.0 - BETAS[0]) * g for n, g in gradient.items()}
        second = {
            n: BETAS[1] * second[n] + (1.0 - BETAS[1]) * jnp.square(g) for n, g in gradient.items()
        }
        unbiased = [1.0 - beta**count for beta in BETAS]
        moved = {
            n: (1.0 - rate * decay) * p[n]
            - rate * (first[n] / unbiased[0]) / (jnp.sqrt(second[n] / unbiased[1]) + EPSILON)
            for n in p
        }
        return value, gradient, (moved, first, second)

    return jax.jit(one, donate_argnums=(0, 1, 2))
