"""Training data: records, the true values behind them where known, and the validation split."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from warp_phys.models.coordinates import Physical, implied_initial_state
from warp_phys.records.records import Records, as_batch, read_records
from warp_phys.systems.errors import SchemaError, UsageError
from warp_phys.systems.model.system import System
from warp_phys.systems.schema.checks import check_dataset

# Share of the data that is kept for validation where none is given, and how many are enough. Up to
# a quarter of a small set is kept, because the calibration of bands needs a hundred or two.
_SHARE, _LARGEST_SHARE = 0.1, 0.25
_FEW, _ENOUGH = 200, 4000
# Points along each range that represent an unknown truth.
_GRID = 201


@dataclass(frozen=True)
class TrainingData:
    """Records with their true values.

    Attributes:
        records: N records, failed simulations left out.
        truth: True values (N, ...); where not known, values that span the system's ranges.
        supervised: Whether the truth is known.
        distribution: Name of the noise model.
        noise_settings: The noise model's own parameters.
        left_out: How many records were left out, with a status that is not 0.
    """

    records: Records
    truth: Physical
    supervised: bool
    distribution: str
    noise_settings: Mapping[str, Any]
    left_out: int


def read_training_data(
    dataset: xr.Dataset,
    system: System,
    outputs: tuple[str, ...] | None = None,
    *,
    forcing: bool = False,
) -> TrainingData:
    """Return the records of a data set that can be learned from; `forcing`: also with doses."""
    kept = drop_failed(dataset, system)
    records = read_records(kept, system, outputs, forcing=forcing)
    supervised = "true_parameters" in kept
    return TrainingData(
        records=records,
        truth=_truth(kept, system, records) if supervised else _span(system, records),
        supervised=supervised,
        distribution=_distribution(kept, records),
        noise_settings=_settings(kept).get("distribution_settings", {}),
        left_out=dataset.sizes.get("trajectory", 1) - len(records),
    )


def drop_failed(dataset: xr.Dataset, system: System | None = None) -> xr.Dataset:
    """Return the data set without failed simulations and without empty records."""
    dataset = as_batch(dataset)
    check_dataset(dataset, system=system)
    usable = _usable(dataset)
    if not usable.any():
        raise UsageError(
            "expected at least one trajectory with a valid sample and status 0 (see 'status'), "
            f"got {usable.size} without"
        )
    return dataset if usable.all() else dataset.isel(trajectory=usable.nonzero()[0])


def split(dataset: xr.Dataset, seed: int) -> tuple[xr.Dataset, xr.Dataset]:
    """Return training and validation trajectories, drawn from the seed."""
    dataset = as_batch(dataset)
    check_dataset(dataset)
    count = dataset.sizes["trajectory"]
    held_out = min(_ENOUGH, max(round(_SHARE * count), min(_FEW, int(_LARGEST_SHARE * count))))
    if held_out < 1:
        raise UsageError(
            f"expected at least {round(1 / _LARGEST_SHARE)} trajectories to keep some for "
            f"validation, got {count}; simulate more, or pass validation="
        )
    # A counter-based generator, whose numbers depend on the seed alone; sorted, which keeps the
    # order of the data set.
    order = np.random.Generator(np.random.Philox(key=seed)).permutation(count)
    chosen, rest = np.sort(order[:held_out]), np.sort(order[held_out:])
    return dataset.isel(trajectory=rest), dataset.isel(trajectory=chosen)


def _usable(dataset: xr.Dataset) -> np.ndarray[Any, np.dtype[np.bool_]]:
    usable = np.ones(dataset.sizes["trajectory"], dtype=bool)
    if "status" in dataset:
        usable &= dataset["status"].values == 0
    if "true_parameters" in dataset:
        usable &= np.isfinite(dataset["true_parameters"].values).all(axis=1)
    observed = np.isfinite(dataset["observed"].values)
    return usable & observed.any(axis=(1, 2))


def _settings(dataset: xr.Dataset) -> dict[str, Any]:
    """Return what a simulated data set records of the options it was made with."""
    found: dict[str, Any] = json.loads(dataset.attrs.get("settings", "{}"))
    return found


def _distribution(dataset: xr.Dataset, records: Records) -> str:
    found = str(_settings(dataset).get("distribution", "normal"))
    if found == "lognormal" and not (records.observed[records.seen] > 0).all():
        raise UsageError(
            "log-normal noise needs positive values, and some observed values are not; mark them "
            "as missing (NaN)"
        )
    return found


def _truth(dataset: xr.Dataset, system: System, records: Records) -> Physical:
    parameters = dataset["true_parameters"].sel(parameter=list(system.parameter_names))
    states = _true_states(dataset, system, _double(parameters.values))
    noise = np.zeros((len(records), len(records.outputs)))
    if "true_noise_sd" in dataset:
        noise = dataset["true_noise_sd"].sel(output=list(records.outputs)).values
    return Physical(_double(parameters.values), states, _double(noise))


def _true_states(dataset: xr.Dataset, system: System, parameters: Tensor) -> Tensor:
    """Return the true initial states (N, S); where parameters imply them, they must agree."""
    given = None
    if "true_initial_state" in dataset:
        given = _double(dataset["true_initial_state"].sel(state=list(system.state_names)).values)
    if not system.has_initial_state:
        if given is None:
            raise SchemaError(
                "expected 'true_initial_state' (trajectory, state) beside 'true_parameters': a "
                "model learns both; add it, or drop 'true_parameters' to learn by reconstruction"
            )
        return given
    implied = implied_initial_state(system, parameters)
    if given is not None and not torch.allclose(given, implied, rtol=1e-6, atol=1e-9):
        raise UsageError(
            f"the initial state of {system.name} follows from its parameters, and the data set has "
            "other ones; simulate it without initial_states="
        )
    return implied


def _span(system: System, records: Records) -> Physical:
    """Return values spread over each range, in place of unknown true values."""
    parameters = [
        _spread_out(p.range if p.fixed is None else (p.fixed, p.fixed)) for p in system.parameters
    ]
    states = []
    for state in system.states:
        default = system.default_initial_state[state.name]
        if system.observes_all_states and state.name in records.outputs:
            first = records.observed[:, :, records.outputs.index(state.name)]
            # Observed states start where the records do; quantiles stand for their distribution.
            seen = first[:, 0][first[:, 0].isfinite()]
            states.append(
                torch.quantile(seen[:100_000], torch.linspace(0.0, 1.0, _GRID, dtype=torch.float64))
            )
        else:
            pair = default if isinstance(default, Sequence) else (default, default)
            states.append(_spread_out(pair))
    noise = torch.zeros(_GRID, len(records.outputs), dtype=torch.float64)
    return Physical(torch.stack(parameters, dim=1), torch.stack(states, dim=1), noise)


def _spread_out(pair: Any) -> Tensor:
    return torch.linspace(float(pair[0]), float(pair[1]), _GRID, dtype=torch.float64)


def _double(values: Any) -> Tensor:
    return torch.as_tensor(np.array(values, dtype=np.float64))
