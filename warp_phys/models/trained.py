"""The estimator of a trained network: distributions, bands and predictions at every sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from tqdm import tqdm

from warp_phys.models.bands import bands
from warp_phys.models.core import blocks
from warp_phys.models.estimator import Estimates, StreamEstimate
from warp_phys.models.gaussian import Gaussian
from warp_phys.models.network import Network
from warp_phys.models.roots import FLOW, predict
from warp_phys.models.stream import Stream
from warp_phys.models.streaming import BAND_LEVEL
from warp_phys.models.training_facts import TrainingFacts
from warp_phys.records.records import Records
from warp_phys.systems.model.system import System


class TrainedEstimator:
    """Estimates from a trained network, with predictions by the system it was trained on.

    Args:
        system: The system.
        root: How outputs are predicted: "solution", "step" or "rollout".
        network: The trained network.
        facts: Facts about its training data.
    """

    forcing = False

    def __init__(self, system: System, root: str, network: Network, facts: TrainingFacts) -> None:
        self.system = system
        self.root = root
        self.network = network
        self.facts = facts
        self.outputs = facts.outputs

    def estimate(self, records: Records, level: float, *, show: bool) -> Estimates:
        """Estimate for whole records, with bands; see `Estimator.estimate`."""
        network, facts = self.network, self.facts
        pieces = [
            self._block(records.select(piece), level)
            for piece in tqdm(
                blocks(len(records), records.times.shape[1]),
                desc="estimate",
                delay=2.0,
                disable=not show,
            )
        ]
        values = {name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]}
        if not facts.supervised:
            # Reconstruction trains the means alone; forecasts must not draw from untrained scales.
            del values["unknowns"], values["unknowns_covariance"]
        constant = bool((network.coordinates.constant_noise > 0).any())
        if not constant and not network.coordinates.positions("noise_sd"):
            del values["noise_sd"]
        return Estimates(
            values,
            coords=unknown_coords(network) if facts.supervised else {},
            settings=self._settings(level),
            attrs={"band_level": level, "distribution": facts.distribution},
            rtol=FLOW["rtol"],
        )

    def _settings(self, level: float) -> dict[str, Any]:
        """Return the settings of an estimate, the noise model's own parameters among them."""
        settings: dict[str, Any] = {
            "level": level,
            "calibrated": self.network.calibration.measured,
        }
        if self.facts.noise_settings:
            settings["distribution_settings"] = dict(self.facts.noise_settings)
        return settings

    def _block(self, records: Records, level: float) -> dict[str, Tensor]:
        """Estimate for some trajectories; values after the last sample of a record are NaN."""
        network = self.network
        emitted: Gaussian = network(network.signals(records), network.elapsed(records))
        length = records.times.shape[1]
        position = torch.arange(1, length + 1).expand(len(records), -1)
        value, lower, upper = bands(network, emitted, position, level)
        last = records.valid.sum(dim=1) - 1
        final = emitted.mean[torch.arange(len(records)), last]
        # The covariance is scaled like the calibrated bands: W C W with W = diag(widening).
        widening = network.calibration.widening(position)
        covariance = emitted.covariance() * widening.unsqueeze(-1) * widening.unsqueeze(-2)
        spread = network.coordinates.spread
        values = {
            "parameters": value.parameters,
            "parameters_lower": lower.parameters,
            "parameters_upper": upper.parameters,
            "initial_state": value.initial_state,
            "initial_state_lower": lower.initial_state,
            "initial_state_upper": upper.initial_state,
            "noise_sd": value.noise_sd,
            "predicted": predict(self.system, self.root, records, value, **FLOW),
            "unknowns": network.coordinates.unscaled(emitted.mean),
            # Standardized to unscaled coordinates: C_ij spread_i spread_j.
            "unknowns_covariance": covariance * spread.outer(spread),
        }
        padding = ~records.valid
        for array in values.values():
            array[padding] = torch.nan
        return values | {"out_of_range": network.limits.flags(records, final)}

    def start(self, sensors: int, dtype: torch.dtype) -> Stream:
        """Return the memory of sensors before their first sample."""
        return self.network.init_stream(sensors, dtype)

    def step(
        self, memory: Stream, times: Tensor, observed: Tensor, inputs: Tensor
    ) -> tuple[Stream, StreamEstimate]:
        """Process one sample of every sensor, in the dtype of the memory."""
        network = self.network.of_dtype(memory.signals.dtype)
        after, estimate = network.estimate_step(memory, times, observed, inputs)
        value, lower, upper = bands(network, estimate, torch.tensor([after.count]), BAND_LEVEL)
        found = value.parameters, lower.parameters, upper.parameters, value.initial_state
        return after, StreamEstimate(*(part.double() for part in found))


def unknown_coords(network: Network) -> dict[str, xr.Variable]:
    """Return the names and kinds of the unknowns as coordinates."""
    entries = network.coordinates.entries
    names: Any = np.array([entry.name for entry in entries], dtype=str)
    kinds: Any = np.array([entry.kind for entry in entries], dtype=str)
    return {
        "unknown": xr.Variable("unknown", names, {"long_name": "unknown"}),
        "unknown_kind": xr.Variable("unknown", kinds, {"long_name": "what the unknown is"}),
    }
