"""Training: A, B, theta_0 and what reads them, by stochastic gradient descent on many records."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn
from tqdm import tqdm

from warp_phys.models.warp import Warp
from warp_phys.models.warp_phys import WarpPhys
from warp_phys.systems.errors import UsageError, WarpPhysError
from warp_phys.systems.schema.labels import stamp
from warp_phys.training.checkpoint import Progress, read_checkpoint, write_checkpoint
from warp_phys.training.data import split
from warp_phys.training.physics_task import PhysicsTask, Task, add_gradients, describe_task
from warp_phys.training.warp_task import WarpTask

_EVALUATIONS = 25
_WARM_UP = 100
_LARGEST_GRADIENT = 5.0
_WEIGHT_DECAY = 1e-4


@dataclass(frozen=True)
class Schedule:
    """The choices of one call of `train` that decide its result."""

    loss: str
    steps: int
    batch_size: int
    learning_rate: float
    seed: int
    time_budget: float | None
    patience: int | None
    context: int | str | None = None

    def rate(self, progress: Progress) -> float:
        """Return the learning rate: a short rise, then half a cosine down to almost nothing.

        Under a time budget the cosine ends with the budget or the steps, whichever comes first.
        """
        done = progress.step / self.steps
        if self.time_budget is not None:
            done = max(done, min(1.0, progress.seconds / self.time_budget))
        rise = min(1.0, (progress.step + 1) / _WARM_UP)
        return self.learning_rate * rise * (0.5 * (1.0 + math.cos(math.pi * done)) + 1e-3)

    def over(self, progress: Progress, evaluate_every: int) -> bool:
        """Return whether training has ended."""
        if progress.step >= self.steps:
            return True
        if self.time_budget is not None and progress.seconds >= self.time_budget:
            return True
        if self.patience is None:
            return False
        return progress.step - progress.best_step > self.patience * evaluate_every


def train(
    model: WarpPhys | Warp,
    data: xr.Dataset,
    validation: xr.Dataset | None = None,
    *,
    loss: str = "auto",
    steps: int = 6000,
    batch_size: int = 128,
    learning_rate: float = 4e-3,
    seed: int = 0,
    time_budget: float | None = None,
    patience: int | None = 10,
    context: int | str | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Train a model on many records; it keeps the weights that did best on validation data.

    Failed simulations (status not 0) are left out and counted. Bands are calibrated on the
    validation data at the end, so test on other records still.

    Args:
        model: Trained in place; what it learned before is forgotten.
        data: Records, from `simulate` or measured.
        validation: Records kept out of training; None keeps a tenth of `data`, at most 4000, of
            few records up to a quarter.
        loss: "supervised": likelihood of `true_parameters`. "reconstruction": squared error of
            the predicted outputs, as in the paper; gives no bands. "both": their sum. "auto":
            supervised where the truth is known. `Warp` has no unknowns and ignores this.
        steps: Optimizer steps.
        batch_size: Records a step.
        learning_rate: At its highest; see the paper's 1e-5 for the dense weights head.
        seed: Of the first weights and the order of the records. The same seed, data and number of
            threads give the same bits, unless a time budget ends training.
        time_budget: Seconds of training after which it ends with what it has.
        patience: Evaluations (25 in a full run) without improvement after which it ends.
        context: Of `Warp`: train for forecasts from theta after this many samples alone; a number,
            or the name of the data sets' variable (trajectory,) that holds it. None: from every
            sample on, and for the next sample.
        checkpoint: A .safetensors file, rewritten at every evaluation; where it exists already,
            training goes on from it and ends as if it had not been interrupted.
        progress: Show a progress bar.

    Returns:
        History: `training_loss` and `validation_loss` over `step`, and the seconds since the start.

    Raises:
        UsageError: The data cannot be learned from; the message says why.
        SchemaError: The checkpoint belongs to another run.

    Example:
        >>> from warp_phys.data_gen import simulate
        >>> model = WarpPhys("sine", window=4, width=16)
        >>> data = simulate("sine", n=400, times=[0.0, 0.1, 0.2, 0.3], noise=0.05, seed=1)
        >>> history = train(model, data, steps=50, progress=False)
        >>> history.sizes["step"] > 0
        True
    """
    schedule = Schedule(
        loss, steps, batch_size, learning_rate, seed, time_budget, patience, context
    )
    _check_schedule(schedule)
    try:
        task = _task(model, data, validation, schedule)
        done = optimize(task, schedule, checkpoint, show=progress)
        task.network.for_inference()
        task.finish()
    except BaseException:
        # A model must not pass for trained when training was broken off.
        model.discard()
        raise
    return _history(done, schedule, model, task)


def _best_weights(done: Progress) -> dict[str, Tensor]:
    if not done.weights:
        raise WarpPhysError(
            "training never reached a finite validation loss; lower learning_rate, or look for "
            "extreme values in the data"
        )
    return done.weights


def _task(
    model: WarpPhys | Warp, data: xr.Dataset, validation: xr.Dataset | None, schedule: Schedule
) -> PhysicsTask | WarpTask:
    if validation is None:
        data, validation = split(data, schedule.seed)
    if isinstance(model, Warp):
        return WarpTask(model, data, validation, schedule.seed, schedule.context)
    if schedule.context is not None:
        raise UsageError("context is of Warp; a WarpPhys model learns from every sample")
    return PhysicsTask(model, data, validation, schedule.loss, schedule.seed)


