"""The rows of `recurrence_speed.py`: problems of the recurrence, and what stands against it.

A way takes the leaves of a problem and weights w, and gives the gradients of sum(w theta) to all
leaves, having computed all states theta (N, T, D) forwards.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

import warp_phys as wp

Way = Callable[[], list[np.ndarray]]


@dataclass(frozen=True)
class Row:
    """One problem.

    Attributes:
        structure: Of A: "diagonal", "dense" or "low_rank".
        shape: N, T, D, d.
        rank: Of the low rank.
        wanted: The ratio to the fastest peer that is aimed at.
    """

    structure: str
    shape: tuple[int, int, int, int]
    wanted: float
    rank: int = 2

    @property
    def name(self) -> str:
        """What the table calls it."""
        rank = f", r = {self.rank}" if self.structure == "low_rank" else ""
        return f"{self.structure.replace('_', ' ')}, {self.shape}{rank}"


ROWS = (
    Row("diagonal", (32, 1024, 2000, 2), 4.5),
    Row("diagonal", (16, 256, 5000, 4), 4.5),
    Row("diagonal", (64, 256, 3, 2), 8.0),
    Row("diagonal", (1024, 256, 3, 2), 8.0),
    Row("dense", (64, 256, 3, 2), 8.0),
    Row("dense", (1024, 256, 3, 2), 8.0),
    Row("dense", (32, 256, 500, 2), 1.5),
    Row("low_rank", (32, 256, 2000, 2), 4.0),
    Row("low_rank", (32, 256, 2000, 2), 4.0, rank=8),
)


def tensors(row: Row, seed: int) -> tuple[list[Tensor], Tensor]:
    """Return the leaves (those of A, then B, inputs, initial) in float32, and weights (N, T, D)."""
    generator = torch.Generator().manual_seed(seed)
    batch, length, size, width = row.shape

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    if row.structure == "dense":
        of_a = [0.9 * normal(size, size) / size**0.5]
    else:
        of_a = [1 - 0.2 * torch.rand(size, generator=generator)]
    if row.structure == "low_rank":
        of_a += [0.1 * normal(size, row.rank) / size**0.5 for _ in range(2)]
    rest = ((size, width), (batch, length, width), (batch, size), (batch, length, size))
    *leaves, weights = [*of_a, *(normal(*shape) for shape in rest)]
    return leaves, weights


def ours(row: Row, leaves: list[Tensor], weights: Tensor) -> Way:
    """`linear_recurrence`."""
    wanted = [leaf.requires_grad_() for leaf in leaves]

    def run() -> list[np.ndarray]:
        A = wp.DiagonalPlusLowRank(*wanted[:3]) if row.structure == "low_rank" else wanted[0]
        states = wp.linear_recurrence(A, *wanted[-3:])
        return [found.numpy() for found in torch.autograd.grad(states, wanted, weights)]

    return run


def step_loop(row: Row, leaves: list[Tensor], weights: Tensor) -> Way:
    """The same, one step after the other in PyTorch's operations (mode "recurrent")."""
    wanted = [leaf.requires_grad_() for leaf in leaves]

    def run() -> list[np.ndarray]:
        A = wp.DiagonalPlusLowRank(*wanted[:3]) if row.structure == "low_rank" else wanted[0]
        states = wp.linear_recurrence(A, *wanted[-3:], mode="recurrent")
        return [found.numpy() for found in torch.autograd.grad(states, wanted, weights)]

    return run


def _jax_way(states: Callable[..., Any], leaves: list[Tensor], weights: Tensor) -> Way:
    import jax

    @jax.jit
    def gradients(values: Any, weights: Any) -> Any:
        return jax.vjp(states, *values)[1](weights)

    values = [jax.numpy.asarray(leaf.detach().numpy()) for leaf in leaves]
    cotangent = jax.numpy.asarray(weights.numpy())
    return lambda: [np.asarray(one) for one in gradients(values, cotangent)]


def _advance(row: Row) -> Callable[..., Any]:
    """A theta for rows of states, from the leaves of A."""
    if row.structure == "dense":
        return lambda state, matrix: state @ matrix.T
    if row.structure == "diagonal":
        return lambda state, values: values * state
    return lambda state, values, left, right: values * state + (state @ right) @ left.T


def jax_scan(row: Row, leaves: list[Tensor], weights: Tensor) -> Way:
    """JAX's lax.scan over time with all sequences in the state."""
    import jax

    advance = _advance(row)

    def states(*values: Any) -> Any:
        *of_a, B, inputs, initial = values

        def step(state: Any, u: Any) -> Any:
            state = advance(state, *of_a) + u @ B.T
            return state, state

        return jax.lax.scan(step, initial, inputs.swapaxes(0, 1))[1].swapaxes(0, 1)

    return _jax_way(states, leaves, weights)


def jax_scan_vmap(row: Row, leaves: list[Tensor], weights: Tensor) -> Way:
    """JAX's lax.scan of one sequence, under vmap."""
    import jax

    advance = _advance(row)

    def states(*values: Any) -> Any:
        *of_a, B, inputs, initial = values

        def one(inputs: Any, initial: Any) -> Any:
            def step(state: Any, u: Any) -> Any:
                state = advance(state, *of_a) + B @ u
                return state, state

            return jax.lax.scan(step, initial, inputs)[1]

        return jax.vmap(one)(inputs, initial)

    return _jax_way(states, leaves, weights)


def jax_associative(_: Row, leaves: list[Tensor], weights: Tensor) -> Way:
    """JAX's lax.associative_scan, for a diagonal."""
    import jax

    def states(values: Any, B: Any, inputs: Any, initial: Any) -> Any:
        driven = inputs @ B.T
        driven = driven.at[:, 0].add(values * initial)
        factors = jax.numpy.broadcast_to(values, driven.shape)

        def combine(earlier: Any, later: Any) -> Any:
            return earlier[0] * later[0], later[0] * earlier[1] + later[1]

        return jax.lax.associative_scan(combine, (factors, driven), axis=1)[1]

    return _jax_way(states, leaves, weights)


def peers(row: Row) -> dict[str, Callable[[Row, list[Tensor], Tensor], Way]]:
    """Return the ways to compare with, by name: JAX's where it is installed, and the step loop."""
    found: dict[str, Callable[[Row, list[Tensor], Tensor], Way]] = {"step loop": step_loop}
    if importlib.util.find_spec("jax") is None:
        return found
    found |= {"lax.scan": jax_scan, "lax.scan, vmap": jax_scan_vmap}
    # The largest takes minutes and twice the memory, and was four times slower than lax.scan.
    if row.structure == "diagonal" and np.prod(row.shape[:3]) < 3e7:
        found["associative_scan"] = jax_associative
    return found
