"""`warp-phys fit`, and what `forecast` and `plot` make of its files."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import warp_phys as wp
from warp_phys.command_line.main import main
from warp_phys.data_gen import simulate

HUDSON_BAY = Path(__file__).parents[4] / "examples" / "data" / "hudson_bay.csv"
START = [*("--start", "alpha=0.55"), *("--start", "beta=0.028")]
START += [*("--start", "gamma=0.8"), *("--start", "delta=0.024")]
HARES = ["fit", "lotka_volterra", "hudson_bay.csv", "--distribution", "lognormal", *START]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("fits")
    shutil.copy(HUDSON_BAY, path)
    data = simulate("pendulum", n=3, times=np.linspace(0.0, 4.0, 41), noise=0.02, seed=0)
    wp.save(data.assign_coords(bench=("trajectory", ["x", "y", "x"])), path / "swings.nc")
    return path


@pytest.fixture
def run(capsys, folder, monkeypatch):
    """Return a function that runs the command line in the folder: (status, stdout, stderr)."""
    monkeypatch.chdir(folder)

    def runner(*arguments: object) -> tuple[object, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return runner


@pytest.fixture(scope="module")
def hares(folder) -> Path:
    """A fit of the hares and lynxes, written by the command line."""
    arguments = [str(folder / HARES[2]) if part == HARES[2] else part for part in HARES]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "-o", str(folder / "hares.nc")])
    assert ended.value.code == 0
    return folder / "hares.nc"


class TestFit:
    def test_it_prints_the_summary_of_what_it_writes(self, run):
        status, out, err = run(*HARES, "-o", "printed.nc")
        assert (status, err) == (0, "")
        fitted = wp.load("printed.nc")
        last = "wrote printed.nc: 1 trajectory of lotka_volterra, 21 samples"
        assert out == f"{wp.summary(fitted)}\n\n{last}\n"
        expected = wp.fit(
            "lotka_volterra",
            wp.read_trajectories("hudson_bay.csv"),
            initial={"alpha": 0.55, "beta": 0.028, "gamma": 0.8, "delta": 0.024},
            distribution="lognormal",
        )
        np.testing.assert_array_equal(fitted.parameters, expected.parameters)

    def test_every_option_reaches_the_function(self, run):
        status, out, _ = run(
            *("fit", "pendulum", "swings.nc", "-o", "options.nc", "--show", 1),
            *("--fix", "damping=0.2", "--fix", "g=9.8", "--bounds", "length=0.1:"),
            *("--share", "length", "--group", "bench", "--noise-sd", "common"),
            *("--loss", "huber", "--starts", 2, "--tolerance", 1e-8, "--max-iterations", 50),
            *("--initial-state", "angular_velocity=0", "--initial-time", -0.1),
            *("--rtol", 1e-7, "--level", 0.8, "--time-budget", 100),
        )
        assert status == 0
        assert out.startswith("[[Fit of pendulum, trajectory 1]]")
        expected = wp.fit(
            "pendulum",
            wp.load("swings.nc"),
            fixed={"damping": 0.2, "g": 9.8},
            bounds={"length": (0.1, None)},
            shared=["length"],
            group="bench",
            noise_sd="common",
            loss="huber",
            starts=2,
            tolerance=1e-8,
            max_iterations=50,
            initial_state={"angular_velocity": 0.0},
            initial_time=-0.1,
            rtol=1e-7,
            level=0.8,
            time_budget=100.0,
        )
        found = wp.load("options.nc")
        assert found.drop_attrs(deep=False).identical(expected.drop_attrs(deep=False))
        for name in ("settings", "rtol", "band_level", "noise", "loss"):
            assert found.attrs[name] == expected.attrs[name]

    def test_groupings_and_known_values_by_the_names_of_variables(self, run):
        data = wp.load("swings.nc")
        data = data.assign(gravity=("trajectory", np.array([9.81, 9.81, np.nan])))
        wp.save(data, "labeled.nc")
        status, _, _ = run(
            *("fit", "pendulum", "labeled.nc", "-o", "grouped.nc", "--starts", 1),
            *("--shared", "length=bench", "--fix", "g=gravity"),
            *("--tie", "damping=0.3 * length"),
        )
        assert status == 0
        expected = wp.fit(
            "pendulum",
            data,
            shared={"length": "bench"},
            ties={"damping": "0.3 * length"},
            fixed={"g": "gravity"},
            starts=1,
        )
        found = wp.load("grouped.nc")
        np.testing.assert_array_equal(found.parameters, expected.parameters)
        assert found["known"].sel(estimated="g").values.tolist() == [1, 1, 0]

    def test_an_earlier_fit_as_start_and_known_levels(self, run, hares):
        levels = ("--noise-sd", "prey=0.25", "--noise-sd", "predator=0.25")
        status, out, _ = run(*HARES[:-8], "--initial", "hares.nc", *levels)
        assert status == 0
        assert "reduced chi-square" in out
        assert "(given)" in out

    def test_several_trajectories_give_an_overview(self, run):
        status, out, _ = run("fit", "pendulum", "swings.nc", "--starts", 1)
        assert status == 0
        assert out.startswith("[[Fit of pendulum, 3 trajectories]]")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ("--start alfa=1", "unknown parameter or state of lotka_volterra 'alfa'; did you mean"),
            ("--start alpha=x", "expected --start alpha as a number, got 'x'"),
            ("--bounds alpha=1", "expected --bounds alpha as LOW:HIGH, either end empty where"),
            ("--noise-sd each --noise-sd prey=1", "expected --noise-sd NAME=VALUE, got 'each'"),
            ("--initial none.nc", "there is no file none.nc"),
            ("--initial x.nc --start alpha=1", "expected --initial or --start, got both"),
            ("--loss cauchy", "unknown loss 'cauchy'"),
            ("--show 5", "unknown trajectory '5'"),
            ("--group bench --share alpha", "unknown coordinate of the data set 'bench'"),
            ("-o hudson_bay.csv", "expected --output to end in .nc"),
        ],
    )
    def test_complaints(self, run, options, message):
        status, out, err = run("fit", "lotka_volterra", "hudson_bay.csv", *options.split())
        assert (status, out) == (2, "")
        assert message in err
        assert err.count("\n") == 1


class TestForecast:
    def test_from_a_fit(self, run, hares):
        status, out, _ = run("forecast", "hares.nc", "--times", "1921:1925:1", "-o", "ahead.nc")
        assert status == 0
        words = "1 trajectory of lotka_volterra, 5 samples, 90 % bands"
        assert out == f"wrote ahead.nc: {words}\n"
        expected = wp.forecast(wp.load(hares), np.arange(1921.0, 1926.0))
        np.testing.assert_array_equal(wp.load("ahead.nc").observed_upper, expected.observed_upper)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                "hares.nc hudson_bay.csv",
                "hares.nc holds fits or estimates, which know their record",
            ),
            ("none.safetensors", "expected the records to forecast behind none.safetensors"),
            ("hudson_bay.csv", "expected MODEL to end in .safetensors or .nc"),
            ("swings.nc", "expected a model or a data set with 'parameters'"),
        ],
    )
    def test_complaints(self, run, hares, arguments, message):
        status, _, err = run("forecast", *arguments.split(), "--times", "1921", "-o", "no.nc")
        assert status == 2
        assert message in err
        assert not Path("no.nc").exists()


def test_plot_of_a_fit(run, hares):
    status, out, err = run("plot", "hares.nc", "--data", "hudson_bay.csv", "-o", "hares.png")
    assert (status, out, err) == (0, "wrote hares.png\n", "")
    assert Path("hares.png").read_bytes().startswith(b"\x89PNG")
