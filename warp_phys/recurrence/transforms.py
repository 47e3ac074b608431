"""Detection of PyTorch transforms that must see every operation, which disable custom kernels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad


def transformed() -> bool:
    """Return whether torch.func, forward-mode derivatives, autocast or a compiler is active."""
    return (
        torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
        or torch.is_autocast_enabled("cpu")
        or torch.is_autocast_enabled("cuda")
        or torch.compiler.is_compiling()
    )


def through_graph(gradient: Tensor) -> bool:
    """Return whether a backward pass must itself be differentiable, or is batched."""
    return (
        torch.is_grad_enabled()
        or transformed()
        or torch._C._functorch.is_legacy_batchedtensor(gradient)
    )
