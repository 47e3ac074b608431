"""The initial hidden state theta_0."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn


class InitialState(nn.Module):
    """theta_0: learned and shared by all trajectories, or phi(x_0) of the first sample.

    Args:
        signal: Width of the first sample's signal.
        base: (D,), initial value of the learned state.
        width: Hidden width of phi; 0 for the shared, learned theta_0.
    """

    def __init__(self, signal: int, base: Tensor, *, width: int) -> None:
        super().__init__()
        self.base = nn.Parameter(base.clone())
        self.phi: nn.Module | None = None
        if width:
            last = nn.Linear(width, base.numel(), bias=False)
            nn.init.normal_(last.weight, std=0.01)
            self.phi = nn.Sequential(nn.Linear(signal, width), nn.SiLU(), last)

    def forward(self, signal: Tensor) -> Tensor:
        """Return theta_0 (N, D) for first signals (N, C)."""
        shared = self.base.expand(signal.shape[0], -1)
        return shared if self.phi is None else shared + cast(Tensor, self.phi(signal))
