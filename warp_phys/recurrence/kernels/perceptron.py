"""Perceptrons whose weights are the states of a diagonal recurrence, by a fused C++ kernel."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import c_int, c_int64, c_void_p
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from warp_phys.recurrence.derivatives import differentiable_gradients
from warp_phys.recurrence.kernels.library import SCALARS, kernel
from warp_phys.recurrence.modes.step_by_step import recurrent
from warp_phys.recurrence.networks.evaluate import Shapes, evaluate
from warp_phys.recurrence.transforms import through_graph
from warp_phys.recurrence.transitions.diagonal import Diagonal

WIDEST = 8
"""Inputs up to this width are multiplied by B inside the kernel."""

# A library is compiled for inputs up to a width; narrower inputs are padded and waste registers.
_WIDTHS = (0, 1, 2, 4, 5, 8)
# Lanes of a vector of 64 bytes, as in `tanh.cpp`.
_LANES = {torch.float32: 16, torch.float64: 8}


def available(dtype: torch.dtype, width: int) -> bool:
    """Return whether the kernel can be compiled for inputs of this width."""
    return width <= WIDEST and _library(dtype, width) is not None


def state_perceptron(
    shapes: Shapes,
    values: Tensor,
    B: Tensor,
    inputs: Tensor,
    initial: Tensor,
    points: Tensor,
    place: int,
) -> tuple[Tensor, Tensor]:
    r"""Return outputs of perceptrons whose weights are the states, and one of the states.

    With theta_{t+1} = a theta_t + B u_{t+1}, output t is the perceptron of weights theta_t at
    point t, t = 0, ..., T - 1. Only one state in 32 is kept, and the backward pass recomputes those
    in between (gradient checkpointing).

    Args:
        shapes: (out, in) of every layer; tanh between them.
        values: a, (D,).
        B: (D, d), d at most `WIDEST`; with d = 0 the states stay theta_0, whatever a is.
        inputs: u_1, ..., u_{T-1}, (N, T - 1, d).
        initial: theta_0, (N, D).
        points: Points at which the perceptrons are evaluated, (N, T, in), N and T at least 1.
        place: Which state to return, in 0, ..., T - 1.

    Returns:
        The outputs (N, T, out) and theta_place (N, D).
    """
    found: tuple[Tensor, Tensor] = _Kernel.apply(shapes, place, values, B, inputs, initial, points)
    return found


def perceptron(shapes: Shapes, theta: Tensor, points: Tensor) -> Tensor:
    """Return outputs (N, T, out) of one perceptron (N, D) per sequence at points (N, T, in)."""
    batch, length, _ = points.shape
    still = theta.new_empty((theta.shape[1], 0)), theta.new_empty((batch, length - 1, 0))
    return state_perceptron(shapes, theta.new_empty(theta.shape[1]), *still, theta, points, 0)[0]


class _Functions(NamedTuple):
    """The functions of a library, see the end of `perceptron.cpp`."""

    forward: Any
    backward: Any
    chunks: Any


class _Kernel(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        shapes: Shapes,
        place: int,
        values: Tensor,
        B: Tensor,
        inputs: Tensor,
        initial: Tensor,
        points: Tensor,
    ) -> tuple[Tensor, Tensor]:
        # The original tensors are saved: copies would not be part of the graph of second
        # derivatives.
        tensors = values, B, inputs, initial, points
        batch, length, _ = points.shape
        size, width = B.shape
        values, B, inputs, points = (x.contiguous() for x in (values, B, inputs, points))
        initial = initial if initial.stride(1) == 1 else initial.contiguous()
        lanes = _LANES[B.dtype]
        functions = _functions(B.dtype, width)
        chunks = functions.chunks(length, place) if width else 1
        # Kept states (blocks of lanes, chunks, D, lanes): in the layout of the kernel, so that they
        # are copied as they are.
        starts = B.new_empty((-(-batch // lanes), chunks, size, lanes))
        outputs = B.new_empty((batch, length, shapes[-1][0]))
        functions.forward(
            *_layers(shapes),
            *(x.data_ptr() for x in (values, B, inputs, initial)),
            initial.stride(0),
            points.data_ptr(),
            batch,
            length,
            width,
            place,
            torch.get_num_threads(),
            starts.data_ptr(),
            outputs.data_ptr(),
        )
        ctx.save_for_backward(*tensors, starts)
        ctx.shapes, ctx.place = shapes, place
        # A chunk starts at `place`, so that its state is among the kept ones: its number is how
        # many chunks lie before it.
        before = functions.chunks(place, -1) if width else 0
        chosen = starts[:, before].transpose(1, 2).reshape(-1, size)[:batch]
        return outputs, chosen

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, by_place: Tensor) -> tuple[Tensor | None, ...]:
        *inputs_of, starts = ctx.saved_tensors
        values, B, inputs, initial, points = inputs_of
        shapes, place, needed = ctx.shapes, ctx.place, ctx.needs_input_grad[2:]
        if through_graph(gradient):

            def reference(*tensors: Tensor) -> Tensor:
                return _reference(shapes, place, *tensors)

            # The two outputs as one vector, as `_reference` returns them.
            both = torch.cat([gradient.flatten(), by_place.flatten()])
            return None, None, *differentiable_gradients(reference, inputs_of, both, needed)
        values, B, inputs, points = (x.contiguous() for x in (values, B, inputs, points))
        batch, length, _ = points.shape
        gradient, by_place = gradient.contiguous(), by_place.contiguous()
        to_initial = initial.new_empty(initial.shape)
        found = [torch.empty_like(values), torch.empty_like(B), torch.empty_like(inputs)]
        found += [to_initial, torch.empty_like(points)]
        _functions(B.dtype, B.shape[1]).backward(
            *_layers(shapes),
            *(x.data_ptr() for x in (values, B, inputs, points, starts)),
            batch,
            length,
            B.shape[1],
            place,
            torch.get_num_threads(),
            gradient.data_ptr(),
            by_place.data_ptr(),
            *(x.data_ptr() for x in found[:4]),
            found[4].data_ptr() if needed[4] else None,
        )
        return None, None, *(x if wanted else None for x, wanted in zip(found, needed, strict=True))


def _reference(
    shapes: Shapes,
    place: int,
    values: Tensor,
    B: Tensor,
    inputs: Tensor,
    initial: Tensor,
    points: Tensor,
) -> Tensor:
    """Return the outputs and the chosen state, flattened and concatenated."""
    length = points.shape[1]
    if B.shape[1] == 0:
        states = initial.unsqueeze(1).expand(-1, length, -1)
    else:
        states = initial.unsqueeze(1)
        if length > 1:
            later = recurrent(Diagonal(values), inputs @ B.mT, initial)
            states = torch.cat([states, later], dim=1)
    outputs = evaluate(shapes, states, points)
    return torch.cat([outputs.flatten(), states[:, place].flatten()])


def _layers(shapes: Shapes) -> tuple[Any, int]:
    widths = _widths(tuple(shapes))
    return widths, len(shapes)


@lru_cache(maxsize=32)
def _widths(shapes: Sequence[tuple[int, int]]) -> Any:
    widths = [shapes[0][1], *(out for out, _ in shapes)]
    return (c_int64 * len(widths))(*widths)


def _library(dtype: torch.dtype, width: int) -> ctypes.CDLL | None:
    holds = next(one for one in _WIDTHS if one >= width)
    return kernel("perceptron", SCALAR=SCALARS[dtype], WIDTH=str(holds))


def _functions(dtype: torch.dtype, width: int) -> _Functions:
    library = _library(dtype, width)
    assert library is not None  # `available` was asked
    return _typed(library)


@lru_cache(maxsize=16)
def _typed(library: ctypes.CDLL) -> _Functions:
    forward, backward = library.run_forward, library.run_backward
    sizes: list[Any] = [c_int64, c_int64, c_int64, c_int64, c_int]  # N, T, d, place, threads
    start: list[Any] = [c_void_p, c_int64, *[c_void_p] * 3]
    forward.argtypes = [*start, c_void_p, c_int64, c_void_p, *sizes, c_void_p, c_void_p]
    backward.argtypes = [*start, c_void_p, c_void_p, *sizes, *[c_void_p] * 7]
    forward.restype = backward.restype = None
    library.chunks.argtypes = [c_int64, c_int64]
    library.chunks.restype = c_int64
    return _Functions(forward, backward, library.chunks)
