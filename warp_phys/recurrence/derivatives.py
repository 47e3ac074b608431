"""Second derivatives of functions whose first derivatives come from a custom kernel."""

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
    """Return the gradients to the inputs as part of the graph, through a slower equal function.

    A kernel's backward pass calls this where gradients are differentiated again
    (`create_graph=True`, which shows as grad mode being on in there).

    Args:
        function: The same function in differentiable operations.
        inputs: What it is applied to.
        gradient: Of the loss by its result.
        needed: Which inputs need a gradient.
    """
    # Views, because one input may depend on another: each partial derivative is wanted by itself.
    # Grad mode is off where a backward pass is batched and not differentiated.
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        views = [value.view_as(value) for value in inputs]
        chosen = [view for view, wanted in zip(views, needed, strict=True) if wanted]
        result = function(*views)
    found = iter(
        torch.autograd.grad(result, chosen, gradient, create_graph=again, materialize_grads=True)
    )
    return tuple(next(found) if wanted else None for wanted in needed)
