"""Perceptrons with weights in a low-dimensional affine space, evaluated without forming them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from warp_phys.recurrence.choose import fastest
from warp_phys.recurrence.derivatives import differentiable_gradients
from warp_phys.recurrence.networks.evaluate import Shapes
from warp_phys.recurrence.transitions.dense import Dense
from warp_phys.recurrence.transitions.identity import Identity
from warp_phys.recurrence.transitions.identity_low_rank import IdentityPlusLowRank

WIDEST = 60
"""With more directions than this, forming the weights is faster."""

# Rows (sequence and time) evaluated at once, so that intermediate arrays stay in the cache.
_ROWS = 4096


def basis_perceptron(
    shapes: Shapes, origin: Tensor, directions: Tensor, coefficients: Tensor, inputs: Tensor
) -> Tensor:
    r"""Return outputs (N, T, out) of perceptrons: theta_nt = origin_n + directions c_nt.

    A layer is linear in its weights, so W(theta) z + b(theta) equals the term of the origin plus
    sum_k c_k (W(v_k) z + b(v_k)), which are products with matrices that all n and t share. The
    (N, T, D) weights are never formed, and the backward pass recomputes every block.

    Args:
        shapes: (out, in) of every layer; tanh between them.
        origin: (N, D), or (D,) expanded.
        directions: (D, K).
        coefficients: (N, T, K).
        inputs: (N, T, in).
    """
    outputs: Tensor = _Basis.apply(shapes, origin, directions, coefficients, inputs)
    return outputs


def summed(
    structure: Identity | IdentityPlusLowRank, B: Tensor, inputs: Tensor, initial: Tensor
) -> tuple[Tensor, Tensor]:
    r"""Return V (D, K) and v (N, T, K) with theta_t = theta_0 + V (v_1 + ... + v_t).

    For A = I, V = B and v = u. For A = I + P Q^T, V = [B, P] and v_t = [u_t, q_{t-1}] with the r
    numbers q_t = Q^T theta_t, which obey the small recurrence

        q_t = (I + Q^T P) q_{t-1} + Q^T B u_t,    q_0 = Q^T theta_0.

    Args:
        structure: A.
        B: (D, d).
        inputs: (N, T, d).
        initial: (N, D).
    """
    if isinstance(structure, Identity):
        return B, inputs
    seen = _seen(structure, B, inputs, initial)
    return torch.cat([B, structure.left], dim=1), torch.cat([inputs, seen], dim=2)


def _seen(structure: IdentityPlusLowRank, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    """Return q_0, ..., q_{T-1}, (N, T, r)."""
    start = initial @ structure.right
    if inputs.shape[1] < 2:
        return start.unsqueeze(1)[:, : inputs.shape[1]]
    # Q^T (I + P Q^T) theta = (I + Q^T P) Q^T theta: the states of size D are not needed for q.
    own = structure.right.mT @ structure.left
    small = Dense(own + torch.eye(len(own), dtype=B.dtype, device=B.device))
    # q_1, ..., q_{T-1} from an r x r recurrence; the last input only affects q_T.
    later = fastest(small, structure.right.mT @ B, inputs[:, :-1].contiguous(), start)
    return torch.cat([start.unsqueeze(1), later], dim=1)


class _Basis(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        shapes: Shapes,
        origin: Tensor,
        directions: Tensor,
        coefficients: Tensor,
        inputs: Tensor,
    ) -> Tensor:
        ctx.shapes = shapes
        ctx.save_for_backward(origin, directions, coefficients, inputs)
        batch, length, _ = inputs.shape
        outputs = inputs.new_empty((batch, length, shapes[-1][0]))
        for rows, steps in _blocks(batch, length):
            outputs[rows, steps] = _plain(
                shapes, origin[rows], directions, coefficients[rows, steps], inputs[rows, steps]
            )
        return outputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        shapes, saved, needed = ctx.shapes, ctx.saved_tensors, ctx.needs_input_grad[1:]
        if torch.is_grad_enabled():

            def plain(*tensors: Tensor) -> Tensor:
                return _plain(shapes, *tensors)

            return (None, *differentiable_gradients(plain, saved, gradient, needed))
        sums = [torch.zeros_like(value, memory_format=torch.contiguous_format) for value in saved]
        for rows, steps in _blocks(*gradient.shape[:2]):
            places: list[Any] = [rows, slice(None), (rows, steps), (rows, steps)]
            # Each block is recomputed and differentiated by autograd, which bounds the memory to a
            # block.
            with torch.enable_grad():
                parts = [
                    value[at].detach().requires_grad_(wanted)
                    for value, at, wanted in zip(saved, places, needed, strict=True)
                ]
                outputs = _plain(shapes, *parts)
            chosen = [part for part in parts if part.requires_grad]
            found = iter(torch.autograd.grad(outputs, chosen, gradient[rows, steps]))
            for total, at, wanted in zip(sums, places, needed, strict=True):
                if wanted:
                    total[at] += next(found)
        return (None, *(s if wanted else None for s, wanted in zip(sums, needed, strict=True)))


def _plain(
    shapes: Shapes, origin: Tensor, directions: Tensor, coefficients: Tensor, inputs: Tensor
) -> Tensor:
    hidden, offset = inputs, 0
    count = directions.shape[1]
    for layer, (out, into) in enumerate(shapes):
        hidden = torch.tanh(hidden) if layer else hidden
        middle, end = offset + out * into, offset + out * into + out
        own = origin[:, offset:middle].unflatten(1, (out, into))
        # The layer of the origin, a batched product over sequences: W(theta_0) z + b(theta_0).
        values = torch.baddbmm(origin[:, None, middle:end], hidden, own.mT)
        shared = directions[offset:middle].unflatten(0, (out, into))
        # The biases of the directions, sum_k c_k b(v_k).
        values = values + coefficients @ directions[middle:end].mT
        # sum_k c_k V_k z as one matrix product, for inputs (c_k z_i) of width K in, or outputs V_k
        # z of width K out that are weighted afterwards; the copies are made on the narrower side.
        if into <= out:
            copies = (coefficients.unsqueeze(-1) * hidden.unsqueeze(-2)).flatten(-2)
            values = values + copies @ shared.permute(2, 1, 0).reshape(count * into, out)
        else:
            products = hidden @ shared.permute(1, 2, 0).reshape(into, count * out)
            products = products.unflatten(-1, (count, out))
            values = values + (coefficients.unsqueeze(-1) * products).sum(-2)
        hidden, offset = values, end
    return hidden


def _blocks(batch: int, length: int) -> Iterator[tuple[slice, slice]]:
    """Yield blocks of whole sequences, or of the steps of one sequence where it is long."""
    steps = max(1, min(length, _ROWS))
    rows = max(1, _ROWS // steps)
    for row in range(0, batch, rows):
        for step in range(0, length, steps):
            yield slice(row, row + rows), slice(step, step + steps)
