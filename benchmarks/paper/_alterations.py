"""What is done to the paper's data: noise, physics that the models do not know, a coarser grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from benchmarks.paper._tasks import Alteration
from warp_phys.systems import MassSpringDamper, Parameter, System, integrate

_SPLITS = ("train", "validation", "test")


def noisy(level: float, seed: int = 0) -> Alteration:
    """Return what adds normal noise to `observed`, as a share of each output's own deviation.

    All levels have the same draws. Not for repeat-copy, whose sequences are made from the clean
    trajectories.

    Args:
        level: Standard deviation of the noise over that of the output along its own trajectory.
        seed: Every split has a stream of its own.
    """

    def alter(split: str, data: xr.Dataset) -> xr.Dataset:
        generator = np.random.default_rng([seed, _SPLITS.index(split)])
        deviation = level * data["noiseless"].std("time")
        errors = generator.standard_normal(data["noiseless"].shape)
        clean = data["noiseless"].transpose("trajectory", "time", "output")
        seen = clean.values + deviation.values[:, None, :] * errors
        return data.assign(
            observed=data["observed"].copy(data=seen),
            true_noise_sd=data["true_noise_sd"].copy(data=deviation.values),
        )

    return alter


def quadratic_drag(coefficient: float) -> Alteration:
    r"""Return what simulates vibrations anew with drag that the models do not know.

    .. math:: m \ddot x + c \dot x + d\, |\dot x|\, \dot x + k x = 0

    Args:
        coefficient: d in kg/m.
    """
    system = _WithDrag()

    def alter(split: str, data: xr.Dataset) -> xr.Dataset:  # noqa: ARG001  # the same for all
        parameters = torch.tensor(data["true_parameters"].values)
        solution = integrate(
            system,
            torch.tensor(data["time"].values),
            torch.tensor(data["true_initial_state"].values),
            torch.nn.functional.pad(parameters, (0, 1), value=coefficient),
            rtol=1e-9,
        )
        states = solution.states.numpy()
        return data.assign(
            observed=data["observed"].copy(data=states),
            noiseless=data["noiseless"].copy(data=states),
        )

    return alter


def coarse(factor: int) -> Alteration:
    """Return what keeps every `factor`-th sample, and of the context as long a time.

    Not for repeat-copy, whose gaps are counted in samples, nor where `make_task` gives the context.
    """

    def alter(split: str, data: xr.Dataset) -> xr.Dataset:  # noqa: ARG001  # the same for all
        kept = data.isel(time=slice(None, None, factor))
        # Samples 0, f, 2f, ... that lie in the context.
        return kept.assign(context_samples=-(-data["context_samples"] // factor))

    return alter


class _WithDrag(System):
    """The mass-spring-damper with quadratic drag besides."""

    time_unit = MassSpringDamper.time_unit
    states = MassSpringDamper.states
    parameters = (
        *MassSpringDamper.parameters,
        Parameter("d", "kg/m", "real", (0.0, 0.01), description="quadratic drag"),
    )

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, Tensor]:  # noqa: ARG002  # as all
        """Return velocity and acceleration."""
        position, velocity = y
        force = p.k * position + p.c * velocity + p.d * velocity.abs() * velocity
        return velocity, -force / p.m
