"""`warp-phys estimate`: the file, and the table that is printed."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import warp_phys as wp
from warp_phys.data_gen import log_normal, truncated_normal

HUDSON_BAY = Path(__file__).parents[4] / "examples" / "data" / "hudson_bay.csv"


class TestEstimate:
    def test_the_file_is_what_the_function_returns(self, folder):
        model = wp.WarpPhys.load(folder / "model.safetensors")
        expected = wp.estimate(model, wp.load(folder / "data.nc"))
        xr.testing.assert_equal(wp.load(folder / "estimate.nc"), expected)

    def test_the_table_of_a_measured_record(self, run, folder):
        status, out, err = run(
            *("estimate", folder / "model.safetensors", folder / "record.csv", "--level", 0.8),
            *("--time", "sec", "--rename", "reading=value", "--rename", "remark="),
        )
        assert status == 0
        title, header, phase, frequency = out.splitlines()
        assert title == "trajectory 0: 5 samples, the last at 0.4 s"
        assert header.split() == ["parameter", "estimate", "80", "%", "band", "unit"]
        name, value, low, to, high, unit = phase.split()
        assert (name, to, unit) == ("phase", "to", "rad")
        assert float(low) < float(value) < float(high)
        assert frequency.split() == ["frequency", "1", "known", "Hz"]
        assert not err

    def test_ten_trajectories_are_printed(self, run, folder):
        _, out, _ = run("estimate", folder / "model.safetensors", folder / "data.nc")
        assert out.count("phase") == 10
        assert "... and 390 more trajectories, not printed" in out

    def test_records_out_of_range_are_told(self, run, folder, tmp_path):
        path = tmp_path / "long.csv"
        path.write_text("trajectory,time,value\na,0,0.3\na,0.1,0.7\nb,0,0.3\nb,7,9\n")
        status, _, err = run("estimate", folder / "model.safetensors", path)
        assert status == 0
        assert err.startswith(
            "warning: trajectory b is out of the model's range: an observed value lies beyond "
            "those of the training data; the record is longer than the training records; "
        )
        assert err.count("\n") == 1

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ("none.safetensors data.nc", "there is no file none.safetensors"),
            ("model.safetensors none.csv", "there is no file none.csv"),
            ("data.nc data.nc", "data.nc is not a readable safetensors file"),
            ("model.safetensors record.csv", "unknown column of record.csv"),
            ("model.safetensors data.nc --level 2", "expected a level between 0 and 1"),
            ("model.safetensors data.nc -o ahead.nc", "ahead.nc exists already; choose another"),
            ("model.safetensors data.nc -o estimate.txt", "expected --output to end in .nc"),
        ],
    )
    def test_complaints(self, error_of, folder, monkeypatch, arguments, message):
        monkeypatch.chdir(folder)
        assert message in error_of("estimate", *arguments.split())


class TestWithoutTraining:
    """A system's name in place of a model file."""

    @pytest.fixture(autouse=True)
    def _in_a_folder(self, tmp_path, monkeypatch):
        shutil.copy(HUDSON_BAY, tmp_path)
        monkeypatch.chdir(tmp_path)

    def test_every_option_reaches_the_model(self, run):
        status, out, err = run(
            *("estimate", "lotka_volterra", "hudson_bay.csv", "-o", "hares.nc"),
            *("--prior", "alpha=truncated_normal(1,0.5)", "--prior", "predator(0)=lognormal(5,1)"),
            *("--distribution", "lognormal", "--fixed", "delta=0.024", "--loss", "huber"),
            *("--noise-sd", "prey=0.3", "--noise-sd", "predator=0.25"),
            *("--initial-state", "prey=33", "--level", 0.8),
        )
        assert (status, err) == (0, "")
        model = wp.WarpPhys(
            "lotka_volterra",
            priors={"alpha": truncated_normal(1.0, 0.5), "predator(0)": log_normal(5.0, 1.0)},
            distribution="lognormal",
            fixed={"delta": 0.024},
            loss="huber",
            noise_sd={"prey": 0.3, "predator": 0.25},
            initial_state={"prey": 33.0},
        )
        expected = wp.estimate(model, wp.read_trajectories("hudson_bay.csv"), level=0.8)
        found = wp.load("hares.nc")
        xr.testing.assert_equal(found, expected)
        assert json.loads(found.attrs["settings"]) == json.loads(expected.attrs["settings"])
        title, header, alpha, *_, delta, _, last = out.splitlines()
        assert title == "trajectory 0: 21 samples, the last at 1920 year"
        assert header.split() == ["parameter", "estimate", "80", "%", "band", "unit"]
        low, value, high = (
            float(found[name][0, -1, 0])
            for name in ("parameters_lower", "parameters", "parameters_upper")
        )
        assert alpha.split() == f"alpha {value:.4g} {low:.4g} to {high:.4g} 1/year".split()
        assert delta.split() == ["delta", "0.024", "known", "1/year"]
        assert last == "wrote hares.nc: 1 trajectory of lotka_volterra, 21 samples"

    def test_a_parameter_that_drifts(self, run):
        status, _, _ = run(
            *("estimate", "lotka_volterra", "hudson_bay.csv", "-o", "drift.nc"),
            *("--drift", "alpha=0.02", "--distribution", "lognormal"),
        )
        assert status == 0
        assert json.loads(wp.load("drift.nc").attrs["settings"])["drift"] == {"alpha": 0.02}

    def test_what_is_to_be_minded_is_told(self, run):
        times = np.arange(0.0, 12.0, 0.1)
        still = np.sin(2.0 * np.pi * times + 0.3)
        still += 0.02 * np.random.default_rng(0).standard_normal(len(times))
        leaps = np.where(times < 6.0, still, np.roll(still, 3))
        rows = [
            f"{label},{time:.1f},{value}"
            for label, values in (("still", still), ("leaps", leaps))
            for time, value in zip(times, values, strict=True)
        ]
        Path("waves.csv").write_text("\n".join(["trajectory,time,value", *rows]))
        status, out, err = run("estimate", "sine", "waves.csv")
        assert status == 0
        assert out.count("phase") == 2
        (line,) = err.splitlines()
        start = "warning: trajectory leaps: the model no longer describes the record from "
        assert line.startswith(start)
        time, unit, *_ = line.removeprefix(start).split()
        assert float(time) == pytest.approx(6.0, abs=0.5)
        assert unit == "s"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ("lotka_voltera", "unknown system 'lotka_voltera'; did you mean 'lotka_volterra'?"),
            ("lotka_volterra --prior alfa=0.5:1", "'alfa'; did you mean 'alpha'"),
            ("lotka_volterra --prior alpha=1", "expected priors['alpha'] as a distribution"),
            ("lotka_volterra --prior alpha=cauchy(1,2)", "unknown distribution 'cauchy'"),
            ("lotka_volterra --prior alpha", "expected --prior NAME=VALUE, got 'alpha'"),
            ("lotka_volterra --drift alpha=x", "expected --drift alpha as a number, got 'x'"),
            ("lotka_volterra --distribution poison", "unknown distribution 'poison'"),
            ("lotka_volterra --distribution poisson", "one distribution up to a level"),
            ("lotka_volterra --loss cauchy", "unknown loss 'cauchy'"),
        ],
    )
    def test_complaints(self, error_of, arguments, message):
        model, *options = arguments.split()
        assert message in error_of("estimate", model, "hudson_bay.csv", *options)

    @pytest.mark.parametrize(
        "options",
        [
            ("--prior", "phase=0:1"),
            ("--drift", "phase=0.1"),
            ("--initial-state", "estimate"),
            ("--fix", "phase=1"),
            ("--distribution", "normal"),
            ("--noise-sd", "common"),
            ("--loss", "linear"),
        ],
    )
    @pytest.mark.parametrize("verb", ["estimate", "forecast"])
    def test_a_file_holds_its_own_options(self, error_of, folder, verb, options):
        arguments = [verb, folder / "model.safetensors", folder / "data.nc", *options]
        if verb == "forecast":
            arguments += ["--times", "1", "-o", "ahead.nc"]
        assert f"expected no {options[0]} with model.safetensors" in error_of(*arguments)
