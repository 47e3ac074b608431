"""Maximum likelihood fits of all trajectories of a data set at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
import xarray as xr
from torch import Tensor
from tqdm import tqdm

from warp_phys.fitting.clock import Clock
from warp_phys.fitting.conclude import conclude
from warp_phys.fitting.constant_inputs import with_constant_inputs
from warp_phys.fitting.endings import evaluated_at_start, flat_has_not_converged, not_worse
from warp_phys.fitting.given_start import given_start
from warp_phys.fitting.likelihood_fit import with_guessed_noise, with_unknown_noise
from warp_phys.fitting.options import FitOptions
from warp_phys.fitting.outliers.find import find_outliers
from warp_phys.fitting.result.dataset import fit_dataset
from warp_phys.fitting.result.failures import unusable_words
from warp_phys.fitting.result.values import Fits
from warp_phys.fitting.search import blocks_of, run_block
from warp_phys.fitting.solved import Solved
from warp_phys.fitting.starts import informed_starts
from warp_phys.likelihood.engines.choose import engine_name
from warp_phys.likelihood.problem import FitProblem
from warp_phys.minimizing.optimum import Options
from warp_phys.records.records import read_records
from warp_phys.systems.catalog.registry import as_system
from warp_phys.systems.model.system import System
from warp_phys.systems.noise.noise import Noise
from warp_phys.systems.noise.registry import noise_settings
from warp_phys.systems.schema.flags import FitStatus


@torch.no_grad()
def fit(
    system: System | str,
    data: xr.Dataset,
    *,
    initial: xr.Dataset | xr.DataArray | Mapping[str, Any] | None = None,
    initial_state: Literal["auto", "first_sample", "estimate", "steady_state"]
    | Mapping[str, Any] = "auto",
    initial_time: Any = None,
    fixed: Mapping[str, Any] | None = None,
    bounds: Mapping[str, tuple[float | None, float | None]] | None = None,
    shared: Sequence[str] | Mapping[str, Any] | None = None,
    group: Any = None,
    ties: Mapping[str, Any] | None = None,
    priors: Mapping[str, Any] | Callable[[Mapping[str, Tensor]], Tensor] | None = None,
    distribution: Noise | str | Mapping[str, Noise | str] = "normal",
    noise_sd: Any = "each",
    loss: Literal["linear", "huber"] = "linear",
    starts: int | None = None,
    tolerance: float = 1e-9,
    max_iterations: int = 100,
    time_budget: float | None = None,
    rtol: float = 1e-8,
    level: float = 0.95,
    progress: bool = True,
) -> xr.Dataset:
    r"""Fit parameters and initial states of every trajectory by maximum likelihood.

    For each trajectory, the negative log likelihood of its residuals r (differences of logarithms
    for "lognormal") is minimized by the Levenberg-Marquardt method, with exact forward
    sensitivities of the discretized flow. For normal and log-normal noise this is

    .. math::
        \hat\theta = \arg\min_\theta \sum_o \frac{n_o}{2} \log \sum_t r_{t,o}(\theta)^2

    for an unknown noise level of each output; the sum of squares where all outputs have one common
    level, and the weighted sum of squares where levels are known. With another loss, fit and level
    alternate until both have converged, starting from the least squares optimum. Every trajectory
    gets its own status.

    Args:
        system: A system, or the name of a shipped one.
        data: Records with all or some of the system's outputs, on a shared or own time grids, NaN
            where missing. Where `censored` of the same shape is 1 or 2, the true value was below or
            above the value, which is a limit. Several measurements at one time are several
            samples with that time.
            Inputs may be known at the samples (`inputs`) or at other times
            (`input_table`, `input_time`); doses are `dose_amount`, `dose_time` and `dose_state`.
        initial: The start: what `estimate` or `fit` returned (matched by trajectory label), a
            DataArray (trajectory, parameter), a mapping from parameter or state to number or
            array; None starts at the estimate of the regression head (where it applies), in the
            middle of each parameter's range and at points spread over the ranges.
        initial_state: "auto": the data set's `known_initial_state`, which
            `simulate(initial_states=numbers)` writes. It holds at the first sample, or at the data
            set's `initial_time`: where records were cut to begin later, nothing is known. What is
            not known in a trajectory is estimated there. "first_sample": exactly the first sample.
            "estimate": estimated. "steady_state": the state of rest under the inputs just before
            the initial time, which depends on the parameters; it is approached from the system's
            default initial state (or its `initial_state(p)`), which determines what is conserved. A
            mapping from state to its known value, as in `fixed`: the other
            states are estimated.
        initial_time: The time of the initial state, where it is before the first sample; one
            number, or one for each trajectory. Doses at exactly that time are added after it.
        fixed: Known values by parameter: a number, (N,), a DataArray, or the name of a variable of
            the data set with one value for each trajectory. Where an array is NaN, the parameter is
            estimated in that trajectory; `known` of the result says where it was not. An input of
            the system that is constant during each record may be given in the same way.
        bounds: (low, high) by parameter or state, None where open; overrides the support.
        shared: Parameters and initial states that trajectories have in common: a list of names, or
            a mapping from name to "all" or to a variable of the data set (or labels (N,)) that says
            which trajectories share, for each name a different one if need be. Trajectories that
            are connected by anything that they share are fitted jointly, and unknown noise levels
            are the same for all of them.
        group: The groups that share the names in a list: a coordinate of the data set, or one label
            for each trajectory; all trajectories by default.
        ties: Parameters that follow from others: an expression like "2 * k1" or a function of the
            parameters by name (in torch) for each, in the order in which they are computed. Their
            standard errors follow from those of the others.
        priors: Distributions by parameter, initial state (`prey(0)`) and noise (`noise_sd` of all
            outputs, `noise_sd(prey)` of one, `dispersion(cases)`): those of
            `warp_phys.data_gen`, any other frozen distribution of SciPy, one of
            `torch.distributions`, or a range (low, high). Or the log density (n,) of all unknowns,
            as a function in torch of a mapping from these names to their values (n,). The fit then
            is the maximum of the posterior density by these values, and its standard errors and
            intervals come from the curvature there; levels of the noise are unknowns like any
            other.
        distribution: The name of a noise model (see `noise_names`): "normal", "lognormal",
            "poisson", "negative_binomial", "student_t", "additive_proportional"; a `Noise` object,
            such as `Binomial(trials=20)` or `NegativeBinomial(dispersion=0.1)`; or a mapping from
            output to one of these. Parameters of the noise that are not given are estimated.
        noise_sd: "each": every output has its own unknown level (with few values for each, one
            output may be fitted almost exactly at the cost of the others; `misfit` then reports
            it). "common": one level for all (plain least squares). Or known levels: a mapping from
            output to number, (N,) or (N, T), or an array (O,), (N, O), (N, T, O); levels of
            logarithms where log-normal.
        loss: "linear" (that of the noise) or "huber", for which outliers count less.
        starts: Number of starts, `initial` being the first. By default, a fit from `initial` is
            the only one unless it fails or its residuals do not look like noise; otherwise up to
            100 starts are tried, until the best optimum has been met twice (four times where its
            fit has not converged, ten times where its residuals do not look like noise). Starts
            after the informed ones are Latin hypercubes over the ranges, in unconstrained
            coordinates and the same for every trajectory. They
            are fitted in stages with coarse integration: to windows of the record, to its
            beginnings, to all of it; the best one is then fitted at full tolerance. Starts that
            cannot be integrated are replaced by others and are not counted. A fit is continued from
            any better point that the profiles of its intervals come upon.
        tolerance: Relative step, or step in standard errors, at which a fit has converged.
        max_iterations: Steps tried for each start. 0 fits nothing: `log_likelihood`, `predicted`
            and `gradient` are those at the first start, and `status` is 8 (evaluated).
        time_budget: Seconds from the first iteration on, after which the best point found so far is
            returned for every record that was begun; None for no limit.
        rtol: Relative tolerance of the integration.
        level: Probability inside the confidence intervals.
        progress: Show a progress bar on work over two seconds.

    Returns:
        For each trajectory `parameters` and their `standard_errors`, `parameters_lower` and
        `parameters_upper` (confidence intervals: the values at which the least sum of squares, with
        this parameter held and all others refitted, stays below Q (1 + F / (n - p)) with the
        quantile F of the F distribution with 1 and n - p degrees of freedom; found along that
        profile likelihood where `profiled`, and from t quantiles where these give the same three
        digits; an end that the data do not limit is the end of the support), `covariance` of all
        unknowns, `initial_state` and its standard errors, `predicted`, `noise_sd` (with n - p
        degrees of freedom, where p counts shared unknowns once; of maximum likelihood where it is
        fitted jointly), `noise_parameters` (levels and other parameters of the noise that are
        fitted jointly with the system's, with standard errors and intervals), `log_prior`,
        `sum_of_squares` (unweighted), `log_likelihood`, `iterations`, `identifiable`, `on_bound`,
        `undetermined` (in words), `reduced_chi_square` (known noise), `autocorrelation` of the
        residuals, `misfit` (0 where the residuals look like noise), `gradient` of the log
        likelihood by the `estimated`, `starts`, `starts_agreeing`, `optima`, `search` (bits: 1 if
        only one of several starts reached the best optimum, 2 if there are several optima), and
        `status` (0: converged). `summary` prints it. A fit is never worse than its `initial`. One
        that has not converged has no standard errors and says nothing about what the data determine
        (`identifiable` is -1); `failure` says in words what failed, for an integration at which
        time and state.

    Raises:
        UsageError: An argument is invalid; the message says what was expected.
        SchemaError: The data set does not follow the schema.
        UnknownNameError: A parameter, state, output or option does not exist.

    References:
        D. M. Bates, D. G. Watts, Nonlinear Regression Analysis and Its Applications, Wiley, 1988.

    Example:
        >>> from warp_phys.data_gen import simulate
        >>> data = simulate("pendulum", n=3, times=[0.1 * k for k in range(60)], noise=0.01, seed=0)
        >>> fitted = fit("pendulum", data)
        >>> bool((abs(fitted.parameters / data.true_parameters - 1) < 0.02).all())
        True
    """
    options = FitOptions.from_arguments(locals())
    system = as_system(system)
    options.check_numbers()
    asked = options
    if isinstance(data, xr.Dataset) and isinstance(fixed, Mapping):
        data, known = with_constant_inputs(system, data, fixed)
        options = replace(options, fixed=known)
    records = read_records(
        data,
        system,
        groups=options.variable_names,
        empty=True,
        forcing=True,
        repeats=True,
        limits=True,
    )
    problem = options.problem(system, records)
    fits = _fit_in_blocks(problem, options)
    settings = asked.settings() | noise_settings(problem.distribution)
    return fit_dataset(problem, fits, level=options.level, settings=settings)


def _fit_in_blocks(problem: FitProblem, options: FitOptions) -> Fits:
    """Fit all trajectories that can be fitted, block by block, with a progress bar."""
    given = None
    if options.initial is not None:
        given = with_guessed_noise(problem, given_start(problem, options.initial))
    fits = Fits.empty(problem)
    fits.status.copy_(unusable(problem))
    usable = (fits.status == FitStatus.CONVERGED).nonzero()[:, 0]
    _explain_unusable(problem, fits)
    if not usable.numel():
        return fits
    # Compiled before the clock starts, as a time budget is for iterations; the kernel of implicit
    # steps follows only where a trajectory proves stiff.
    for stated in (problem, problem.squared()):
        engine_name(stated)
    clock = Clock(options.time_budget)
    bar = tqdm(
        total=len(usable),
        desc="fit",
        unit=" trajectories",
        delay=2.0,
        disable=not options.progress,
    )
    with bar:
        done = 0
        # From where the caller starts, most trajectories need no other start.
        together = 1 if given is not None and options.starts is None else options.starts
        for block in blocks_of(problem.select(usable), together):
            rows = usable[block]
            if done and clock.over():
                fits.status[rows] = int(FitStatus.OUT_OF_TIME)
                for row in rows.tolist():
                    fits.failures[row] = "the time budget ended before this record was begun"
                continue
            part = problem.select(rows)
            search = Options(options.tolerance, options.max_iterations, clock.over, bar.update)
            start = None if given is None else given[rows]
            solved = _solved(part, start, options.starts, search)
            # An outlier may leave the fit on a slope so flat that profiles keep improving it, after
            # which it counts as not converged: outliers are looked for before.
            far = find_outliers(part, solved, search)
            solved, known, ends = conclude(part, solved, search, options.level)
            fits.write(rows, part, solved, known, ends, far)
            done += len(rows)
            bar.update(done - bar.n)
    return fits


def _solved(
    problem: FitProblem, given: Tensor | None, starts: int | None, options: Options
) -> Solved:
    """Return the fits of a block, or what its first start gives where no iteration is allowed."""
    if options.max_iterations == 0:
        if given is None:
            squared = informed_starts(problem.squared(), None).z[0]
            given = with_guessed_noise(problem, with_unknown_noise(problem, squared))
        return evaluated_at_start(problem, given)
    solved = run_block(problem, given, starts, options)
    if given is not None:
        solved = not_worse(problem, solved, given, options)
    return flat_has_not_converged(problem, solved)


def _explain_unusable(problem: FitProblem, fits: Fits) -> None:
    """Write why trajectories cannot be fitted at all."""
    rows = (fits.status != FitStatus.CONVERGED).nonzero()[:, 0]
    if rows.numel():
        for row, text in zip(rows.tolist(), unusable_words(problem.select(rows)), strict=True):
            fits.failures[row] = text


def undetermined_by_priors(problem: FitProblem) -> Tensor:
    """Return (N,) how many unknowns of its own a trajectory has that no prior determines."""
    free = problem.unknowns.estimated()
    if problem.prior is not None:
        if problem.prior.joint is not None:
            return torch.zeros(len(problem), dtype=torch.int64)
        free = free & torch.tensor([density is None for density in problem.prior.single])
    return free[:, problem.unknowns.shared :].sum(dim=1)


def unusable(problem: FitProblem) -> Tensor:
    """Return (N,) the status of trajectories that cannot be fitted at all, otherwise 0."""
    records = problem.records
    status = torch.zeros(len(problem), dtype=torch.int64)
    seen = records.seen.sum(dim=(1, 2))
    # Shared unknowns are determined by the group; a trajectory must determine its own ones.
    own = undetermined_by_priors(problem)
    status[seen < own.clamp_min(1)] = int(FitStatus.TOO_FEW_VALUES)
    known = problem.unknowns.parameters.isfinite().all(dim=1)
    known &= problem.unknowns.initial_state.isfinite().all(dim=1)
    wrong = ~known
    impossible = problem.distribution.impossible(records.observed)
    wrong |= (impossible & records.seen).any(dim=2).any(dim=1)
    if records.inputs.shape[2]:
        wrong |= (~records.inputs.isfinite().all(dim=2) & records.valid).any(dim=1)
    status[wrong | (seen == 0)] = int(FitStatus.INVALID_DATA)
    return status
