"""Perceptrons with given weights, each evaluated at its own point."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from warp_phys.recurrence.derivatives import differentiable_gradients
from warp_phys.recurrence.transforms import through_graph, transformed

Shapes = Sequence[tuple[int, int]]
"""(out, in) of every layer; weights and bias of one lie behind those of the last."""


def evaluate(shapes: Shapes, theta: Tensor, points: Tensor) -> Tensor:
    """Return outputs (..., out) of perceptrons with weights theta (..., D) at points (..., in).

    Args:
        shapes: (out, in) of every layer; tanh between them.
        theta: (..., D).
        points: (..., in), its leading axes those of theta or broadcast against them.
    """
    # The autograd function does not handle broadcasting or transforms; PyTorch does.
    if theta.shape[:-1] != points.shape[:-1] or transformed():
        return _hidden(shapes, theta, points)[-1]
    outputs: Tensor = _Evaluated.apply(shapes, theta, points)
    return outputs


class _Evaluated(torch.autograd.Function):
    """An autograd function that writes the gradient of theta once.

    PyTorch's own backward pass would add up one array of the size of theta for every slice of it.
    """

    @staticmethod
    def forward(ctx: Any, shapes: Shapes, theta: Tensor, points: Tensor) -> Tensor:
        hidden = _hidden(shapes, theta, points)
        ctx.shapes = shapes
        ctx.save_for_backward(theta, *hidden[:-1])
        return hidden[-1]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        shapes, (theta, *hidden) = ctx.shapes, ctx.saved_tensors
        needed = ctx.needs_input_grad[1:]
        if through_graph(gradient):

            def reference(theta: Tensor, points: Tensor) -> Tensor:
                return _hidden(shapes, theta, points)[-1]

            tensors = theta, hidden[0]
            return (None, *differentiable_gradients(reference, tensors, gradient, needed))
        to_theta = theta.new_empty(theta.shape)
        parts = zip(_layers(shapes, theta), _layers(shapes, to_theta), hidden, strict=True)
        for layer, ((weight, _), (to_weight, to_bias), before) in reversed(list(enumerate(parts))):
            # Backpropagation with h = W z + b, z' = tanh(h): dL/dW = g z^T, dL/db = g, dL/dz = W^T
            # g, and through the activation g (1 - z^2), as tanh' = 1 - tanh^2.
            torch.mul(gradient.unsqueeze(-1), before.unsqueeze(-2), out=to_weight)
            to_bias.copy_(gradient)
            # The gradient of the points is only computed if someone needs it.
            if layer or needed[1]:
                gradient = (gradient.unsqueeze(-2) @ weight).squeeze(-2)
            if layer:
                gradient = gradient * (1 - before * before)
        return None, to_theta if needed[0] else None, gradient if needed[1] else None


def _hidden(shapes: Shapes, theta: Tensor, points: Tensor) -> list[Tensor]:
    """Return the input of each layer, and the outputs."""
    values = [points]
    for layer, (weight, bias) in enumerate(_layers(shapes, theta)):
        before = (weight @ values[-1].unsqueeze(-1)).squeeze(-1) + bias
        values.append(torch.tanh(before) if layer < len(shapes) - 1 else before)
    return values


def _layers(shapes: Shapes, theta: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield views of theta (..., D) as weights (..., out, in) and bias (..., out) by layer."""
    offset = 0
    for out, into in shapes:
        middle = offset + out * into
        weight = theta[..., offset:middle].unflatten(-1, (out, into))
        offset = middle + out
        yield weight, theta[..., middle:offset]
