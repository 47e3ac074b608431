"""The noise models of the package, and two of a user's own, keep the contract."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.systems.noise.contract import NoiseContract
from tests.systems.noise.poisson import Poisson as UsersPoisson
from tests.systems.noise.student_t import StudentT as UsersStudentT
from warp_phys.systems import Noise, noise_names
from warp_phys.systems.errors import UnknownNameError, UsageError
from warp_phys.systems.noise.distributions.additive_proportional import AdditiveProportional
from warp_phys.systems.noise.distributions.binomial import Binomial
from warp_phys.systems.noise.distributions.negative_binomial import NegativeBinomial
from warp_phys.systems.noise.distributions.student_t import StudentT
from warp_phys.systems.noise.huber import BEND, Huber
from warp_phys.systems.noise.location_scale import LocationScale, NormalErrors, SquaredLoss
from warp_phys.systems.noise.noise import DEFINED
from warp_phys.systems.noise.registry import as_noise, noise_of


class TestNormal(NoiseContract):
    noise = as_noise("normal")


class TestLogNormal(NoiseContract):
    noise = as_noise("lognormal")


class TestHuber(NoiseContract):
    noise = Huber(as_noise("normal"))  # type: ignore[arg-type]


class TestHuberOfLogarithms(NoiseContract):
    noise = Huber(as_noise("lognormal"))  # type: ignore[arg-type]


class TestStudentT(NoiseContract):
    noise = StudentT(4.0)


class TestCauchy(NoiseContract):
    noise = StudentT(1.0)


class TestUsersStudentT(NoiseContract):
    noise = UsersStudentT(4.0)


class TestPoisson(NoiseContract):
    noise = as_noise("poisson")
    counts = np.arange(60.0)


class TestUsersPoisson(NoiseContract):
    noise = UsersPoisson()
    counts = np.arange(60.0)


class TestNegativeBinomial(NoiseContract):
    noise = NegativeBinomial(0.4)
    counts = np.arange(400.0)
    # It has no closed form; see `NegativeBinomial.own_information`.
    own_tolerance = 0.6


class TestNearlyPoisson(NoiseContract):
    noise = NegativeBinomial(1e-6)
    counts = np.arange(60.0)
    own_tolerance = 1e-3
    own_step = 1e-2


class TestBinomial(NoiseContract):
    noise = Binomial(12)
    counts = np.arange(13.0)


class TestAdditiveProportional(NoiseContract):
    noise = AdditiveProportional(0.2)


class TestRegistry:
    def test_every_file_holds_the_model_of_its_name(self) -> None:
        for name in noise_names():
            kind = DEFINED[name]
            assert kind.name == name
            assert kind.__module__.endswith(f".distributions.{name}")

    def test_every_model_is_tested(self) -> None:
        contracts = [value for value in globals().values() if isinstance(value, type)]
        tested = {
            type(value.noise)
            for value in contracts
            if issubclass(value, NoiseContract) and hasattr(value, "noise")
        }
        missing = [name for name in noise_names() if DEFINED[name] not in tested]
        assert not missing, f"write a class that inherits NoiseContract for {', '.join(missing)}"

    def test_normal_comes_first(self) -> None:
        assert noise_names()[0] == "normal"

    def test_read_back_from_attributes(self) -> None:
        attributes = {
            "distribution": "users_student_t",
            "settings": '{"distribution_settings": {"freedom": 3.0}}',
        }
        assert noise_of(attributes).key == UsersStudentT(3.0).key
        assert noise_of({}).key == as_noise("normal").key
        assert noise_of({"settings": '{"distribution": "lognormal"}'}).name == "lognormal"

    @pytest.mark.parametrize(
        ("given", "error", "text"),
        [
            ("log-normal", UnknownNameError, "did you mean 'lognormal' or 'normal'"),
            (UsersStudentT, UsageError, r"write StudentT\(...\) for an instance"),
            (1.0, UsageError, "the name of a noise model, a Noise, or a mapping.*got 1.0"),
            ("users_student_t", UsageError, r"give distribution=StudentT\(...\)"),
        ],
    )
    def test_what_is_not_a_noise_model_is_refused(
        self, given: object, error: type, text: str
    ) -> None:
        with pytest.raises(error, match=text):
            as_noise(given)

    def test_a_data_set_of_a_class_that_is_not_there(self) -> None:
        with pytest.raises(UnknownNameError, match=r"of its own.*import its class first"):
            noise_of({"distribution": "somebodys_noise"})


class TestConstants:
    def test_against_closed_forms(self) -> None:
        normal = as_noise("normal")
        assert isinstance(normal, NormalErrors)
        numerical = LocationScale.constants.fget(normal)  # type: ignore[attr-defined]
        np.testing.assert_allclose(numerical.log_normalizer, normal.constants.log_normalizer)
        np.testing.assert_allclose(numerical.information, 1.0)
        for freedom in (1.0, 4.0, 30.0):
            constants = UsersStudentT(freedom).constants
            np.testing.assert_allclose(
                constants.information, (freedom + 1.0) / (freedom + 3.0), rtol=1e-12
            )
            half = torch.tensor(0.5 * freedom, dtype=torch.float64)
            wanted = (
                torch.lgamma(half)
                - torch.lgamma(half + 0.5)
                + 0.5 * torch.log(2.0 * half * torch.pi)
            )
            np.testing.assert_allclose(constants.log_normalizer, float(wanted), rtol=1e-12)

    def test_huber_by_numerical_integration(self) -> None:
        huber = TestHuber.noise
        assert isinstance(huber, Huber)
        numerical = LocationScale.constants.fget(huber)  # type: ignore[attr-defined]
        np.testing.assert_allclose(
            numerical.log_normalizer, huber.constants.log_normalizer, rtol=1e-6
        )
        np.testing.assert_allclose(numerical.information, huber.constants.information, rtol=1e-5)
        edge = torch.tensor([BEND**2 * (1.0 - 1e-12), BEND**2 * (1.0 + 1e-12)])
        torch.testing.assert_close(*huber.rho(edge.double()).unbind())

    def test_parameters_that_json_cannot_hold(self) -> None:
        noise: Noise = UsersStudentT(torch.nn.Module())  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="parameters of StudentT that JSON can hold"):
            _ = noise.key


def test_a_class_with_the_name_of_a_shipped_model_replaces_nothing() -> None:
    class Mine(UsersStudentT):
        name = "normal"

    assert type(as_noise("normal")) is not Mine
    with pytest.raises(UsageError, match="to have a name of its own, got 'normal'"):
        as_noise(Mine(4.0))


def test_a_class_defined_anew_is_not_taken_for_the_old_one() -> None:
    """In a notebook a cell runs again: the name and the settings stay, the code changes."""

    def defined(power: float) -> LocationScale:
        class Power(NormalErrors):
            name = "users_power"

            def transformed(self, value: torch.Tensor) -> torch.Tensor:
                return value**power

        return Power()

    old, new = defined(0.5), defined(2.0)
    for wrapped in (lambda noise: noise, SquaredLoss, Huber):
        assert wrapped(old).key == wrapped(old).key
        assert wrapped(old).key != wrapped(new).key
