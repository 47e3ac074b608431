"""Warp, the data-driven variant, whose hidden state holds the weights of a network of time."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from warp_phys.models.choices import Choices, choose, restore
from warp_phys.models.core import Core
from warp_phys.models.drives.drive import Drive
from warp_phys.models.files import load_weights, read_model, write_model
from warp_phys.models.settings import Settings
from warp_phys.models.stream import Stream
from warp_phys.models.streaming import check_start, checked_sample
from warp_phys.models.weight_network import WeightNetwork
from warp_phys.recurrence.networks.outputs import still_outputs
from warp_phys.recurrence.transitions.transition import Transition
from warp_phys.systems.errors import UsageError


class WarpNetwork(Core):
    """The core with a root network y = MLP_theta(tau) that emits the outputs themselves.

    Args:
        choices: The parts of the model; its head is not used.
        outputs: Number of observed outputs.
    """

    def __init__(self, choices: Choices, outputs: int) -> None:
        settings, (_, drive) = choices.settings, choices.for_training()
        inputs = 1 + 2 * settings.frequencies
        root = WeightNetwork([inputs, settings.root_width, settings.root_width, outputs])
        super().__init__(
            settings, drive, choices.structure, root.draw(), outputs, 0, logarithmic=False
        )
        self.root = root
        self.frequencies = settings.frequencies

    def following(self, signals: Tensor, elapsed: Tensor, place: int) -> tuple[Tensor, Tensor]:
        """Return predictions of every sample but the first, each from theta at the sample before.

        Args:
            signals: (N, T, C).
            elapsed: (N, T) scaled times.
            place: Number of a sample.

        Returns:
            Scaled outputs (N, T - 1, O), and theta at the sample `place`, (N, D).
        """
        # theta at the last sample predicts no sample, but may be the one that is returned.
        ahead = torch.cat([elapsed[:, 1:], elapsed[:, -1:]], dim=1)
        outputs, theta = self.root_outputs(signals, self.root, self.points(ahead), place)
        return outputs[:, :-1], theta

    def frozen(self, theta: Tensor, elapsed: Tensor) -> Tensor:
        """Return scaled outputs (N, M, O) of one theta (N, D) per record at times (N, M)."""
        return still_outputs(self.root.shapes, theta, self.points(elapsed))

    def points(self, elapsed: Tensor) -> Tensor:
        """Return the inputs of the root network at scaled times (...): time, sines and cosines."""
        orders = torch.arange(1, self.frequencies + 1, dtype=elapsed.dtype, device=elapsed.device)
        # Fourier features of time: a perceptron of tau alone learns oscillations slowly.
        turns = 2.0 * math.pi * elapsed.unsqueeze(-1) * orders
        return torch.cat([elapsed.unsqueeze(-1), turns.sin(), turns.cos()], dim=-1)

    def physical(self, scaled: Tensor) -> Tensor:
        """Return outputs in their units, float64."""
        return scaled.double() * self.scaling.spread + self.scaling.center


class Warp(nn.Module):
    r"""The data-driven variant with the same core, for comparison: no physics.

    .. math::
        \theta_t = A \theta_{t-1} + B (x_t - x_{t-1}), \qquad
        y(\tau) = \mathrm{MLP}_{\theta_t}(\tau)

    theta_t holds the weights of a perceptron of tau, the time in lengths of the training records.
    It reads tau and, so that it can oscillate, sin and cos of 2 pi k tau, k = 1, 2, ... It is
    trained so that theta_t predicts the next sample and, frozen, the rest of the record.

    Args:
        structure: Structure of A: "identity", "identity_low_rank", "diagonal", "complex", "dense"
            or "low_rank", or a subclass of `Transition`.
        rank: Rank of a low-rank A.
        initial: theta_0 from the "first_sample" or "learned" and shared.
        drive: The name of a drive, such as "difference" (the paper's), "raw" or "features", or an
            object of a subclass of `Drive`.
        width: Hidden width of the initial state's network, and of the features.
        root_width: Hidden width of the root network.
        frequencies: How many sines and cosines of time the root network reads; 0 for time alone.
        dtype: "float32" or "float64".

    References:
        Nzoyem et al., Weight-space linear recurrent neural networks, arXiv 2506.01153.

    Example:
        >>> Warp(root_width=8)
        Warp(drive=difference, structure=diagonal, not trained yet)
    """

    def __init__(
        self,
        *,
        structure: str | type[Transition] | None = None,
        rank: int | None = None,
        initial: str | None = None,
        drive: str | Drive | None = None,
        width: int | None = None,
        root_width: int | None = None,
        frequencies: int | None = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__()
        self.choices = choose(
            uses=("frequencies",),
            head="weights",
            structure=structure,
            rank=rank,
            initial=initial,
            drive=drive,
            width=width,
            root_width=root_width,
            frequencies=frequencies,
            dtype=dtype,
        )
        self.network: WarpNetwork | None = None
        self.outputs: tuple[str, ...] = ()

    @property
    def settings(self) -> Settings:
        """The model's choices as plain values."""
        return self.choices.settings

    def build(self, outputs: tuple[str, ...], *, seed: int) -> WarpNetwork:
        """Make the network for the outputs of the training data, drawn from the seed."""
        self.outputs = outputs
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = WarpNetwork(self.choices, len(outputs))
        return self.network

    def discard(self) -> None:
        """Discard the network."""
        self.network, self.outputs = None, ()

    def built(self) -> WarpNetwork:
        """Return the network, or raise UsageError if there is none yet."""
        if self.network is None:
            raise UsageError("the Warp model is not trained yet; call train(model, data) first")
        return self.network

    def init_state(self, sensors: int = 1, *, dtype: torch.dtype = torch.float64) -> Stream:
        """Return the memory of sensors before their first sample; its size never grows.

        Args:
            sensors: The number of sensors.
            dtype: The dtype of the steps, torch.float64 or, with half the memory, torch.float32.
        """
        check_start(sensors, dtype)
        return self.built().init_stream(sensors, dtype)

    @torch.no_grad()
    def step(self, state: Stream, times: Any, observed: Any) -> tuple[Stream, Tensor]:
        """Process one new sample of every sensor.

        Args:
            state: From `init_state` or the last step.
            times: (N,) or a number.
            observed: (N, O), NaN where missing.

        Returns:
            The new memory and theta_t (N, D).
        """
        clock, values = checked_sample(state, times, observed)
        network = self.built().of_dtype(state.signals.dtype)
        memory, theta, _ = network.step(state, clock, values, values[:, :0])
        return memory, theta

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the trained model as safetensors with a JSON header."""
        header = {"kind": "Warp", "settings": self.settings.to_json(), "outputs": self.outputs}
        write_model(path, self.built().state_dict(), header, overwrite=overwrite)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        drive: Drive | None = None,
        structure: type[Transition] | None = None,
    ) -> Warp:
        """Read a model written by `save`; nothing in the file is executed.

        Args:
            path: The file.
            drive: Needed for a user's own drive: the file holds its name, not its code.
            structure: Needed for a user's own structure.
        """
        tensors, header = read_model(path, "Warp")
        model = cls()
        model.choices = restore(
            header["settings"], Path(path).name, drive=drive, structure=structure
        )
        network = model.build(tuple(header["outputs"]), seed=0)
        network.for_inference()
        load_weights(network, tensors, path)
        return model

    def __repr__(self) -> str:
        state = f"trained on {', '.join(self.outputs)}" if self.network else "not trained yet"
        return f"Warp(drive={self.settings.drive}, structure={self.settings.structure}, {state})"
