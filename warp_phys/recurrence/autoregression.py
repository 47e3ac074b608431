"""The autoregressive recurrence, which is driven by its own decoded outputs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from warp_phys.recurrence.checks import check_clip, check_step, checked
from warp_phys.recurrence.transitions.transition import Transition
from warp_phys.systems.errors import UsageError


def autoregressive_recurrence(
    A: Tensor | Transition,
    B: Tensor,
    decode: Callable[[Tensor, int], Tensor],
    last: Tensor,
    initial: Tensor,
    steps: int,
    *,
    clip: float | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Continue from the last known sample, with decoded outputs in place of samples.

    With x_0 = `last` and theta_0 = `initial`,

        x_t = decode(theta_{t-1}, t),    theta_t = A theta_{t-1} + B (x_t - x_{t-1}).

    The step is not linear because of `decode`, so steps are taken one after the other.

    Args:
        A: transition, as for `linear_recurrence`.
        B: input matrix, shape (D, d).
        decode: x_t (N, d) from theta_{t-1} (N, D) and t = 1, ..., steps.
        last: the last known sample, shape (N, d).
        initial: the state after it, shape (N, D).
        steps: how many steps T to take.
        clip: keeps every entry of a state within +-clip.

    Returns:
        The states theta_1, ..., theta_T (N, T, D) and the outputs x_1, ..., x_T (N, T, d),
        differentiable.

    Raises:
        UsageError: a shape does not fit, dtypes or devices are mixed, `steps` is no positive whole
            number, or `decode` returns another shape.

    References:
        Nzoyem et al., Weight-space linear recurrent neural networks, arXiv 2506.01153.

    Example:
        >>> import torch
        >>> one = torch.ones(1, 1)
        >>> states, outputs = autoregressive_recurrence(
        ...     torch.ones(1), one, lambda theta, t: 2 * theta, one, one, steps=3
        ... )
        >>> outputs.flatten().tolist()
        [2.0, 4.0, 8.0]
    """
    structure = checked(A, B, {"last": last, "initial": initial})
    check_step("last", "initial", B, last, initial)
    check_clip(clip)
    if not isinstance(steps, int) or steps < 1:
        raise UsageError(f"steps: expected a positive whole number, got {steps!r}")
    sample, state = last, initial
    states, outputs = [], []
    for t in range(1, steps + 1):
        output = decode(state, t)
        if output.shape != sample.shape:
            raise UsageError(
                f"decode: expected outputs of shape {tuple(sample.shape)}, as the samples that "
                f"drive the recurrence, got {tuple(output.shape)}"
            )
        # The input is the change of the decoded output, as the change of samples is in the series.
        state = structure.step(state, (output - sample) @ B.mT)
        if clip is not None:
            state = state.clamp(-clip, clip)
        sample = output
        states.append(state)
        outputs.append(output)
    return torch.stack(states, dim=1), torch.stack(outputs, dim=1)
