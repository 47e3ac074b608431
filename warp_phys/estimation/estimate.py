"""Estimation of parameters at every sample of every trajectory, without gradient descent."""

from __future__ import annotations

from typing import Any

import torch
import xarray as xr

from warp_phys.models.bands import check_level
from warp_phys.models.warp_phys import WarpPhys
from warp_phys.records.records import read_records, result_coords
from warp_phys.systems.forcing.dataset import dose_variables
from warp_phys.systems.schema.labels import labeled, stamp


@torch.no_grad()
def estimate(
    model: WarpPhys, data: xr.Dataset, *, level: float = 0.9, progress: bool = True
) -> xr.Dataset:
    """Estimate the parameters of records, at every sample from the samples so far.

    Args:
        model: A model. The information head (the default) and the regression head need no
            training.
        data: Records of the system: `observed` on a shared or on own time grids, NaN where
            missing. Times may start anywhere; trained heads count them from each first sample.
            Doses and tables of inputs are for the information head alone.
        level: Probability inside the band of each unknown.
        progress: Show a progress bar on long work.

    Returns:
        `parameters`, `parameters_lower`, `parameters_upper` (trajectory, time, parameter);
        `initial_state` (trajectory, time, state), the state at the first sample, and its band;
        `noise_sd`, for trained heads where the training data had noise; `predicted` (trajectory,
        time, output), each from the parameters at that sample; `unknowns` and
        `unknowns_covariance`, the distribution in unconstrained coordinates that `forecast` draws
        from (not after training by reconstruction alone); `out_of_range` (trajectory), whose bits
        say how a record differs from the training data, or from prior and model (0: it does not).
        The information head adds `described` (trajectory, time), 1 as long as the model describes
        the record so far, `changed_at` (trajectory), the time of the first sample that it does not
        describe, and `estimate_status` (trajectory, time), whose bits are reasons to distrust the
        estimate. With `drift`, `parameters` and `initial_state` are those at each sample. The
        regression head returns `parameters` (NaN where the data do not determine them),
        `coordinates`, `predicted` and `initial_time`, the time of its `initial_state`, and no
        bands. With `drive="log_difference"` a sample counts as missing where one of the states that
        enter by their logarithm is not positive.

    Raises:
        UsageError: The model is not trained, or the records do not fit it.
        SchemaError: The data set does not follow the schema.

    Example:
        >>> import numpy as np
        >>> from warp_phys import WarpPhys
        >>> from warp_phys.data_gen import simulate
        >>> times = np.linspace(0.0, 10.0, 61)
        >>> data = simulate("lotka_volterra", n=1, times=times, noise=0.01, seed=0)
        >>> found = estimate(WarpPhys("lotka_volterra"), data)
        >>> bool(abs(found.parameters[:, -1] / data.true_parameters - 1).max() < 0.01)
        True
    """
    check_level(level)
    estimator = model.estimator()
    records = read_records(
        data,
        model.system,
        estimator.outputs,
        empty=estimator.forcing,
        forcing=estimator.forcing,
        repeats=estimator.forcing,
    )
    found = estimator.estimate(records, level, show=progress)
    arrays: dict[str, Any] = {name: value.numpy() for name, value in found.values.items()}
    coordinates = {**result_coords(model.system, records), **found.coords}
    if records.doses is not None:
        # A forecast from the estimate needs the doses, too.
        values, labels = dose_variables(model.system, records.doses)
        arrays |= values
        coordinates |= labels
    dataset = labeled(arrays, coordinates)
    settings = {"model": repr(model)} | dict(found.settings)
    return stamp(
        dataset,
        title=f"estimates of {model.system.name}",
        system=model.system,
        settings=settings,
        references=model.system.reference,
        function="estimate",
        history=records.history,
        rtol=found.rtol,
    ).assign_attrs(dict(found.attrs))
