"""The neural posterior of sbi on the Lotka-Volterra records of `estimates.py`.

Neural posterior estimation with the package's defaults (a masked autoregressive flow, training
until 20 epochs bring no improvement) on as many simulations as the direct head is trained on, from
the same priors: logarithms of the four parameters given all values of a whole record, initial
states left out. The prior is the true one, uniform in the logarithms. Estimates are means and bands
central intervals of draws, so they stand at the last sample alone. Draws outside the prior are
dropped, as sbi drops them, but not drawn again, which took it more than five minutes; where none is
inside, all count.

Usage: python benchmarks/estimates_sbi.py [--n 500] [--seed 0] [--quick]    # pip install sbi
"""

from __future__ import annotations

import os

# One thread for everybody, before anybody starts more.
os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import importlib.metadata
import importlib.util
import time
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from benchmarks._accuracy import simulate_records
from benchmarks._estimates_cases import FRACTIONS, Case, Floats, ordinary
from benchmarks._estimates_scores import print_header, print_rows
from benchmarks._estimates_ways import LEVEL, QUICK, TRAINING_RECORDS, TRAINING_SEED, Estimates

NAME = "lotka_volterra"
DRAWS = 2_000


def flat(data: xr.Dataset) -> Tensor:
    """Return all values of each record (N, T O), in single precision."""
    return torch.tensor(data["observed"].values, dtype=torch.float32).flatten(1)


def trained_posterior(case: Case, records: int, seed: int) -> Any:
    """Return sbi's posterior of the parameters' logarithms."""
    from sbi.inference import NPE
    from sbi.utils import BoxUniform

    ranges = torch.tensor(list(case.study.parameters.values())).log()
    data = simulate_records(case.system, case.study, records, seed + TRAINING_SEED)
    free = {"parameter": list(case.system.free_names)}
    theta = torch.tensor(data["true_parameters"].sel(free).values, dtype=torch.float32).log()
    inference = NPE(prior=BoxUniform(ranges[:, 0], ranges[:, 1]), show_progress_bars=False)
    inference.append_simulations(theta, flat(data)).train()
    return inference.build_posterior()


@torch.no_grad()
def drawn(posterior: Any, case: Case) -> Floats:
    """Return draws (draws, N, Q) of the parameters, NaN where outside the prior."""
    draws = posterior.sample_batched(
        (DRAWS,), x=flat(case.data), reject_outside_prior=False, show_progress_bars=False
    )
    outside = ~posterior.prior.support.check(draws)
    outside &= ~outside.all(dim=0)
    return np.asarray(draws.double().exp().masked_fill(outside[..., None], torch.nan).numpy())


def last_estimates(case: Case, draws: Floats, seconds: float) -> Estimates:
    """Return means and central intervals of draws (draws, N, Q), NaN where dropped."""
    shape = (len(FRACTIONS), *case.truth.shape)
    values, lower, upper = (np.full(shape, np.nan) for _ in range(3))
    values[-1] = np.nanmean(draws, axis=0)
    lower[-1], upper[-1] = np.nanquantile(draws, [0.5 - 0.5 * LEVEL, 0.5 + 0.5 * LEVEL], axis=0)
    each = 1e6 * seconds / (len(case.truth) * case.samples)
    return Estimates(values, lower, upper, np.full(len(FRACTIONS), each))


def main(arguments: list[str] | None = None) -> None:
    """Train, estimate and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=500, help="records")
    parser.add_argument("--seed", type=int, default=0, help="of simulation and training")
    parser.add_argument("--quick", action="store_true", help="20 records, few simulations")
    chosen = parser.parse_args(arguments)
    if importlib.util.find_spec("sbi") is None:
        print("sbi is not installed; pip install --constraint constraints.txt sbi")
        return
    torch.set_num_threads(1)
    torch.manual_seed(chosen.seed)
    case = ordinary(NAME, 20 if chosen.quick else chosen.n, chosen.seed)
    records = TRAINING_RECORDS // (QUICK if chosen.quick else 1)
    begun = time.process_time()
    posterior = trained_posterior(case, records, chosen.seed)
    training = time.process_time() - begun
    begun = time.process_time()
    draws = drawn(posterior, case)
    seconds = time.process_time() - begun
    print(f"\none thread; sbi {importlib.metadata.version('sbi')}, torch {torch.__version__}")
    print_header(f"{case.title}, {case.samples} samples on [0, {case.study.end:g}]", case)
    print_rows("sbi, NPE", case, last_estimates(case, draws, seconds))
    print(f"\nsbi: {records:,} simulations, {training:.0f} s of processor time to train")


if __name__ == "__main__":
    main()
