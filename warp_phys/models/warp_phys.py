"""WarpPhys: the parameters of a physical model as the hidden state of a linear recurrence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from warp_phys.models.choices import Choices, choose
from warp_phys.models.coordinates import Coordinates
from warp_phys.models.drives.drive import Drive
from warp_phys.models.estimator import Estimator
from warp_phys.models.heads.head import Head
from warp_phys.models.network import Network
from warp_phys.models.roots import check_root
from warp_phys.models.settings import Settings
from warp_phys.models.stored_model import StoredModel
from warp_phys.models.streamed_model import StreamedModel
from warp_phys.models.trained import TrainedEstimator
from warp_phys.models.training_facts import TrainingFacts
from warp_phys.recurrence.transitions.transition import Transition
from warp_phys.systems.catalog.registry import as_system
from warp_phys.systems.errors import UsageError
from warp_phys.systems.model.system import System
from warp_phys.systems.noise.noise import Noise


class WarpPhys(StreamedModel, StoredModel):
    r"""Estimation of the parameters of a physical model, at every sample.

    .. math::
        \theta_t = A \theta_{t-1} + B u_t, \qquad y_t = f(\tau_t; \theta_t)

    The `head` defines the meaning of the hidden state theta_t, the `drive` defines the input u_t,
    and f is the system: its closed form, or its flow. `estimate`, `forecast` and `step` read
    records without any gradient descent.

    With the default head, "information", the hidden state is what is known about the unknowns z
    (free parameters, unknown initial states), in unconstrained coordinates: the information matrix
    and vector

    .. math::
        \Lambda_t = \Lambda_{t-1} + J_t^T R^{-1} J_t, \qquad
        \eta_t = \eta_{t-1} + J_t^T R^{-1} (x_t - h_t(z^*) + J_t z^*), \qquad
        z_t = \Lambda_t^{-1} \eta_t,

    a linear recurrence with A = 1 from the prior, driven by the samples x_t through the exact
    sensitivities J_t of the physics. At growing marks the whole record so far is linearized anew,
    at the optimum z*. It needs no training. For the other heads `train` fits A, B and theta_0 to
    simulated records.

    Args:
        system: The physical model, or the name of a shipped one.
        head: The meaning of theta_t. "information": see above. "direct": the unknowns in
            unconstrained coordinates, with their scales and couplings. "weights": the weights of a
            small network of time that emits them, as in the paper. "regression": running sums of
            least squares on the weak form, which needs no training. "readout": a linear state read
            by a fixed network (a control). Or an object of a subclass of `Head`.
        drive: The name of a drive, such as "difference", "raw" or "features" (learned, of the last
            `window` samples), or an object of a subclass of `Drive`; by default features for direct
            and readout, difference for weights. The regression head takes "difference" (the
            default), or "log_difference": of the logarithms of the states whose support is
            "positive", for records whose noise is small compared with every sample. A sample where
            such a state is zero or less then counts as missing, with all its outputs.
        structure: Structure of A: "identity", "identity_low_rank", "diagonal", "complex", "dense"
            or "low_rank", or a subclass of `Transition`.
        rank: Rank of a low-rank A.
        initial: theta_0 from the "first_sample" or "learned" and shared.
        root: How outputs are predicted. "solution": closed form from the estimated initial state.
            "step": one interval from the previous observed state. "rollout": the flow from the
            estimated initial state. "auto": closed form where there is one, otherwise a step where
            all states are observed, otherwise a rollout.
        window: Number of samples that the features depend on.
        width: Hidden width of the features, of the initial state's network and of the read-out.
        root_width: Hidden width of the network whose weights are the state.
        state_size: Size of the state of the read-out control.
        forgetting: Weight of a sample relative to the next in the regression head, in (0, 1].
        dtype: Dtype of the trained tensors, "float32" or "float64".
        priors: Of the information head: distributions by parameter, initial state ("prey(0)") or
            noise level ("noise_sd", or "noise_sd(prey)" of one output), such as
            `{"alpha": truncated_normal(1.0, 0.5)}`; of `warp_phys.data_gen`, SciPy or torch, or
            ranges (low, high). A normal distribution of the same moments in unconstrained
            coordinates takes their place. By default the system's ranges, or the moments of a data
            set, see `train`.
        start: Of the information head: a trained model of the same system, whose estimates are
            tried as points of linearization at the first marks, in place of points of the prior.
        drift: Of the information head: parameters that change, with the size of the random walk of
            the coordinate for each square root of the time unit, such as `{"alpha": 0.02}`.
            Parameters and states are then those at each sample.
        distribution: Of the information head: the noise model, see `fit`.
        loss: Of the information head: "linear" or "huber", for which outliers count less.
        noise_sd: Of the information head: "each" output has an unknown level, "common", or known
            levels, see `fit`.
        initial_state: Of the information head: which initial states are known, see `fit`.
        fixed: Of the information head: known parameters, numbers or one for each trajectory.

    Raises:
        UsageError: A choice is unknown, does not fit the system, or has no effect in this model.

    References:
        Nzoyem et al., Weight-space linear recurrent neural networks, arXiv 2506.01153, eq. 1.

    Example:
        >>> WarpPhys("pendulum")
        WarpPhys(pendulum, head=information, nothing to train)
        >>> WarpPhys("pendulum", head="direct")
        WarpPhys(pendulum, head=direct, drive=features, structure=diagonal, not trained yet)
    """

    def __init__(
        self,
        system: System | str,
        head: str | Head = "information",
        drive: str | Drive | None = None,
        *,
        structure: str | type[Transition] | None = None,
        rank: int | None = None,
        initial: str | None = None,
        root: str | None = None,
        window: int | None = None,
        width: int | None = None,
        root_width: int | None = None,
        state_size: int | None = None,
        forgetting: float | None = None,
        dtype: str | None = None,
        priors: Mapping[str, Any] | None = None,
        start: WarpPhys | None = None,
        drift: Mapping[str, float] | None = None,
        distribution: Noise | str | None = None,
        loss: str | None = None,
        noise_sd: Any = None,
        initial_state: Any = None,
        fixed: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        choices = choose(
            arguments={
                "priors": priors,
                "start": start,
                "drift": drift,
                "distribution": distribution,
                "loss": loss,
                "noise_sd": noise_sd,
                "initial_state": initial_state,
                "fixed": fixed,
            },
            head=head,
            drive=drive,
            structure=structure,
            rank=rank,
            initial=initial,
            root=root,
            window=window,
            width=width,
            root_width=root_width,
            state_size=state_size,
            forgetting=forgetting,
            dtype=dtype,
        )
        self._set_up(as_system(system), choices)

    def _set_up(self, system: System, choices: Choices) -> None:
        start = getattr(choices.head, "start", None)
        if start is not None and not isinstance(start, WarpPhys):
            raise UsageError(
                f"expected start as a trained WarpPhys model of {system.name}, got {start!r}"
            )
        choices.head.check(system)
        check_root(system, choices.settings.root)
        choices.check_sizes(len(system.output_names), len(system.inputs))
        self.system = system
        self.choices = choices
        self.network: Network | None = None
        self.facts: TrainingFacts | None = None
        self._estimator: Estimator | None = None

    @property
    def settings(self) -> Settings:
        """The model's choices as plain values."""
        return self.choices.settings

    @property
    def trained(self) -> bool:
        """Whether the model can estimate; always, where the head has nothing to train."""
        return not self.choices.head.trains or self.facts is not None

    @property
    def root(self) -> str:
        """How outputs are predicted: "solution", "step" or "rollout"."""
        if self.settings.root != "auto":
            return self.settings.root
        if self.system.has_solution:
            return "solution"
        outputs = self.system.output_names if self.facts is None else self.facts.outputs
        observed = self.system.observes_all_states and len(outputs) == len(self.system.states)
        return "step" if observed and not self.system.events else "rollout"

    def build(self, facts: TrainingFacts, coordinates: Coordinates, *, seed: int) -> Network:
        """Make the network for what the training data hold, drawn from the seed.

        Raises:
            UsageError: The head has nothing to train.
        """
        self.discard()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = Network(
                self.choices,
                coordinates,
                len(facts.outputs),
                len(self.system.inputs),
                logarithmic=facts.distribution == "lognormal",
            )
        self.facts = facts
        return self.network

    def discard(self) -> None:
        """Discard the network and everything learned."""
        self.network = self.facts = self._estimator = None

    def estimator(self) -> Estimator:
        """Return the estimator: the trained network, or the head where nothing is trained.

        Raises:
            UsageError: The model is not trained yet.
        """
        if self._estimator is None:
            self._estimator = self.choices.head.estimator(self.system, self._trained_estimator)
        return self._estimator

    def _trained_estimator(self) -> Estimator:
        network, facts = self.built()
        return TrainedEstimator(self.system, self.root, network, facts)

    def built(self) -> tuple[Network, TrainingFacts]:
        """Return network and facts, or raise UsageError if there are none yet."""
        if self.network is None or self.facts is None:
            raise UsageError(
                f"the model of {self.system.name} is not trained yet; call "
                "train(model, data) with data from simulate, or load one with WarpPhys.load"
            )
        return self.network, self.facts

    def __repr__(self) -> str:
        chosen = self.settings
        parts = [self.system.name, f"head={chosen.head}"]
        if self.choices.head.drives != ():
            parts += [f"drive={chosen.drive}", f"structure={chosen.structure}"]
        state = "not trained yet" if self.choices.head.trains else "nothing to train"
        learned = getattr(self.choices.head, "learned", None)
        if learned is not None:
            state = f"prior of {learned.trajectories} records"
        if self.facts is not None:
            state = f"trained on {self.facts.trajectories} records"
        return f"WarpPhys({', '.join([*parts, state])})"
