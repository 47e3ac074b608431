"""Stacking what a method of a system returns (a tuple of anything that broadcasts) to a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from warp_phys.systems.errors import UsageError


def assemble(
    values: Tensor | Sequence[Any], like: Tensor, names: Sequence[str], where: str
) -> Tensor:
    """Stack one value for each name along a new first axis.

    Args:
        values: A tensor of shape (len(names), *batch), or that many tensors or numbers.
        like: A tensor (anything, *batch) that gives dtype, device and batch shape.
        names: What the values are, for the message.
        where: The method that returned them, for the message.

    Returns:
        A tensor (len(names), *batch).

    Raises:
        UsageError: The number of values is not the number of names.
    """
    if not isinstance(values, Tensor | tuple | list):
        raise UsageError(
            f"{where} should return {len(names)} values ({', '.join(names)}) as a tuple or a "
            f"tensor; received {type(values).__name__}"
        )
    scalar = isinstance(values, Tensor) and values.ndim == 0
    if scalar or len(values) != len(names):
        raise UsageError(
            f"{where} should return {len(names)} values, one for each of {', '.join(names)}; "
            f"received {'a scalar' if scalar else len(values)}"
        )
    if isinstance(values, Tensor) and values.shape[1:] == like.shape[1:]:
        return values
    return torch.stack(_broadcast(values, like))


def _broadcast(values: Tensor | Sequence[Any], like: Tensor) -> list[Tensor]:
    tensors = [
        value
        if isinstance(value, Tensor)
        else torch.as_tensor(value, dtype=like.dtype, device=like.device)
        for value in values
    ]
    batch = like.shape[1:]
    if all(tensor.shape == batch for tensor in tensors):
        return tensors
    # One row of `like` carries the batch shape into values that do not depend on the state.
    return list(torch.broadcast_tensors(*tensors, like[0])[:-1])
