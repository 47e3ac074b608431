"""The information head: the hidden state is what is known about the unknowns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torch import Tensor

from warp_phys.likelihood.stating.noise_arguments import noise_model
from warp_phys.models.estimator import Estimator
from warp_phys.models.heads.head import Head
from warp_phys.models.information.estimator import InformationEstimator
from warp_phys.models.information.options import InformationOptions, location_scale
from warp_phys.models.information.prior.prior import Moments
from warp_phys.models.information.stored import (
    moments_from_json,
    moments_to_json,
    options_to_json,
)
from warp_phys.systems.errors import UsageError
from warp_phys.systems.model.system import System


class Information(Head):
    r"""The hidden state is the information about all unknowns, a matrix and a vector.

    .. math::
        \Lambda_t = \Lambda_{t-1} + J_t^T R^{-1} J_t, \qquad
        \eta_t = \eta_{t-1} + J_t^T R^{-1} (x_t - h_t(z^*) + J_t z^*), \qquad
        z_t = \Lambda_t^{-1} \eta_t

    with the outputs h_t of the physics, their exact sensitivities J_t by the unknowns z at the
    linearization point z*, and the noise R: a linear recurrence with A = 1, started from the prior.
    See `warp_phys.models.information`.
    """

    name = "information"
    trains = False
    drives: ClassVar[tuple[str, ...]] = ()
    default_drive = "difference"
    arguments: ClassVar[tuple[str, ...]] = (
        "priors",
        "start",
        "drift",
        "distribution",
        "loss",
        "noise_sd",
        "initial_state",
        "fixed",
    )

    def __init__(self, start: Any = None, **knowledge: Any) -> None:
        self.start = start
        self.knowledge = InformationOptions(**knowledge)
        self.learned: Moments | None = None

    def check(self, system: System) -> None:
        """Raise UsageError unless the options suit a system."""
        self.knowledge.check(system)
        if self.start is not None and not getattr(self.start, "trained", False):
            raise UsageError(
                f"expected start as a trained model, got {self.start!r}; train it first"
            )
        other = None if self.start is None else self.start.system
        if other is not None and other.parameter_names != system.parameter_names:
            raise UsageError(
                f"expected start as a model of {system.name}, got one of {other.name}, whose "
                "parameters are others"
            )

    def learn(self, found: Moments) -> None:
        """Take the moments of a data set as prior.

        Raises:
            UsageError: The noise of the data set is none that the head can take.
        """
        if self.knowledge.distribution is None:
            location_scale(noise_model(found.noise, self.knowledge.loss))
        self.learned = found

    def stored(self, system: System) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors and plain values that a file stores."""
        header: dict[str, Any] = {"options": options_to_json(self.knowledge, system)}
        if self.learned is None:
            return {}, header
        header["learned"], tensors = moments_to_json(self.learned)
        return tensors, header

    def restore(self, header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take the learned prior from a file."""
        if "learned" in header:
            self.learned = moments_from_json(header["learned"], tensors)

    def estimator(self, system: System, trained: Callable[[], Estimator]) -> Estimator:  # noqa: ARG002 (Head's own)
        """Return the estimator of a system."""
        start = None if self.start is None else self.start.estimator()
        return InformationEstimator(system, self.knowledge, self.learned, start)
