"""Outputs of a root network whose weights are the states, by the fastest method."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from warp_phys.recurrence.choose import fastest
from warp_phys.recurrence.kernels import perceptron as _perceptron
from warp_phys.recurrence.kernels.library import SCALARS
from warp_phys.recurrence.networks.evaluate import Shapes, evaluate
from warp_phys.recurrence.networks.low_rank import WIDEST, basis_perceptron, summed
from warp_phys.recurrence.networks.tiles import decode_states, exceeds_budget
from warp_phys.recurrence.transforms import transformed
from warp_phys.recurrence.transitions.diagonal import Diagonal
from warp_phys.recurrence.transitions.identity import Identity
from warp_phys.recurrence.transitions.identity_low_rank import IdentityPlusLowRank
from warp_phys.recurrence.transitions.transition import Transition


def root_outputs(
    structure: Transition,
    B: Tensor,
    inputs: Tensor,
    initial: Tensor,
    shapes: Shapes,
    points: Tensor,
    place: int,
) -> tuple[Tensor, Tensor]:
    r"""Return outputs of the perceptron with weights theta_t at point t, t = 0, ..., T - 1.

    For a diagonal A a fused kernel evaluates the network during the recurrence. For the identity,
    and the identity plus low rank, all states lie in theta_0 plus the span of few directions, and
    the weights need not be formed. Otherwise the states are computed, in tiles where they are many.

    Args:
        structure: A.
        B: (D, d).
        inputs: u_1, ..., u_{T-1}, (N, T - 1, d).
        initial: theta_0, (N, D).
        shapes: (out, in) of every layer; tanh between them.
        points: (N, T, in), T at least 1.
        place: Which state to return, in 0, ..., T - 1.

    Returns:
        The outputs (N, T, out) and theta_place (N, D).
    """
    if transformed() or B.dtype not in SCALARS:
        return _by_states(structure, B, inputs, initial, shapes, points, place)
    if isinstance(structure, IdentityPlusLowRank):
        # theta_t = theta_0 + V sum(v): a recurrence with A = I in the directions V.
        B, inputs = summed(structure, B, inputs, initial)
        structure = Identity(structure.size)
    narrow = 0 < B.shape[1] <= _perceptron.WIDEST
    if narrow and isinstance(structure, Identity | Diagonal) and _compiled(points, B.shape[1]):
        # The identity is the diagonal of ones.
        values = structure.values if isinstance(structure, Diagonal) else B.new_ones(len(B))
        return _perceptron.state_perceptron(shapes, values, B, inputs, initial, points, place)
    if isinstance(structure, Identity) and B.shape[1] <= WIDEST:
        # c_t = v_1 + ... + v_t, with c_0 = 0 for the initial state, (N, T, K).
        factors = pad(inputs.cumsum(1), (0, 0, 1, 0))
        outputs = basis_perceptron(shapes, initial, B, factors, points)
        return outputs, initial + factors[:, place] @ B.mT
    return _by_states(structure, B, inputs, initial, shapes, points, place)


def still_outputs(shapes: Shapes, theta: Tensor, points: Tensor) -> Tensor:
    """Return outputs (N, T, out) of one perceptron (N, D) per sequence at points (N, T, in)."""
    if theta.dtype in SCALARS and _compiled(points, 0) and not transformed():
        return _perceptron.perceptron(shapes, theta, points)
    hidden, offset = points, 0
    for layer, (out, into) in enumerate(shapes):
        hidden = torch.tanh(hidden) if layer else hidden
        middle = offset + out * into
        weight = theta[:, offset:middle].unflatten(1, (out, into))
        offset = middle + out
        hidden = torch.baddbmm(theta[:, None, middle:offset], hidden, weight.mT)
    return hidden


def _by_states(
    structure: Transition,
    B: Tensor,
    inputs: Tensor,
    initial: Tensor,
    shapes: Shapes,
    points: Tensor,
    place: int,
) -> tuple[Tensor, Tensor]:
    batch, length, _ = points.shape

    def decode(states: Tensor, start: int, stop: int) -> tuple[Tensor, Tensor]:
        # The state before the first step is number 0.
        at = max(place - 1 - start, 0)
        chosen = states[:, at : max(place - start, 0)]
        return evaluate(shapes, states, points[:, start + 1 : stop + 1]), chosen

    # The recurrence returns theta_1, ..., theta_{T-1}; theta_0 is decoded separately.
    first = evaluate(shapes, initial, points[:, 0]).unsqueeze(1)
    if length == 1:
        return first, initial
    if exceeds_budget(batch, length, len(B), B):
        later, chosen = decode_states(structure, B, inputs, initial, decode)
    else:
        later, chosen = decode(fastest(structure, B, inputs, initial), 0, length - 1)
    return torch.cat([first, later], dim=1), initial if place == 0 else chosen[:, 0]


def _compiled(points: Tensor, width: int) -> bool:
    return points.is_cpu and points.numel() > 0 and _perceptron.available(points.dtype, width)
