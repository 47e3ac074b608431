"""Roots: outputs from unknowns, against SciPy and the systems' own integration."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

import warp_phys as wp
from tests.warp_phys.user_systems import DrivenOscillator
from warp_phys.data_gen import simulate
from warp_phys.models.coordinates import Physical
from warp_phys.models.roots import predict, rollout
from warp_phys.records.records import Records, read_records
from warp_phys.systems import (
    LotkaVolterra,
    MassSpringDamper,
    Pendulum,
    System,
    UsageError,
    integrate,
)
from warp_phys.training.losses import reconstruction_loss

TIGHT = {"rtol": 1e-11, "atol": 1e-12}
COUNT, LENGTH = 3, 7


def uneven(start: float = 0.0) -> np.ndarray:
    random = np.random.Generator(np.random.Philox(key=0))
    return start + np.cumsum(random.uniform(0.05, 0.6, (COUNT, LENGTH)), axis=1)


def simulated(system: System, *, start: float = 0.0, **options: Any) -> Records:
    data = simulate(system, n=COUNT, times=uneven(start), noise=0.1, seed=1, **options)
    return read_records(data, system)


def unknowns(system: System) -> Physical:
    """Return other parameters and initial states at every sample, (N, T, ...)."""
    random = np.random.Generator(np.random.Philox(key=2))

    def drawn(low: float, high: float) -> np.ndarray:
        return random.uniform(low, high, (COUNT, LENGTH))

    parameters = [
        drawn(*(p.range if p.fixed is None else (p.fixed,) * 2)) for p in system.parameters
    ]
    starts = [system.default_initial_state[name] for name in system.state_names]
    states = [drawn(*(np.ravel(value)[[0, -1]] * [0.9, 1.1])) for value in starts]
    return Physical(
        torch.as_tensor(np.stack(parameters, axis=-1)),
        torch.as_tensor(np.stack(states, axis=-1)),
        torch.zeros(COUNT, LENGTH, len(system.outputs), dtype=torch.float64),
    )


def by_scipy(
    system: System, start: float, end: float, state: Tensor, parameters: Tensor, force: Any = None
) -> np.ndarray:
    """Return the state at `end` of one flow; `force` is a function of time."""

    def rhs(t: float, y: np.ndarray) -> np.ndarray:
        inputs = None if force is None else torch.tensor([force(t)], dtype=torch.float64)
        return system.derivative(t, torch.as_tensor(y), parameters, inputs).numpy()

    if end == start:
        return state.numpy()
    # Small steps where the input has a kink at every sample.
    step = np.inf if force is None else 0.005
    solved = solve_ivp(rhs, (start, end), state, "DOP853", rtol=1e-12, atol=1e-12, max_step=step)
    return np.asarray(solved.y[:, -1])


class TestFromTheInitialState:
    @pytest.mark.parametrize("start", [0.0, 1900.0])
    @pytest.mark.parametrize("root", ["solution", "rollout"])
    def test_each_sample_from_its_own_unknowns(self, root: str, start: float) -> None:
        system = MassSpringDamper()
        part, guess = simulated(system, start=start), unknowns(system)
        method = {"method": "solution" if root == "solution" else "dop853", **TIGHT}
        found = predict(system, root, part, guess, **method)
        for row in range(COUNT):
            for place in range(LENGTH):
                elapsed = part.times[row, place] - part.times[row, 0]
                state = guess.initial_state[row, place]
                expected = system.solution_at(elapsed, state, guess.parameters[row, place])
                np.testing.assert_allclose(found[row, place], expected, rtol=1e-8, atol=1e-9)

    def test_a_partly_observed_system(self) -> None:
        system = Pendulum()
        part, guess = simulated(system, observe=["angle"]), unknowns(system)
        found = predict(system, "rollout", part, guess, **TIGHT)
        assert found.shape == (COUNT, LENGTH, 1)
        for row, place in ((0, 0), (1, 3), (2, 6)):
            begin, end = (float(part.times[row, p]) for p in (0, place))
            state, parameters = guess.initial_state[row, place], guess.parameters[row, place]
            expected = by_scipy(system, begin, end, state, parameters)
            np.testing.assert_allclose(found[row, place], expected[:1], rtol=1e-8)

    def test_rollout_from_one_set_of_unknowns(self) -> None:
        system = LotkaVolterra()
        part, guess = simulated(system, start=1900.0), unknowns(system)
        frozen = Physical(*(value[:, 4] for value in vars(guess).values()))
        found = rollout(system, part, frozen, **TIGHT)
        states = integrate(
            system, part.times, frozen.initial_state, frozen.parameters, **TIGHT
        ).states
        torch.testing.assert_close(found, states, rtol=1e-10, atol=1e-10)

    def test_a_driven_system_feels_the_whole_input(self) -> None:
        system = DrivenOscillator()
        force = np.random.Generator(np.random.Philox(key=3)).normal(size=(COUNT, LENGTH))
        part, guess = simulated(system, inputs={"force": force}), unknowns(system)
        found = predict(system, "rollout", part, guess, **TIGHT)
        for row, place in ((0, 0), (1, 3), (2, 6)):
            times = part.times[row].numpy()
            expected = by_scipy(
                system,
                times[0],
                times[place],
                guess.initial_state[row, place],
                guess.parameters[row, place],
                lambda t, row=row, times=times: np.interp(t, times, force[row]),
            )
            np.testing.assert_allclose(found[row, place], expected, rtol=1e-7, atol=1e-8)


class TestStep:
    @pytest.mark.parametrize("start", [0.0, 1900.0])
    def test_from_the_last_complete_sample_before(self, start: float) -> None:
        system = LotkaVolterra()
        part, guess = simulated(system, start=start), unknowns(system)
        # A gap of two samples; one output missing is a gap as well; nothing at first.
        part.observed[0, 2] = torch.nan
        part.observed[0, 3, 1] = torch.nan
        part.observed[1, 0] = torch.nan
        sources = {(0, 0): None, (0, 1): 0, (0, 2): 1, (0, 3): 1, (0, 4): 1, (0, 5): 4}
        sources |= {(1, 0): None, (1, 1): None, (1, 2): 1, (2, 6): 5}
        found = predict(system, "step", part, guess, **TIGHT)
        assert found.isfinite().all()
        for (row, place), source in sources.items():
            initial = source is None
            state = guess.initial_state[row, place] if initial else part.observed[row, source]
            begin, end = (float(part.times[row, p]) for p in (source or 0, place))
            expected = by_scipy(system, begin, end, state, guess.parameters[row, place])
            np.testing.assert_allclose(found[row, place], expected, rtol=1e-8)

    def test_outputs_in_another_order(self) -> None:
        system = LotkaVolterra()
        guess = unknowns(system)
        data = simulate(system, n=COUNT, times=uneven(), noise=0.1, seed=1)
        plain = predict(system, "step", read_records(data, system), guess, **TIGHT)
        turned = read_records(data, system, ("predator", "prey"))
        found = predict(system, "step", turned, guess, **TIGHT)
        assert torch.equal(found, plain.flip(-1))

    def test_a_driven_system_passes_the_inputs_inside_a_gap(self) -> None:
        system = DrivenOscillator()
        force = np.random.Generator(np.random.Philox(key=3)).normal(size=(COUNT, LENGTH))
        part, guess = simulated(system, inputs={"force": force}), unknowns(system)
        part.observed[0, 2:4] = torch.nan
        part.observed[1, :2] = torch.nan
        found = predict(system, "step", part, guess, **TIGHT)
        for row, place, source in ((0, 1, 0), (0, 4, 1), (1, 0, None), (1, 2, None), (2, 6, 5)):
            times = part.times[row].numpy()
            initial = source is None
            expected = by_scipy(
                system,
                times[source or 0],
                times[place],
                guess.initial_state[row, place] if initial else part.observed[row, source],
                guess.parameters[row, place],
                lambda t, row=row, times=times: np.interp(t, times, force[row]),
            )
            np.testing.assert_allclose(found[row, place], expected, rtol=1e-7, atol=1e-8)

    def test_a_partly_observed_system_is_refused(self) -> None:
        system = LotkaVolterra()
        part = simulated(system, observe=["prey"])
        with pytest.raises(
            UsageError, match="needs every state of lotka_volterra observed, got prey"
        ):
            predict(system, "step", part, unknowns(system))


class TestWhatCannotBePredicted:
    @pytest.mark.parametrize("root", ["step", "rollout"])
    def test_padding_and_unknown_parameters_stay_empty(self, root: str) -> None:
        system = LotkaVolterra()
        part, guess = simulated(system), unknowns(system)
        part.times[0, 5:], part.observed[0, 5:] = torch.nan, torch.nan
        guess.parameters[1, 2, 0] = torch.nan
        guess.parameters[2, 1, 3] = -0.1  # outside its support
        found = predict(system, root, part, guess, **TIGHT).isnan().all(dim=-1)
        assert found.nonzero().tolist() == [[0, 5], [0, 6], [1, 2], [2, 1]]

    def test_nothing_at_all(self) -> None:
        system = LotkaVolterra()
        guess = unknowns(system)
        guess.parameters.fill_(torch.nan)
        assert predict(system, "step", simulated(system), guess).isnan().all()


class TestGradients:
    @pytest.mark.parametrize("root", ["step", "rollout"])
    @pytest.mark.parametrize("system", [LotkaVolterra(), DrivenOscillator()])
    def test_against_differences(self, system: System, root: str) -> None:
        inputs = {"force": 0.3} if system.inputs else None
        part, guess = simulated(system, inputs=inputs).select(slice(1)), unknowns(system)
        short = {name: vars(part)[name][:, :3] for name in ("observed", "times", "inputs")}
        few = Records(**{**vars(part), **short})
        parameters = guess.parameters[:1, :3].requires_grad_()
        states = guess.initial_state[:1, :3].requires_grad_()

        def outputs(p: Tensor, y: Tensor) -> Tensor:
            at = Physical(p, y, guess.noise_sd[:1, :3])
            return predict(system, root, few, at, method="rk4", substeps=2)

        assert torch.autograd.gradcheck(outputs, (parameters, states), rtol=1e-4)

    @pytest.mark.parametrize("root", ["step", "rollout"])
    def test_training_survives_wild_records(self, root: str) -> None:
        """Unknowns that send the flow to infinity cost much, and poison no gradient."""
        times = np.linspace(0.0, 20.0, 21)
        data = simulate("lotka_volterra", n=110, times=times, noise=0.1, missing=0.1, seed=0)
        model = wp.WarpPhys("lotka_volterra", head="direct", root=root, window=3, width=8)
        wp.train(model, data, data, steps=1, progress=False)
        network, _ = model.built()
        part = read_records(data, model.system).select(slice(40))
        generator = torch.Generator().manual_seed(0)
        shape = (40, 21, len(network.coordinates))
        line = 0.5 * torch.randn(shape, generator=generator, dtype=torch.float64)
        line[::2] *= 20.0
        line.requires_grad_()
        loss = reconstruction_loss(model, part, network.coordinates.decode(line), place=10)
        loss.backward()
        assert loss.isfinite()
        assert line.grad is not None
        assert line.grad.isfinite().all()
        # Those that stay finite still learn, and learn the same as without the wild ones.
        assert (line.grad[1::2].abs().sum(dim=(1, 2)) > 0).all()
        tame = line.detach()[1::2].requires_grad_()
        few = part.select(torch.arange(1, 40, 2))
        reconstruction_loss(model, few, network.coordinates.decode(tame), place=10).backward()
        assert tame.grad is not None
        share = float(few.seen.sum() / part.seen.sum())
        torch.testing.assert_close(line.grad[1::2], share * tame.grad, rtol=1e-6, atol=1e-12)

    def test_float32_unknowns_keep_late_times_apart(self) -> None:
        system = LotkaVolterra()
        guess = unknowns(system)
        single = Physical(*(value.float() for value in vars(guess).values()))
        plain = simulated(system)
        late = Records(**{**vars(plain), "times": plain.times + 2.0**30})
        one = predict(system, "step", plain, single, method="rk4")
        other = predict(system, "step", late, single, method="rk4")
        torch.testing.assert_close(one, other, rtol=1e-6, atol=0.0)