def optimize(
    task: Task,
    schedule: Schedule,
    checkpoint: str | os.PathLike[str] | None = None,
    *,
    show: bool = False,
) -> Progress:
    """Train a task's network by a schedule; it keeps the weights of its best validation loss.

    Raises:
        WarpPhysError: No validation loss was finite.
        SchemaError: The checkpoint belongs to another run.
    """
    network = task.network
    optimizer = _optimizer(network, schedule)
    configuration = vars(schedule) | describe_task(task)
    state = Progress()
    if checkpoint is not None:
        state = read_checkpoint(checkpoint, network, optimizer, configuration)
    every = max(1, schedule.steps // _EVALUATIONS)
    bar = tqdm(
        total=schedule.steps, initial=state.step, desc="train", unit="step", disable=not show
    )
    with bar:
        while not schedule.over(state, every):
            _stretch(task, optimizer, schedule, state, every, bar)
            bar.set_postfix(validation=f"{state.history[-1][3]:.3g}", refresh=False)
            if checkpoint is not None:
                write_checkpoint(checkpoint, state, network, optimizer, configuration)
    network.load_state_dict(_best_weights(state))
    return state


def _stretch(
    task: Task,
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    state: Progress,
    every: int,
    bar: Any,
) -> None:
    """Train up to the next evaluation, and evaluate."""
    total, counted = 0.0, 0
    started = time.monotonic() - state.seconds
    while True:
        value = _one_step(task, optimizer, schedule, state)
        if value is not None:
            total, counted = total + value, counted + 1
        bar.update()
        state.seconds = time.monotonic() - started
        late = schedule.time_budget is not None and state.seconds >= schedule.time_budget
        if state.step % every == 0 or state.step >= schedule.steps or late:
            break
    network = task.network
    network.eval()
    judged = task.validation_loss()
    network.train()
    if judged < state.best:
        state.best, state.best_step = judged, state.step
        state.weights = {name: value.clone() for name, value in network.state_dict().items()}
    state.seconds = time.monotonic() - started
    mean = total / counted if counted else math.nan
    state.history.append((float(state.step), state.seconds, mean, judged))


def _one_step(
    task: Task, optimizer: torch.optim.Optimizer, schedule: Schedule, state: Progress
) -> float | None:
    """Take one step; return its loss, or None where its gradient was not finite."""
    index, place = _draw(task, schedule, state.step)
    for group in optimizer.param_groups:
        group["lr"] = schedule.rate(state)
    optimizer.zero_grad()
    loss = add_gradients(task, index, place)
    size = nn.utils.clip_grad_norm_(task.network.parameters(), _LARGEST_GRADIENT)
    state.step += 1
    if not bool(size.isfinite()):
        state.skipped += 1
        return None
    optimizer.step()
    return loss


def _optimizer(network: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        network.parameters(), lr=schedule.learning_rate, weight_decay=_WEIGHT_DECAY
    )


def _draw(task: Task, schedule: Schedule, step: int) -> tuple[Tensor, int]:
    """Return the records and the sample number of a step."""
    # A generator of its own for every step: resuming needs no memory of what was drawn.
    generator = torch.Generator().manual_seed((schedule.seed << 32) + step)
    index = torch.randint(task.count, (schedule.batch_size,), generator=generator)
    return index, int(torch.randint(task.length(), (), generator=generator))


def _check_schedule(schedule: Schedule) -> None:
    for name in ("steps", "batch_size"):
        value = getattr(schedule, name)
        if not isinstance(value, int) or value < 1:
            raise UsageError(f"expected {name} to be a positive whole number, got {value!r}")
    if not 0.0 < schedule.learning_rate < math.inf:
        raise UsageError(f"expected a positive learning_rate, got {schedule.learning_rate!r}")
    if not isinstance(schedule.seed, int) or not 0 <= schedule.seed < 2**31:
        raise UsageError(f"expected a seed from 0 to 2**31 - 1, got {schedule.seed!r}")
    if schedule.time_budget is not None and not schedule.time_budget > 0:
        raise UsageError(f"expected a positive time_budget, got {schedule.time_budget!r}")


def _history(
    done: Progress, schedule: Schedule, model: WarpPhys | Warp, task: PhysicsTask | WarpTask
) -> xr.Dataset:
    rows = np.array(done.history)
    names = ("seconds", "training_loss", "validation_loss")
    units = {"seconds": "s", "training_loss": "1", "validation_loss": "1"}
    dataset = xr.Dataset(
        {
            name: (
                "step",
                rows[:, column + 1],
                {"long_name": name.replace("_", " "), "units": units[name]},
            )
            for column, name in enumerate(names)
        },
        coords={"step": ("step", rows[:, 0].astype(np.int64), {"long_name": "optimizer step"})},
    )
    settings = vars(schedule) | {
        "model": repr(model),
        "best_step": done.best_step,
        "skipped_steps": done.skipped,
        "training_records": task.count,
        "failed_records_left_out": task.left_out,
    }
    return stamp(
        dataset,
        title="training history",
        system=model.system if isinstance(model, WarpPhys) else None,
        settings=settings,
        seed=schedule.seed,
        function="train",
    )
