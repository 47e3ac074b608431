"""WarpPhys: the parameters of a physical model as the hidden state of a linear recurrence."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from warp_phys.models.choices import Choices, choose, restore
from warp_phys.models.coordinates import Coordinate, Coordinates
from warp_phys.models.drives.drive import Drive
from warp_phys.models.estimator import Estimator, Memory, StreamEstimate
from warp_phys.models.files import find_system, load_weights, read_model, write_model
from warp_phys.models.heads.head import Head
from warp_phys.models.heads.information import Information
from warp_phys.models.information.estimator import KEEP, InformationEstimator
from warp_phys.models.information.stored import options_from_json
from warp_phys.models.network import Network
from warp_phys.models.roots import check_root
from warp_phys.models.settings import Settings
from warp_phys.models.streaming import check_start, checked_inputs, checked_sample
from warp_phys.models.trained import TrainedEstimator
from warp_phys.models.training_facts import TrainingFacts
from warp_phys.recurrence.transitions.transition import Transition
from warp_phys.systems.catalog.registry import as_system
from warp_phys.systems.errors import UsageError
from warp_phys.systems.model.system import System
from warp_phys.systems.noise.noise import Noise

# Before the names of the tensors of a model that another one starts from.
_START = "start."


class WarpPhys(nn.Module):
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
            tried as points of linearization.
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
        return "step" if observed else "rollout"

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

    def init_state(
        self,
        sensors: int = 1,
        *,
        dtype: torch.dtype = torch.float64,
        keep: int | None = None,
        outputs: Sequence[str] | None = None,
    ) -> Memory:
        """Return the memory of sensors before their first sample; its size is bounded.

        The memory of the information head can be saved, `state.save("sensors.safetensors")`, and
        goes on where it was with `model.init_state(sensors).restored("sensors.safetensors")`.

        Args:
            sensors: The number of sensors.
            dtype: The dtype of the steps. With torch.float32 they take about half the time and
                the memory half the space; estimates then differ from those of `estimate` in the
                sixth or seventh digit. The information head and the regression head have
                torch.float64 alone.
            keep: Of the information head: how many samples of each sensor are kept, 1024 by
                default. What older ones said stays in the information alone, which is not
                linearized anew.
            outputs: Of the information head: the outputs that the sensors measure, all by default.

        Raises:
            UsageError: An argument is invalid, or has no effect with this head.
        """
        check_start(sensors, dtype)
        estimator = self.estimator()
        if isinstance(estimator, InformationEstimator):
            return estimator.begin(sensors, dtype, KEEP if keep is None else keep, outputs)
        for name, value in (("keep", keep), ("outputs", outputs)):
            if value is not None:
                raise UsageError(
                    f"expected no {name} with head={self.choices.head.name!r}, which keeps no "
                    f"samples and reads the outputs it was made for, got {value!r}; leave it out"
                )
        return estimator.start(sensors, dtype)

    @torch.no_grad()
    def step(
        self, state: Any, times: Any, observed: Any, inputs: Any = None
    ) -> tuple[Memory, StreamEstimate]:
        """Process one new sample of every sensor.

        Args:
            state: From `init_state` or the last step.
            times: (N,) or a number, in the system's time unit.
            observed: (N, O), NaN where missing, in the order the model was trained on, or else that
                of `init_state`.
            inputs: (N, I), where the system has inputs.

        Returns:
            The new memory, and the estimate at this sample: what `estimate` gives for the record
            so far.

        Example:
            >>> from warp_phys.systems import LotkaVolterra
            >>> model = WarpPhys(LotkaVolterra(), head="regression")
            >>> state = model.init_state()
            >>> for time, prey, predator in [(0, 10, 5), (0.1, 10.2, 5.1), (0.2, 10.5, 5.2)]:
            ...     state, now = model.step(state, time, [[prey, predator]])
            >>> now.parameters.shape
            torch.Size([1, 4])
        """
        clock, values = checked_sample(state, times, observed)
        known = checked_inputs(self.system, len(clock), inputs)
        return self.estimator().step(state, clock, values, known)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the model as safetensors with a JSON header.

        Priors of the information head are stored as their moments in unconstrained coordinates.

        Raises:
            UsageError: The model is not trained, or the name does not end in .safetensors.
            OutputExistsError: The file exists and `overwrite` is off.
        """
        tensors, header = self._stored()
        write_model(path, tensors, header, overwrite=overwrite)

    def _stored(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors and the header of a file."""
        header: dict[str, Any] = {
            "kind": "WarpPhys",
            "system": self.system.name,
            "system_options": self.system.options,
            "parameters": list(self.system.parameter_names),
            "settings": self.settings.to_json(),
        }
        if isinstance(self.choices.head, Information):
            tensors, header["head"] = self.choices.head.stored(self.system)
            if self.choices.head.start is not None:
                nested, header["start"] = self.choices.head.start._stored()
                tensors |= {f"{_START}{name}": tensor for name, tensor in nested.items()}
            return tensors, header
        network, facts = self.built()
        header |= {"facts": facts.to_json(), "coordinates": network.coordinates.to_json()}
        return network.state_dict(), header

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        system: System | None = None,
        head: Head | None = None,
        drive: Drive | None = None,
        structure: type[Transition] | None = None,
    ) -> WarpPhys:
        """Read a model written by `save`; nothing in the file is executed.

        Args:
            path: The file.
            system: Needed for a system of the user's own: the file holds its name, not its code.
            head: Needed for a head of the user's own, made as it was for training.
            drive: Needed for a drive of the user's own, made as it was for training.
            structure: Needed for a structure of the user's own.

        Raises:
            SchemaError: The file is not a model of this class, or of another system, head, drive
                or structure.
        """
        tensors, header = read_model(path, "WarpPhys")
        own = {"head": head, "drive": drive, "structure": structure}
        return cls._restored(tensors, header, find_system(header, system, path), path, own)

    @classmethod
    def _restored(
        cls,
        tensors: Mapping[str, Tensor],
        header: Mapping[str, Any],
        known: System,
        path: str | os.PathLike[str],
        own: Mapping[str, Any],
    ) -> WarpPhys:
        """Return the model of a file, from its tensors and its header."""
        model, name = cls(known), Path(path).name
        if "head" in header:
            arguments = options_from_json(header["head"]["options"])
            if "start" in header:
                inner = {
                    key.removeprefix(_START): tensor
                    for key, tensor in tensors.items()
                    if key.startswith(_START)
                }
                arguments["start"] = cls._restored(inner, header["start"], known, path, own)
            model._set_up(known, restore(header["settings"], name, arguments))
            if isinstance(model.choices.head, Information):
                model.choices.head.restore(header["head"], tensors)
            return model
        model._set_up(known, restore(header["settings"], name, **own))
        facts = TrainingFacts.from_json(header["facts"])
        entries = [Coordinate.from_json(entry) for entry in header["coordinates"]]
        network = model.build(facts, Coordinates(known, entries, len(facts.outputs)), seed=0)
        network.for_inference()
        load_weights(network, tensors, path)
        return model

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
