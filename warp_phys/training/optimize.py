"""The training loop: AdamW on random batches, keeping the weights of the best validation loss."""

from __future__ import annotations

import math
import os
import time
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from warp_phys.systems.errors import WarpPhysError
from warp_phys.training.checkpoint import Progress, read_checkpoint, write_checkpoint
from warp_phys.training.schedule import Schedule
from warp_phys.training.task import TrainingTask

# Evaluations in a full run; the largest norm of a gradient, beyond which it is scaled down (one bad
# batch must not undo the training); and the decoupled weight decay of AdamW.
_EVALUATIONS = 25
_LARGEST_GRADIENT = 5.0
_WEIGHT_DECAY = 1e-4
_GOLDEN = 0x9E3779B1


def optimize(
    task: TrainingTask,
    schedule: Schedule,
    checkpoint: str | os.PathLike[str] | None = None,
    *,
    show: bool = False,
) -> Progress:
    """Train the network of a task; it keeps the weights of the best validation loss.

    The optimizer is AdamW (I. Loshchilov, F. Hutter, ICLR 2019, arXiv 1711.05101).

    Raises:
        WarpPhysError: No validation loss was finite.
        SchemaError: The checkpoint belongs to another run.
    """
    network = task.network
    optimizer = _optimizer(network, schedule)
    configuration = vars(schedule) | task.describe()
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
    task: TrainingTask,
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
    judged = _evaluated(task, state)
    state.seconds = time.monotonic() - started
    mean = total / counted if counted else math.nan
    state.history.append((float(state.step), state.seconds, mean, judged))


def _evaluated(task: TrainingTask, state: Progress) -> float:
    """Return the validation loss; the weights are kept where it is the lowest so far."""
    network = task.network
    network.eval()
    judged = task.validation_loss()
    network.train()
    if judged < state.best:
        state.best, state.best_step = judged, state.step
        # Clones, because the optimizer changes the weights in place.
        state.weights = {name: value.clone() for name, value in network.state_dict().items()}
    return judged


def _one_step(
    task: TrainingTask, optimizer: torch.optim.Optimizer, schedule: Schedule, state: Progress
) -> float | None:
    """Take one step; return its loss, or None where its gradient was not finite."""
    index, place = _draw(task, schedule, state.step)
    for group in optimizer.param_groups:
        group["lr"] = schedule.rate(state)
    optimizer.zero_grad()
    loss = _add_gradients(task, index, place)
    size = nn.utils.clip_grad_norm_(task.network.parameters(), _LARGEST_GRADIENT)
    state.step += 1
    # An update with a NaN would destroy all weights; the step is skipped and counted.
    if not bool(size.isfinite()):
        state.skipped += 1
        return None
    optimizer.step()
    return loss


def _add_gradients(task: TrainingTask, index: Tensor, place: int) -> float:
    """Add the gradients of the loss of some training records to the parameters'; return it."""
    total = 0.0
    for part in task.parts(index, place):
        part.backward()
        total += part.item()
    return total


def _optimizer(network: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        network.parameters(), lr=schedule.learning_rate, weight_decay=_WEIGHT_DECAY
    )


def _draw(task: TrainingTask, schedule: Schedule, step: int) -> tuple[Tensor, int]:
    """Return the records and the sample number of a step."""
    # Each step has its own generator, so that a checkpoint need not store the state of the draws.
    # Torch's Mersenne Twister takes the low 32 bits of a seed alone. Multiples of the golden ratio
    # modulo 2^32 (Knuth, The Art of Computer Programming 3, sec. 6.4) lie far apart, so that the
    # steps of two runs do not meet.
    generator = torch.Generator().manual_seed((_GOLDEN * schedule.seed + step) % 2**32)
    index = torch.randint(task.count, (schedule.batch_size,), generator=generator)
    return index, int(torch.randint(task.length(), (), generator=generator))


def _best_weights(done: Progress) -> dict[str, Tensor]:
    if not done.weights:
        raise WarpPhysError(
            "training never reached a finite validation loss; lower learning_rate, or look for "
            "extreme values in the data"
        )
    return done.weights
