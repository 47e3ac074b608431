"""Higher derivatives of autograd functions whose backward pass is a custom kernel."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def differentiable_gradients(
    function: Callable[..., Tensor],
    inputs: Sequence[Tensor],
    gradient: Tensor,
    needed: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """Return gradients of the inputs as part of the graph, through an equivalent slower function.

    The backward pass of a kernel calls this where gradients are differentiated again
    (`create_graph=True`, during which grad mode is on in the backward pass).

    Args:
        function: The same function in differentiable operations.
        inputs: Its arguments.
        gradient: Gradient of the loss by its result.
        needed: Which inputs need a gradient.
    """
    # Views, because one input may be computed from another: autograd would then add the indirect
    # path, where the partial derivative by each argument alone is required.
    # Grad mode is off where a backward pass is batched (vmap) but not differentiated.
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        views = [value.view_as(value) for value in inputs]
        chosen = [view for view, wanted in zip(views, needed, strict=True) if wanted]
        result = function(*views)
    found = iter(
        torch.autograd.grad(result, chosen, gradient, create_graph=again, materialize_grads=True)
    )
    return tuple(next(found) if wanted else None for wanted in needed)
