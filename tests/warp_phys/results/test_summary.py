"""Summaries: what is determined has an error bar, and what is not is said in words."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import warp_phys as wp
from warp_phys.data_gen import simulate
from warp_phys.results.summary.numbers import percent, rounded
from warp_phys.systems import SchemaError, UnknownNameError, UsageError

HUDSON_BAY = Path(__file__).parents[3] / "examples" / "data" / "hudson_bay.csv"
TIMES = np.linspace(0.0, 6.0, 61)


@pytest.fixture(scope="module")
def hares() -> xr.Dataset:
    record = wp.read_trajectories(HUDSON_BAY)
    start = {"alpha": 0.55, "beta": 0.028, "gamma": 0.8, "delta": 0.024}
    return wp.fit("lotka_volterra", record, initial=start, distribution="lognormal")


@pytest.fixture(scope="module")
def springs() -> xr.Dataset:
    """Free vibration does not tell m, k and c; the second record is empty."""
    data = simulate("mass_spring_damper", n=3, times=TIMES[:30], noise=0.05, seed=0)
    data["observed"][1] = np.nan
    data = data.assign_coords(trajectory=["a", "b", "c"])
    return wp.fit("mass_spring_damper", data, initial=data.true_parameters)


@pytest.fixture(scope="module")
def swings() -> xr.Dataset:
    data = simulate("pendulum", n=6, times=TIMES, noise=0.02, parameters={"length": 1.3}, seed=0)
    start = {"length": 1.2, "damping": 0.2}
    known = {"angle": 0.02, "angular_velocity": 0.05}
    return wp.fit("pendulum", data, initial=start, shared=["length"], noise_sd=known)


def section(text: str, title: str) -> list[str]:
    """Return the lines below a heading."""
    parts = re.split(r"^\[\[(.*?)\]\].*$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))[title].strip("\n").splitlines()


def entries(text: str, title: str, separator: str) -> dict[str, str]:
    pairs = (line.split(separator, 1) for line in section(text, title))
    return {name.strip(): value.strip() for name, value in pairs}


@pytest.fixture(scope="module")
def waves() -> xr.Dataset:
    """Estimates without training; the phases of c and f leap at 6 s."""
    times = np.arange(0.0, 12.0, 0.1)
    data = simulate("sine", n=7, times=times, noise=0.02, seed=0)
    for place, shift in ((2, 3), (5, -3)):
        moved = np.roll(data["observed"].values[place], shift, axis=0)
        data["observed"].values[place, 60:] = moved[60:]
    return wp.estimate(wp.WarpPhys("sine"), data.assign_coords(trajectory=list("abcdefg")))


class TestOne:
    def test_the_hares_and_lynxes(self, hares):
        text = wp.summary(hares)
        assert text.splitlines()[0] == "[[Fit of lotka_volterra, trajectory 0]]"
        found = entries(text, "Fit statistics", "=")
        assert found["status"] == "converged"
        assert (found["values"], found["unknowns"], found["degrees of freedom"]) == (
            "42",
            "6 and 2 noise levels",
            "36",
        )
        assert found["noise sd of prey"] == "0.2359 (of logarithms)"
        likelihood = float(hares.log_likelihood[0])
        assert float(found["log likelihood"]) == pytest.approx(likelihood, rel=1e-5)
        assert float(found["Akaike criterion"]) == pytest.approx(16 - 2 * likelihood, rel=1e-5)
        bayesian = 8 * np.log(42) - 2 * likelihood
        assert float(found["Bayesian criterion"]) == pytest.approx(bayesian, rel=1e-5)
        assert "reduced chi-square" not in found
        assert "Warnings" not in text

    def test_variables_with_error_and_interval(self, hares):
        text = wp.summary(hares)
        found = entries(text, "Variables", ":")
        assert list(found) == ["alpha", "beta", "gamma", "delta", "prey(0)", "predator(0)"]
        assert (
            found["alpha"]
            == "0.5400 +/- 0.0594 1/year (11.0%)  [0.429, 0.672] (from the profile likelihood)"
        )
        assert found["prey(0)"].startswith("34.60 +/- 2.92 (8.")
        assert "[95 % interval]" in text

    def test_correlations_from_the_largest_on(self, hares):
        found = entries(wp.summary(hares), "Correlations", " = ")
        sizes = [abs(float(value)) for value in found.values()]
        assert sizes == sorted(sizes, reverse=True)
        assert sizes[-1] >= 0.1
        covariance = hares.covariance[0].values
        expected = covariance[0, 2] / np.sqrt(covariance[0, 0] * covariance[2, 2])
        assert float(found["C(alpha, gamma)"]) == pytest.approx(expected, abs=1e-4)

    def test_one_picked_out_is_the_same(self, springs):
        assert wp.summary(springs.isel(trajectory=2)) == wp.summary(springs, "c")
        assert wp.summary(springs, "c") == wp.summary(springs, 2)

    def test_no_error_bar_beside_what_is_not_determined(self, springs):
        text = wp.summary(springs, "a")
        found = entries(text, "Variables", ":")
        for name, unit in (("m", "kg"), ("k", "N/m"), ("c", "N s/m")):
            assert re.fullmatch(rf"[\d.]+ {unit} \(not determined\)", found[name])
        assert "+/-" in found["position(0)"]
        assert section(text, "Warnings") == [
            "    m, k and c are not determined, only k/m and c/m are"
        ]
        assert not re.search(r"C\((m|k|c),", text)

    def test_one_that_cannot_be_fitted(self, springs):
        text = wp.summary(springs, "b")
        assert entries(text, "Fit statistics", "=") == {"status": "invalid data"}
        assert set(entries(text, "Variables", ":").values()) == {"(not fitted)"}
        assert section(text, "Warnings")[0].startswith("    not converged: no values at all")

    def test_known_shared_and_given(self, swings):
        text = wp.summary(swings, 1)
        variables = entries(text, "Variables", ":")
        assert variables["length"].endswith("(shared)")
        assert variables["g"] == "9.81 m/s2 (fixed)"
        found = entries(text, "Fit statistics", "=")
        assert found["degrees of freedom"] == "infinite: noise known"
        assert found["noise sd of angle"] == "0.02 rad (given)"
        assert float(found["reduced chi-square"]) == pytest.approx(
            float(swings.reduced_chi_square[1]), rel=1e-5
        )
        # Of one trajectory of several that share, they mean nothing.
        assert "Akaike criterion" not in found

    def test_marks_of_ends_and_profiles(self, hares):
        shape = hares.on_bound.dims
        marked = hares.assign(
            on_bound=(shape, [[0, 1, 0, 0]]),
            profiled=(shape, [[0, 0, 1, 0]]),
            undetermined=("trajectory", ["prey(0) is at the end of its support"]),
        )
        found = entries(wp.summary(marked), "Variables", ":")
        assert found["beta"] == "0.02716 1/year (at the end of its support)"
        assert found["gamma"].endswith("[0.644, 0.993] (from the profile likelihood)")
        assert found["prey(0)"] == "34.6 (at the end of its support)"

    def test_a_fit_that_stopped_short(self, hares):
        stopped = hares.assign(status=("trajectory", [1], hares.status.attrs))
        text = wp.summary(stopped)
        assert "+/-" not in text.split("[[Variables]]")[1].split("\n", 1)[1]
        assert entries(text, "Variables", ":")["alpha"] == "0.54 1/year (not converged)"
        assert "raise max_iterations" in section(text, "Warnings")[0]
        assert "Correlations" not in text

    def test_no_freedom_for_errors(self, hares):
        exact = hares.assign(
            degrees_of_freedom=("trajectory", [0.0]),
            log_likelihood=("trajectory", [np.nan]),
            standard_errors=xr.full_like(hares.standard_errors, np.nan),
            initial_state_standard_errors=xr.full_like(hares.initial_state, np.nan),
        )
        text = wp.summary(exact)
        assert "likelihood" not in text
        assert "nan" not in text
        found = entries(text, "Variables", ":")
        assert found["alpha"] == "0.54 1/year (no degrees of freedom for an error)"
        assert found["prey(0)"] == "34.6 (no degrees of freedom for an error)"

    def test_misfit_and_other_optima_are_told(self, hares):
        doubtful = hares.assign(
            misfit=("trajectory", [3], hares.misfit.attrs),
            optima=("trajectory", [2]),
            starts=("trajectory", [5]),
            starts_agreeing=("trajectory", [3]),
        )
        assert section(wp.summary(doubtful), "Warnings") == [
            "    misfit: successive residuals are alike",
            "    misfit: residuals are larger than the known noise",
            "    2 different optima were found; this is the best, reached by 3 of 5 starts",
        ]
        lonely = doubtful.assign(optima=("trajectory", [1]), starts_agreeing=("trajectory", [1]))
        assert "only 1 of 5 starts reached this optimum" in wp.summary(lonely)


class TestMany:
    def test_the_overview(self, springs):
        text = wp.summary(springs)
        assert text.splitlines()[0] == "[[Fit of mass_spring_damper, 3 trajectories]]"
        found = dict(
            (part.strip() for part in line.split("=", 1))
            for line in text.splitlines()
            if "=" in line
        )
        assert found["converged"] == "2 of 3"
        assert found["invalid data"] == "1 (trajectory b)"
        assert found["not determined"] == "2 (trajectories a, c)"
        assert text.count("(not determined)") == 3
        assert text.splitlines()[-1] == "[[One of them: summary(fit, 'a'), in the shell --show a]]"

    def test_medians_and_quartiles(self, swings):
        rows = section(
            wp.summary(swings), "Parameters of the fits that converged, where determined"
        )
        header, length, damping, g = (re.split(r"\s{2,}", row.strip()) for row in rows)
        assert header == ["median", "quartiles", "median error", "determined in"]
        values = swings.parameters.sel(parameter="damping").values
        assert float(damping[1].split()[0]) == pytest.approx(np.median(values), rel=1e-3)
        low, high = (float(part) for part in damping[2].split(" to "))
        assert (low, high) == pytest.approx(tuple(np.quantile(values, [0.25, 0.75])), rel=1e-3)
        assert length[-1] == damping[-1] == "6 of 6"
        assert g == ["g:", "9.81 m/s2", "(fixed)"]

    def test_many_labels_are_cut_short(self, swings):
        failed = swings.assign(status=("trajectory", [1] * 6, swings.status.attrs))
        text = wp.summary(failed)
        assert "6 (trajectories 0, 1, 2, 3, 4, ...)" in text
        assert "0 of 6" in text


def test_mistakes_are_named(hares, springs):
    with pytest.raises(
        SchemaError, match=r"expected what fit\(...\) returned, got a data set with"
    ):
        wp.summary(springs[["parameters"]])
    with pytest.raises(SchemaError, match="got list"):
        wp.summary([1.0])
    with pytest.raises(UnknownNameError, match="unknown trajectory 'd'"):
        wp.summary(springs, "d")
    with pytest.raises(UsageError, match="as a position from 0 to 0, got 1"):
        wp.summary(hares, 1)


def test_numbers_have_the_digits_their_errors_leave_them():
    assert rounded(12345678901.0, 120.0) == "1.2345678901e+10"
    assert rounded(0.0, 0.012) == "0.0000"
    assert rounded(np.inf, 0.01) == "inf"
    assert rounded(1.5578281766912, 2.12e-10) == "1.557828176691"
    assert rounded(2.12e-10, 2.12e-10) == "2.12e-10"
    assert rounded(3.14159265, np.nan) == "3.142"
    assert percent(-0.5) == "50.0%"


class TestEstimate:
    def test_the_hares_and_lynxes(self):
        model = wp.WarpPhys(
            "lotka_volterra", distribution="lognormal", initial_state={"prey": 33.0}
        )
        found = wp.estimate(model, wp.read_trajectories(HUDSON_BAY))
        text = wp.summary(found)
        assert text.splitlines()[0] == "[[Estimate of lotka_volterra, trajectory 0]]"
        record = entries(text, "Record", "=")
        assert record["samples"] == "21, the last at 1920 year"
        level = float(found.noise_sd[0, -1, 0])
        assert record["noise sd of prey"] == f"{level:.4g} (of logarithms)"
        assert "[[Variables]] value at the last sample  [90 % band]" in text
        variables = entries(text, "Variables", ":")
        assert list(variables) == ["alpha", "beta", "gamma", "delta", "prey(0)", "predator(0)"]
        assert variables["prey(0)"] == "33 (fixed)"
        number = r"([\d.]+)"
        matched = re.fullmatch(rf"{number} 1/year  \[{number}, {number}\]", variables["alpha"])
        assert matched is not None
        for end, shown in zip(("", "_lower", "_upper"), matched.groups(), strict=True):
            value = float(found[f"parameters{end}"][0, -1, 0])
            assert float(shown) == pytest.approx(value, abs=0.0006)
        assert "Warnings" not in text

    def test_what_is_to_be_minded(self, waves):
        text, changed = wp.summary(waves, "c"), float(waves.changed_at[2])
        assert section(text, "Warnings") == [
            f"    the model no longer describes the record from {changed:g} s on",
            "    successive residuals are alike",
        ]
        assert "Warnings" not in wp.summary(waves, "a")
        assert wp.summary(waves.isel(trajectory=2)) == text == wp.summary(waves, 2)
        far = waves.copy(deep=True)
        far["out_of_range"].values[0] = 16 + 64
        far["estimate_status"].values[0, -1] = 1 + 2
        assert section(wp.summary(far, "a"), "Warnings") == [
            "    the model could not be integrated to all samples",
            "    another optimum is nearly as good",
            "    out of range: an estimate lies many standard deviations from its prior",
        ]

    def test_overview(self, waves):
        text = wp.summary(waves)
        assert text.splitlines()[0] == "[[Estimate of sine, 7 trajectories]]"
        found = entries(text, "Estimate of sine, 7 trajectories", "=")
        assert found["samples"] == "120"
        level = float(waves.noise_sd[:, -1, 0].median())
        assert found["median noise sd of value"] == f"{level:.4g}"
        assert found["without remarks"] == "5 of 7"
        first, second = (float(waves.changed_at[place]) for place in (2, 5))
        assert found["no longer described"] == (
            f"2 (trajectories c from {first:g} s on, f from {second:g} s on)"
        )
        assert found["successive residuals are alike"] == "2 (trajectories c, f)"
        header, phase, frequency = section(text, "Parameters at the last samples")
        assert header.split("  ")[-1] == "median half-width of the 90 % band"
        last = waves.parameters[:, -1, 0]
        low, high = last.quantile([0.25, 0.75]).values
        assert phase.split() == [
            *("phase:", f"{float(last.median()):.4g}", "rad", f"{low:.4g}", "to", f"{high:.4g}"),
            phase.split()[-1],
        ]
        assert frequency.split() == ["frequency:", "1", "Hz", "(fixed)"]
        assert text.splitlines()[-1] == "[[One of them: summary(estimate, 'a')]]"

    def test_own_grids(self):
        times = np.tile(np.arange(0.0, 3.0, 0.1), (2, 1))
        times[1, 20:] = np.nan
        data = simulate("sine", n=2, times=times, noise=0.02, seed=0)
        found = wp.estimate(wp.WarpPhys("sine"), data)
        assert entries(wp.summary(found, 1), "Record", "=")["samples"] == "20, the last at 1.9 s"
        assert wp.summary(found.isel(trajectory=1)) == wp.summary(found, 1)
        assert re.search(r"samples +=  ?20 to 30\n", wp.summary(found))

    def test_other_heads(self):
        data = simulate("mass_spring_damper", n=2, times=TIMES[:30], seed=0)
        found = wp.estimate(wp.WarpPhys("mass_spring_damper", head="regression"), data)
        variables = entries(wp.summary(found, 0), "Variables", ":")
        assert variables["m"] == "(not determined)"
        assert re.fullmatch(r"[\d.]+ 1/s2", variables["k_over_m"])
        table = wp.summary(found)
        assert "k_over_m:" in table
        assert "half-width" not in table

    def test_bands_never_calibrated(self, waves):
        unknown = waves.assign(
            {
                name: xr.full_like(waves[name], np.nan)
                for name in ("parameters_lower", "parameters_upper")
            }
        )
        variables = entries(wp.summary(unknown, 0), "Variables", ":")
        assert variables["phase"].endswith(" rad (band not calibrated)")
