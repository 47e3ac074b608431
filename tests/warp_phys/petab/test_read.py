"""Reading of PEtab problems: names, and the arguments of `fit`."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import warp_phys as wp
from tests.warp_phys.petab.decay_problem import MEASURED, TIMES, noisy, read
from tests.warp_phys.petab.small_problems import PARAMETER_COLUMNS, table


class TestNames:
    def test_keywords_underscores_and_equal_names(self, tmp_path: Path) -> None:
        system = read(tmp_path).system
        assert system.state_names == ("A",)
        assert system.output_names == ("A",)
        # A species in the parameter table is its initial value.
        assert system.parameter_names == ("lambda_", "rate0", "A_2", "factor")
        assert system.free_names == ("lambda_", "A_2")

    def test_the_name_of_the_problem(self, tmp_path: Path) -> None:
        problem = read(tmp_path)
        assert type(problem.system).__name__ == "Problem"
        assert repr(problem) == (
            "PetabProblem(problem: 2 estimated parameters, 10 measurements, 1 trajectories, "
            "1 states)"
        )


class TestFit:
    def test_a_problem_unpacks_into_the_arguments_of_fit(self, tmp_path: Path) -> None:
        problem = read(tmp_path)
        system, data, arguments = problem
        assert arguments["bounds"] == {"lambda_": (1e-3, 1e3), "A_2": (1e-3, 1e3)}
        assert arguments["initial_time"] == 0.0
        fitted = wp.fit(system, data, progress=False, **arguments)
        assert fitted.status.item() == 0
        assert fitted.parameters.sel(parameter="lambda_").item() == pytest.approx(0.4, rel=0.02)
        assert fitted.parameters.sel(parameter="A_2").item() == pytest.approx(2.0, rel=0.02)
        found = problem.log_likelihood(problem.estimates(fitted))
        assert fitted.log_likelihood.item() == pytest.approx(found, abs=1e-6)
        assert found > problem.log_likelihood()

    def test_an_unknown_noise_level(self, tmp_path: Path) -> None:
        problem = read(tmp_path, **noisy("sd"))
        assert problem.arguments["noise_sd"] == "each"
        assert problem.system.free_names == ("lambda_",)
        fitted = wp.fit(problem.system, problem.data, progress=False, **problem.arguments)
        values = problem.estimates(fitted)
        levels = np.geomspace(0.02, 0.05, 301)
        best = max(problem.log_likelihood(values | {"sd": s}) for s in levels)
        assert fitted.log_likelihood.item() == pytest.approx(best, abs=1e-3)

    @pytest.mark.parametrize(
        ("noise", "scale"),
        [
            pytest.param("sd * A", "lin", marks=pytest.mark.long),
            ("sqrt(sd^2 + (0.01 * A)^2)", "lin"),
            pytest.param("noiseParameter1_A * sd", "log10", marks=pytest.mark.long),
        ],
    )
    def test_noise_by_a_formula(self, tmp_path: Path, noise: str, scale: str) -> None:
        """The outputs are then residuals and log levels, and the likelihood is that of PEtab."""
        problem = read(tmp_path, **noisy(noise, scale))
        assert problem.system.free_names == ("lambda_", "sd")
        assert problem.system.output_names == ("A_residual", "A_log_noise")
        assert "as the noise of A has the formula" in problem.remarks[0]
        fitted = wp.fit(problem.system, problem.data, progress=False, **problem.arguments)
        assert fitted.status.item() == 0
        values = problem.estimates(fitted)
        best = problem.log_likelihood(values)
        total = fitted.log_likelihood.item() + problem.log_likelihood_constant
        assert total == pytest.approx(best, abs=1e-6)
        for name in values:
            for factor in (0.99, 1.01):
                assert problem.log_likelihood(values | {name: factor * values[name]}) < best

    def test_noise_in_common_with_another_condition(self, tmp_path: Path) -> None:
        """Trajectories that only share a noise level are not separate fits."""
        given = noisy("sd")
        given["parameters"] += table("", ("k_1", "log10", 1e-3, 1e3, 0.4, 1))[1:]
        given["parameters"] += table("", ("k_2", "log10", 1e-3, 1e3, 0.5, 1))[1:]
        given["conditions"] = table("conditionId lambda", ("c1", "k_1"), ("c2", "k_2"))
        given["measurements"] = table(
            MEASURED,
            *(
                ("A", c, 6 * math.exp(-0.5 * t) + 0.1 * math.sin(9 * t), t)
                for c in ("c1", "c2")
                for t in TIMES.tolist()
            ),
        )
        problem = read(tmp_path, **given)
        assert "trajectories that have no other parameter in common share" in problem.remarks[0]
        assert problem.arguments["shared"] == {"sd": "all", "lambda_": "group_of_lambda_"}

    def test_decadic_logarithms_are_log_normal_noise(self, tmp_path: Path) -> None:
        problem = read(
            tmp_path,
            observables=table(
                "observableId observableFormula observableTransformation noiseFormula",
                ("A", "factor * A", "log10", "0.1"),
            ),
        )
        assert problem.arguments["distribution"] == "lognormal"
        levels = problem.arguments["noise_sd"]["A"]
        np.testing.assert_allclose(levels, 0.1 * math.log(10.0))
        fitted = wp.fit(problem.system, problem.data, progress=False, **problem.arguments)
        found = problem.log_likelihood(problem.estimates(fitted))
        assert fitted.log_likelihood.item() == pytest.approx(found, abs=1e-6)

    def test_outputs_are_logarithms_where_scales_differ(self, tmp_path: Path) -> None:
        problem = read(
            tmp_path,
            observables=table(
                "observableId observableFormula observableTransformation noiseFormula",
                ("A", "factor * A", "log10", "0.1"),
                ("plain", "A", "lin", "0.2"),
            ),
            measurements=table(
                MEASURED,
                ("A", "only", 4.0, 1.0),
                ("plain", "only", 1.2, 1.0),
                ("plain", "only", 0.9, 2.0),
            ),
        )
        assert problem.arguments["distribution"] == "normal"
        assert problem.data.observed.values[0, 0].tolist() == [math.log10(4.0), 1.2]
        fitted = wp.fit(problem.system, problem.data, progress=False, **problem.arguments)
        found = problem.log_likelihood(problem.estimates(fitted))
        total = fitted.log_likelihood.item() + problem.log_likelihood_constant
        assert total == pytest.approx(found, abs=1e-6)

    def test_priors_are_named(self, tmp_path: Path) -> None:
        problem = read(
            tmp_path,
            parameters=table(
                f"{PARAMETER_COLUMNS} objectivePriorType objectivePriorParameters",
                ("lambda", "log10", 1e-3, 1e3, 0.4, 1, "parameterScaleNormal", "0;1"),
                ("factor", "log10", 1e-3, 1e3, 3.0, 0, "", ""),
            ),
        )
        assert problem.remarks == (
            "parameter 'lambda' has a prior (parameterScaleNormal 0;1), which is left out",
        )

    def test_the_command_line(self, tmp_path: Path, capsys, monkeypatch) -> None:
        from warp_phys.command_line.main import main

        read(tmp_path)
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SystemExit) as ended:
            main(["fit", "problem.yaml", "-o", "fitted.nc"])
        assert ended.value.code == 0
        assert "lambda_" in capsys.readouterr().out
        assert wp.load("fitted.nc").status.item() == 0
        for more, message in (
            (["other.csv"], "problem.yaml names its measurements; leave out other.csv"),
            (["--fix", "A=1"], "problem.yaml is a complete problem; leave out --fix"),
            (["--distribution", "lognormal"], "leave out --distribution"),
        ):
            with pytest.raises(SystemExit) as ended:
                main(["fit", "problem.yaml", *more])
            assert ended.value.code == 2
            assert message in capsys.readouterr().err
