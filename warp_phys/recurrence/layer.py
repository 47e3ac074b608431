"""The linear recurrence as a trainable layer."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from warp_phys.recurrence.linear_recurrence import Mode, linear_recurrence, recurrence_step
from warp_phys.recurrence.transitions.registry import STRUCTURES, get_structure
from warp_phys.recurrence.transitions.transition import Start, Transition
from warp_phys.systems.errors import UsageError

__all__ = ["LinearRecurrence"]


class LinearRecurrence(nn.Module):
    r"""theta_t = A theta_{t-1} + B u_t with A and B learned.

    A starts as decay times the identity, and B at zero. With decay 1, the state then stays at its
    initial value whatever the inputs are, and training departs from there.

    Args:
        size: Width D of the state.
        width: Width d of the inputs.
        structure: That of A. "identity" is fixed; "diagonal" learns D numbers, "complex" D of a
            complex diagonal of conjugate pairs, whose states rotate as well as decay, "dense" D^2,
            "low_rank" D + 2 D rank (a diagonal plus a product of two factors), "identity_low_rank"
            the factors alone (the identity plus their product). Or a subclass of `Transition`.
        rank: Rank of the product, where there is one.
        stable: Keep every \|a\| below 1, for "diagonal" as a = tanh(r) and for "complex" as
            a = tanh(r) exp(i phi), r and phi free.
        decay: A starts as this multiple of the identity. By default 1, or 0.99 if `stable`, which
            cannot reach 1.
        input_scale: Standard deviation of the normal numbers B starts from; 0 for zeros.
        generator: Source of the random numbers (B's if `input_scale` is not 0, and the left
            factor's); torch's own if None.
        dtype: Of the parameters; torch's default if None.

    Raises:
        UsageError: A width or rank is not a positive whole number, the structure is unknown, or
            `stable` or `decay` does not fit it.

    References:
        Nzoyem et al., Weight-space linear recurrent neural networks, arXiv 2506.01153, eq. 1, whose
        A starts at I and whose B at 0.

    Example:
        >>> import torch
        >>> layer = LinearRecurrence(3, 2, structure="diagonal")
        >>> layer
        LinearRecurrence(size=3, width=2, structure='diagonal')
        >>> layer(torch.ones(5, 7, 2), torch.zeros(3)).shape
        torch.Size([5, 7, 3])
    """

    def __init__(
        self,
        size: int,
        width: int,
        *,
        structure: str | type[Transition] = "identity",
        rank: int = 4,
        stable: bool = False,
        decay: float | None = None,
        input_scale: float = 0.0,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        for name, value in {"size": size, "width": width, "rank": rank}.items():
            if not isinstance(value, int) or value < 1:
                raise UsageError(f"{name}: expected a positive whole number, got {value!r}")
        self.size = size
        self.width = width
        self.kind = get_structure(structure)
        self.start = Start(
            size, _checked_decay(self.kind, stable, decay), rank, stable, dtype=dtype
        )
        # A is drawn before B: the order of the draws decides which random numbers each gets, and a
        # seed must reproduce a model.
        parameters = self.kind.initial_parameters(replace(self.start, generator=generator))
        self.names = tuple(parameters)
        for name, tensor in parameters.items():
            self.register_parameter(name, nn.Parameter(tensor))
        drawn = torch.randn(size, width, generator=generator, dtype=dtype) if input_scale else 0.0
        self.input_matrix = nn.Parameter(
            torch.zeros(size, width, dtype=dtype) + input_scale * drawn
        )

    def transition(self) -> Transition:
        """Return A as it is now, differentiable in the parameters."""
        parameters = {name: getattr(self, name) for name in self.names}
        return self.kind.from_parameters(self.start, parameters)

    def forward(self, inputs: Tensor, initial: Tensor, mode: Mode = "auto") -> Tensor:
        """Return the states theta_1, ..., theta_T, (N, T, D).

        Args:
            inputs: u_1, ..., u_T, shape (N, T, d).
            initial: theta_0, shape (N, D), or (D,) for all sequences.
            mode: As for `linear_recurrence`.
        """
        return linear_recurrence(self.transition(), self.input_matrix, inputs, initial, mode)

    def step(self, inputs: Tensor, state: Tensor) -> Tensor:
        """Return theta_t (N, D) after one more input u_t (N, d), from theta_{t-1} (N, D)."""
        return recurrence_step(self.transition(), self.input_matrix, inputs, state)

    def extra_repr(self) -> str:
        """Return the settings of the layer, for its repr."""
        parts = [f"size={self.size}, width={self.width}, structure={self.kind.name!r}"]
        if "rank" in self.kind.options:
            parts.append(f"rank={self.start.rank}")
        if self.start.stable:
            parts.append("stable=True")
        return ", ".join(parts)


def _checked_decay(kind: type[Transition], stable: bool, decay: float | None) -> float:
    """Return the multiple of the identity that A starts as."""
    if stable and not kind.can_be_stable:
        able = " and ".join(repr(name) for name, each in STRUCTURES.items() if each.can_be_stable)
        raise UsageError(
            f"stable: only the structures {able} can be kept stable, got {kind.name!r}; choose "
            "one of them or leave stable out"
        )
    # tanh maps no finite number to 1: a stable A starts just below.
    start = decay if decay is not None else 0.99 if stable else 1.0
    if stable and not -1.0 < start < 1.0:
        raise UsageError(
            f"decay: expected -1 < decay < 1 with stable=True, which cannot reach 1, got {decay!r}"
        )
    if kind.starts_at_identity and start != 1.0:
        raise UsageError(
            f"decay: the structure {kind.name!r} is fixed at 1, got {decay!r}; "
            "choose 'diagonal' for a state that decays"
        )
    return start
