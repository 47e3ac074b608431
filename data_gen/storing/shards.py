"""Makes shards: files, each of which is a complete data set of some of the trajectories."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import dask
import numpy as np
import torch
import xarray as xr

from warp_phys.data_gen.making.dataset_plan import DatasetPlan
from warp_phys.data_gen.storing.shard_facts import IDENTITY
from warp_phys.data_gen.storing.software import computing_software
from warp_phys.systems.errors import UsageError
from warp_phys.systems.schema.atomic import write_atomic
from warp_phys.systems.schema.flags import SimulationStatus
from warp_phys.systems.schema.netcdf_bytes import image


class Written(NamedTuple):
    """Properties of a written shard: bytes, checksum, and number of trajectories by status."""

    size: int
    sha256: str
    status: Mapping[str, int]


def write_shard(
    plan: DatasetPlan, path: str, identity: str, software: Mapping[str, str]
) -> Written:
    """Make a shard and write its file completely or not at all; this runs in the workers.

    Args:
        plan: How to make its trajectories.
        path: The file.
        identity: See `IDENTITY`.
        software: What computes the other shards, see `computing_software`.

    Raises:
        UsageError: Other versions, or another engine, compute here.
    """
    _check_software(software)
    with _one_thread():
        dataset = plan.dataset(dated=False)
    # On a dask worker xarray would ask the scheduler for a lock on this file in memory.
    with dask.config.set(scheduler="synchronous"):
        content = image(dataset.assign_attrs({IDENTITY: identity}))
    write_atomic(content, Path(path), overwrite=True)
    return Written(len(content), hashlib.sha256(content).hexdigest(), _counts(dataset))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread: rounding errors of sums depend on the number of threads.

    Floating-point addition is not associative (Higham, Accuracy and Stability of Numerical
    Algorithms, ch. 4), and shards must be byte-equal on any number of workers.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _check_software(expected: Mapping[str, str]) -> None:
    for name, here in computing_software().items():
        if here != expected[name]:
            raise UsageError(
                f"this worker has {name} {here!r}, the process that sends the work has "
                f"{expected[name]!r}; a data set needs the same software everywhere"
            )


def _counts(dataset: xr.Dataset) -> dict[str, int]:
    codes, counts = np.unique(dataset["status"].values, return_counts=True)
    return {
        SimulationStatus(code).name.lower(): count
        for code, count in zip(codes.tolist(), counts.tolist(), strict=True)
    }
