"""The contract every system keeps: inherit `SystemContract` and name the system.

    class TestGasOil(SystemContract):
        system = GasOil()

The systems of the catalog get such a class in `tests/systems/catalog/test_systems.py` by
themselves; one that needs an option, as `stiff` below, has it in a file of its own,
`tests/systems/catalog/test_NAME.py`.
Draws come from the declared ranges and default initial states, so a system that passes can be
simulated, trained and fitted with its defaults.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from warp_phys.systems import System, integrate
from warp_phys.systems.dynamics.arguments import build_problem
from warp_phys.systems.dynamics.stepping.adaptive import solve_adaptive
from warp_phys.systems.dynamics.stepping.choose import solve_stepwise
from warp_phys.systems.model.supports import contains, contains_number

TIGHT = {"rtol": 1e-11, "atol": 1e-13}
# How many trajectories are compared with SciPy and differentiated, which is slow.
FEW = 2


class SystemContract:
    """What is tested of one system; see the module."""

    system: ClassVar[System]

    # Whether explicit methods would need too many steps.
    stiff: ClassVar[bool] = False

    @property
    def tight(self) -> dict[str, float]:
        """Tolerances of what is compared; the implicit methods are of lower order."""
        return {"rtol": 1e-9, "atol": 1e-15} if self.stiff else TIGHT

    def parameters(self, count: int) -> Tensor:
        """Return (count, P) drawn from the ranges."""
        generator = torch.Generator().manual_seed(1)
        columns = []
        for parameter in self.system.parameters:
            unit = torch.rand(count, generator=generator, dtype=torch.float64)
            low, high = parameter.range or (0.0, 0.0)
            fixed = parameter.fixed
            columns.append(low + (high - low) * unit if fixed is None else unit * 0.0 + fixed)
        return torch.stack(columns, dim=1)

    def initial_states(self, parameters: Tensor) -> Tensor:
        """Return (count, S): what the parameters say, or drawn from the default initial state."""
        states = self.system.initial_state_at(parameters.T)
        if states is not None:
            return states.T.contiguous()
        generator = torch.Generator().manual_seed(2)
        columns = []
        for value in self.system.default_initial_state.values():
            low, high = value if isinstance(value, tuple) else (value, value)
            unit = torch.rand(len(parameters), generator=generator, dtype=torch.float64)
            columns.append(low + (high - low) * unit)
        return torch.stack(columns, dim=1)

    def inputs(self, count: int) -> Tensor | None:
        """Return smooth inputs (count, T, I), or None where the system has none."""
        if not self.system.inputs:
            return None
        times = torch.from_numpy(self.times())[:, None]
        waves = torch.sin(times + torch.arange(len(self.system.inputs)))
        return waves.expand(count, -1, -1).contiguous()

    def times(self) -> np.ndarray:
        """Return the default times."""
        return np.asarray(self.system.default_times, dtype=np.float64)

    def problem(
        self, count: int, samples: slice | list[int] = slice(None)
    ) -> tuple[tuple[System, np.ndarray, Tensor, Tensor], dict]:
        """Return the arguments of `integrate` for some draws, at some of the default times."""
        parameters = self.parameters(count)
        states, inputs = self.initial_states(parameters), self.inputs(count)
        options = {"inputs": None if inputs is None else inputs[:, samples]}
        return (self.system, self.times()[samples], states, parameters), options

    def beginning(self) -> slice:
        """Return the first eighth of the samples, for comparisons with slow methods."""
        return slice(len(self.times()) // 8 + 2)

    def point(self, batch: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Return t, y (S, *batch), parameters (P, *batch) and inputs (I, *batch)."""
        count = int(np.prod(batch))
        parameters = self.parameters(count)
        states = self.initial_states(parameters)
        inputs = torch.full((len(self.system.inputs), *batch), 0.7, dtype=torch.float64)
        return (
            torch.full(batch, 0.3, dtype=torch.float64),
            states.T.reshape(-1, *batch),
            parameters.T.reshape(-1, *batch),
            inputs if self.system.inputs else None,
        )

    # What is declared.

    def test_says_what_it_is(self) -> None:
        assert type(self.system).__doc__
        assert self.system.time_unit
        for entry in (*self.system.states, *self.system.outputs, *self.system.parameters):
            assert entry.unit

    def test_ranges_and_initial_states_lie_on_their_supports(self) -> None:
        for parameter in self.system.parameters:
            ends = parameter.range if parameter.fixed is None else (parameter.fixed,)
            assert ends is not None
            assert all(contains_number(end, parameter.support) for end in ends)
        parameters = self.parameters(20)
        for values, state in zip(
            self.initial_states(parameters).T, self.system.states, strict=True
        ):
            assert contains(values, state.support).all()

    def test_repr_shows_names_units_and_ranges(self) -> None:
        text = repr(self.system)
        assert type(self.system).__name__ in text
        assert self.system.time_unit in text
        for entry in (*self.system.states, *self.system.inputs, *self.system.parameters):
            assert entry.name in text
            assert entry.unit in text
        for parameter in self.system.parameters:
            ends = parameter.range if parameter.fixed is None else (parameter.fixed,)
            assert all(f"{end:g}" in text for end in ends or ())

    # What is computed at a point.

    def test_any_batch_shape_gives_the_same_values(self) -> None:
        expected = self.system.derivative(*self.point((6,)))
        outputs = self.system.outputs_at(*self.point((6,)))
        assert expected.shape == (len(self.system.states), 6)
        assert outputs.shape == (len(self.system.outputs), 6)
        folded = self.system.derivative(*self.point((2, 3)))
        torch.testing.assert_close(folded.reshape(-1, 6), expected, rtol=1e-14, atol=1e-14)
        folded = self.system.outputs_at(*self.point((2, 3)))
        torch.testing.assert_close(folded.reshape(-1, 6), outputs, rtol=1e-14, atol=1e-14)
        t, y, parameters, inputs = self.point((6,))
        single = self.system.derivative(
            t[0], y[:, 0], parameters[:, 0], None if inputs is None else inputs[:, 0]
        )
        torch.testing.assert_close(single, expected[:, 0], rtol=1e-14, atol=1e-14)

    def test_single_precision_stays(self) -> None:
        t, y, parameters, inputs = self.point((4,))
        singles = [value.float() for value in (t, y, parameters)]
        few = None if inputs is None else inputs.float()
        assert self.system.derivative(*singles, few).dtype == torch.float32
        assert self.system.outputs_at(*singles, few).dtype == torch.float32
        if self.system.has_solution:
            assert self.system.solution_at(*singles).dtype == torch.float32

    def test_gradients_of_the_right_hand_side(self) -> None:
        t, y, parameters, inputs = self.point((FEW,))
        assert torch.autograd.gradcheck(
            lambda states, values: self.system.derivative(t, states, values, inputs),
            (y.requires_grad_(), parameters.requires_grad_()),
        )

    def test_linear_form_is_the_right_hand_side(self) -> None:
        if self.system.affine_form is None:
            assert self.system.affine_terms(*self.point((6,))) is None
            return
        t, y, parameters, inputs = self.point((6,))
        terms = self.system.affine_terms(t, y, parameters, inputs)
        assert terms is not None
        q = self.system.coordinates_from_parameters(parameters)
        plane = terms[0] + (terms[1] * q).sum(dim=1)
        expected = self.system.derivative(t, y, parameters, inputs)
        torch.testing.assert_close(plane, expected, rtol=1e-12, atol=1e-12)

    def test_coordinates_lead_back_to_the_parameters(self) -> None:
        if self.system.affine_form is None:
            return
        parameters = self.point((6,))[2]
        q = self.system.coordinates_from_parameters(parameters)
        back = self.system.parameters_from_coordinates(q, parameters)
        known = ~back.isnan()
        torch.testing.assert_close(back[known], parameters[known], rtol=1e-12, atol=0.0)

    # What is computed along trajectories.

    def test_defaults_can_be_integrated(self) -> None:
        arguments, options = self.problem(50)
        solution = integrate(*arguments, **options)
        assert solution.converged.all(), repr(solution)
        assert solution.states.isfinite().all()
        assert (solution.error_estimate < 1e-3).all()

    def test_agrees_with_scipy(self) -> None:
        if self.system.has_solution:  # which is a better reference, see the next test
            return
        arguments, options = self.problem(FEW, self.beginning())
        methods = ("rodas5p", "scipy-stiff") if self.stiff else ("dop853", "scipy")
        ours, scipy = (
            integrate(*arguments, **options, **self.tight, method=method).states
            for method in methods
        )
        scale = scipy.abs().amax(dim=1, keepdim=True)
        assert ((ours - scipy).abs() <= 1e3 * self.tight["rtol"] * scale).all()

    def test_closed_form_solves_the_equations(self) -> None:
        if not self.system.has_solution:
            return
        arguments, options = self.problem(10)
        closed = integrate(*arguments, **options, method="solution")
        numeric = integrate(*arguments, **options, **TIGHT, method="dop853").states
        scale = numeric.abs().amax(dim=1, keepdim=True)
        assert ((closed.states - numeric).abs() <= 1e-9 * scale).all()
        assert (closed.error_estimate == 0.0).all()

    def test_invariants_are_constant(self) -> None:
        arguments, options = self.problem(FEW)
        _, times, _, parameters = arguments
        states = integrate(*arguments, **options, **self.tight).states.permute(2, 0, 1)
        inputs = options["inputs"]
        p = self.system.namespace(
            parameters.T[:, :, None], None if inputs is None else inputs.permute(2, 0, 1)
        )
        for values in self.system.invariants(torch.from_numpy(times), states, p).values():
            drift = (values - values[:, :1]).abs()
            assert (drift <= 1e-8 * values.abs().amax(dim=1, keepdim=True)).all()

    def test_alone_and_in_a_batch(self) -> None:
        (system, times, states, parameters), options = self.problem(37)
        together = integrate(system, times, states, parameters, **options)
        for index in (0, 5, 36):
            row = slice(index, index + 1)
            inputs = options["inputs"]
            alone = integrate(
                system,
                times,
                states[row],
                parameters[row],
                inputs=None if inputs is None else inputs[row],
            )
            torch.testing.assert_close(
                alone.states[0], together.states[index], rtol=1e-12, atol=0.0
            )
            torch.testing.assert_close(
                alone.error_estimate[0], together.error_estimate[index], rtol=1e-12, atol=0.0
            )

    def test_compiled_code_gives_what_torch_gives(self) -> None:
        (system, times, states, parameters), options = self.problem(FEW + 1, self.beginning())
        problem = build_problem(
            system,
            times,
            states,
            parameters,
            inputs=options["inputs"],
            input_times=None,
            doses=(),
            initial_time=None,
            rtol=1e-8,
            atol=1e-10,
            max_steps=100_000,
        )
        method = "rodas5p" if self.stiff else "dop853"
        compiled, torchs = solve_stepwise(problem, method), solve_adaptive(problem, method)
        assert compiled.status.tolist() == torchs.status.tolist()
        scale = torchs.states.abs().amax(dim=1, keepdim=True)
        gap = ((compiled.states - torchs.states).abs() / scale).nan_to_num().amax(dim=(1, 2))
        # Rounding may turn a decision about a step; then the results differ as their errors do.
        assert float(gap.min()) < 1e-12
        assert (gap <= (4.0 * torchs.error_estimate).clamp(min=1e-12)).all()

    def test_gradients_of_the_closed_form(self) -> None:
        if not self.system.has_solution:
            return
        samples = [0, 1, len(self.times()) // 8 + 1]
        (system, times, states, parameters), options = self.problem(FEW, samples)
        assert torch.autograd.gradcheck(
            lambda *given: integrate(system, times, *given, **options, method="solution").states,
            (states.requires_grad_(), parameters.requires_grad_()),
            rtol=1e-4,
        )
