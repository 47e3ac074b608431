"""How the command line reads times, ranges, distributions and names."""

import numpy as np
import pytest

from warp_phys.command_line.values import (
    parse_bounds,
    parse_levels,
    parse_numbers,
    parse_recipes,
    parse_renames,
    parse_times,
    parse_word_or_numbers,
)
from warp_phys.systems import UnknownNameError, UsageError


class TestValues:
    @pytest.mark.parametrize(
        ("text", "times"),
        [
            ("0:20:5", [0, 5, 10, 15, 20]),
            ("0:1:0.4", [0, 0.4, 0.8]),
            ("-1:0:.5", [-1, -0.5, 0]),
            ("1900:1901:1e0", [1900, 1901]),
            ("3:3:1", [3]),
            ("0, 1 ,2.5", [0, 1, 2.5]),
            ("7", [7]),
        ],
    )
    def test_times(self, text, times):
        assert parse_times(text) == times

    def test_times_are_the_decimals_meant(self):
        assert parse_times("0:1:0.1") == [float(f"0.{k}") for k in range(10)] + [1.0]

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "a",
            "0:1",
            "0:1:0",
            "0:1:-1",
            "1:0:1",
            "0:inf:1",
            "nan",
            "0:1e9:1",
            "0:1:1:1",
            "0,,1",
        ],
    )
    def test_times_that_are_none(self, text):
        with pytest.raises(UsageError, match=r"expected times as START:STOP:STEP or a list like"):
            parse_times(text)

    def test_recipes(self):
        found = parse_recipes("--parameter", ["a=1e-3", "b=-1:2", "c=log_uniform(1, 10)"])
        assert found is not None
        assert (found["a"], found["b"]) == (0.001, (-1.0, 2.0))
        assert found["c"].ppf(0.5) == pytest.approx(10**0.5)
        assert parse_recipes("--parameter", []) is None
        upper = parse_recipes("--noise", ["x=truncatednormal(0,1,0,inf)"])
        assert upper is not None
        assert upper["x"].support() == (0.0, np.inf)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("a", "expected --parameter NAME=VALUE, got 'a'"),
            ("=1", "expected --parameter NAME=VALUE, got '=1'"),
            ("a=", "a as a number, a range LOW:HIGH or a distribution"),
            ("a=1:2:3", "a as a number, a range LOW:HIGH or a distribution"),
            ("a=normal(1)", "got 'normal\\(1\\)': .*missing 1 required"),
            ("a=normal(1,x)", "got 'normal\\(1,x\\)'"),
            ("a=normal(1,-1)", "expected finite numbers with sd > 0"),
            ("a=__import__(1)", "unknown distribution '__import__'"),
        ],
    )
    def test_recipes_that_are_none(self, text, message):
        with pytest.raises(UsageError, match=message):
            parse_recipes("--parameter", [text])

    def test_a_name_twice(self):
        with pytest.raises(UsageError, match="once for each name, got 'a' twice"):
            parse_recipes("--parameter", ["a=1", "a=2"])

    def test_close_distributions_are_offered(self):
        with pytest.raises(UnknownNameError, match="did you mean 'log_normal'"):
            parse_recipes("--parameter", ["a=lognorm(1,2)"])

    def test_levels(self):
        assert parse_levels("--noise", []) == 0.0
        assert parse_levels("--noise", ["0.25"]) == 0.25
        assert parse_levels("--noise", ["x=1", "y=0:1"]) == {"x": 1.0, "y": (0.0, 1.0)}
        with pytest.raises(UsageError, match="expected --noise as a number, got 'much'"):
            parse_levels("--noise", ["much"])
        with pytest.raises(UsageError, match="one number or OUTPUT=VALUE, got 2"):
            parse_levels("--noise", ["1", "2"])
        with pytest.raises(UsageError, match="expected --noise NAME=VALUE, got '1'"):
            parse_levels("--noise", ["1", "x=2"])

    def test_renames(self):
        found = parse_renames("--rename", ["hare=prey", "remark="])
        assert found == {"hare": "prey", "remark": None}
        assert parse_renames("--rename", []) is None

    def test_numbers_words_and_bounds(self):
        assert parse_numbers("--fix", ["g=9.81", "m=1e-3"]) == {"g": 9.81, "m": 1e-3}
        assert parse_numbers("--fix", []) is None
        assert parse_word_or_numbers("--noise-sd", [], "each") == "each"
        assert parse_word_or_numbers("--noise-sd", ["common"], "each") == "common"
        assert parse_word_or_numbers("--noise-sd", ["a=1", "b=2"], "each") == {"a": 1.0, "b": 2.0}
        assert parse_bounds("--bounds", ["a=-1:2", "b=:3"]) == {"a": (-1.0, 2.0), "b": (None, 3.0)}
        with pytest.raises(UsageError, match="once for each name, got 'a' twice"):
            parse_bounds("--bounds", ["a=0:1", "a=0:2"])
