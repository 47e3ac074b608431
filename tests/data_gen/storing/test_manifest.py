"""The manifest and the configuration in it: round trips, and every difference counts."""

import json
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.data_gen.storing.sharded import some_manifest
from warp_phys.data_gen import log_normal, truncated_normal, uniform
from warp_phys.data_gen.storing.identity import canonical, differences
from warp_phys.data_gen.storing.manifest import digest, new_manifest, read_manifest
from warp_phys.systems import (
    Dose,
    Event,
    LotkaVolterra,
    Parameter,
    Pendulum,
    SchemaError,
    State,
    System,
)


class Quantiles:
    """A distribution of a user's own."""

    def __init__(self, power):
        self.power = power

    def ppf(self, q):
        return np.asarray(q) ** self.power


def decay(factor):
    """Return a class whose right-hand side differs by a constant alone."""

    class Decay(System):
        states = (State("y", "1"),)
        parameters = (Parameter("rate", "1", range=(0.0, 1.0)),)

        if factor == 2:

            def rhs(self, t, y, p):
                return (-2.0 * p.rate * y[0],)

        else:

            def rhs(self, t, y, p):
                return (-3.0 * p.rate * y[0],)  # a comment changes nothing

    return Decay()


def above(limit):
    """Return a constraint that closes over a number."""
    return lambda values: values["a"] > limit


def fraction(values, share=0.5):
    return values["a"] > share


class Drag(LotkaVolterra):
    """A system with a setting that is none of its options."""

    def __init__(self, setting):
        super().__init__()
        self.setting = setting


def bouncing(share, limit):
    """Return a system whose event differs by numbers alone."""

    class Bouncing(Pendulum):
        events = (Event(lambda t, y, p: y[0] < limit, {"angle": lambda t, y, p: share * y[1]}),)

    return Bouncing()


SCALES = {"k": 2.0}

MODULE = """
from warp_phys.systems import Parameter, State, System
factor = 2.0
calls = 0

def helper(x):
    return factor * x

class Own(System):
    states = (State("y", "1"),)
    parameters = (Parameter("rate", "1", range=(0.0, 1.0)),)

    def rhs(self, t, y, p):
        return (-helper(p.rate) * y[0],)

def limited(values, *, share=0.5):
    global calls
    calls += 1
    return helper(values["rate"]) > share
"""


def configurations(source, **changed):
    """Return those of the system and the constraint of a module."""
    module = {"__name__": "own"}
    exec(source, module)
    module |= changed
    return {"system": canonical(module["Own"]()), "limited": canonical(module["limited"])}


DIFFERENT = [
    None,
    [],
    object,
    above(1.0),
    above(2.0),
    fraction,
    partial(fraction, share=0.1),
    partial(fraction, share=0.2),
    Drag(1.0),
    Drag(np.arange(2.0)),
    0.1,
    (0.1, 0.2),
    [0.1, 0.2],
    "normal",
    {"prey": 0.1},
    {"prey": (0.1, 0.2)},
    np.linspace(0.0, 1.0, 100),
    np.linspace(0.0, 1.0, 101),
    np.linspace(0.0, 1.0, 100).reshape(10, 10),
    uniform(0.0, 1.0),
    uniform(0.0, 1.5),
    log_normal(1.0, 1.0),
    truncated_normal(1.0, 1.0),
    stats.norm(1.0, 2.0),
    stats.norm(loc=1.0),
    Quantiles(1),
    Quantiles(2),
    lambda values: values["a"] > 1,
    lambda values: values["a"] > 2,
    lambda values: values["b"] > 1,
    Dose("y", 1.0, 0.0),
    Dose("y", (0.0, 1.0), 0.0),
    LotkaVolterra(),
    LotkaVolterra(alpha=(0.1, 0.2)),
    Pendulum(),
    Pendulum(g=9.0),
    decay(2),
    decay(3),
    bouncing(0.5, 0.0),
    bouncing(0.6, 0.0),
    bouncing(0.5, 0.1),
]


class TestConfiguration:
    def test_different_settings_have_different_digests(self):
        digests = [digest({"setting": canonical(value)}) for value in DIFFERENT]
        assert len(set(digests)) == len(DIFFERENT)

    def test_equal_settings_have_equal_ones(self):
        for value in (np.arange(100.0), np.arange(100), list(range(100))):
            assert canonical(value) == canonical(np.arange(100.0))
        assert canonical(decay(2)) == canonical(decay(2))
        assert canonical(Quantiles(2)) == canonical(Quantiles(2))
        assert canonical(above(1.0)) == canonical(above(1.0))
        assert canonical(partial(fraction, share=0.1)) == canonical(partial(fraction, share=0.1))
        searched = LotkaVolterra()
        assert searched.affine_form is not None
        assert canonical(searched) == canonical(LotkaVolterra())
        assert canonical(np.float64(0.1)) == canonical(0.1)
        for value in (1, np.float32(1.0), np.int64(1)):
            assert json.dumps(canonical([value, (0, value)])) == json.dumps(
                canonical([1.0, (0.0, 1.0)])
            )
        assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})

    def test_they_are_the_same_in_every_process(self):
        code = (
            "from warp_phys.systems import LotkaVolterra\n"
            "from warp_phys.data_gen import log_normal\n"
            "from warp_phys.data_gen.storing.identity import canonical\n"
            "names = lambda v: v['a'] in {'one', 'two', 'three'}\n"
            "found = canonical([LotkaVolterra(), log_normal(1.0, 2.0), names])\n"
        )
        here: dict[str, object] = {}
        exec(code, here)
        there = subprocess.run(
            [sys.executable, "-c", code + "print(found)"],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": "1"},
        )
        assert there.stdout.strip() == str(here["found"])

    def test_differences_have_names(self):
        there = canonical({"noise": {"prey": 0.1}, "seed": 1, "times": np.arange(99.0)})
        wanted = canonical({"noise": 0.1, "seed": 1, "times": np.arange(98.0)})
        words = differences(there, wanted)
        assert words.startswith("noise.prey (0.1 there, none now), times.shape ([99] there, [98]")
        assert "seed" not in words
        assert words.endswith("noise (none there, 0.1 now)")

    def test_every_difference_of_the_texts_has_one(self):
        assert differences({"a": 0, "b": None}, {"a": False}) == (
            "a (0 there, false now), b (null there, none now)"
        )

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("factor = 2.0", "factor = 3.0"),
            ("return factor * x", "return factor + x"),
            ("share=0.5", "share=0.6"),
        ],
    )
    def test_what_code_uses_of_its_module_counts(self, before, after):
        assert configurations(MODULE) == configurations(f"# a comment\n{MODULE}")
        changed = configurations(MODULE.replace(before, after))
        assert changed["limited"] != configurations(MODULE)["limited"]
        if "share" not in before:
            assert changed["system"] != configurations(MODULE)["system"]

    def test_so_do_the_formulas_of_a_system(self):
        """What reaches them by other ways than the code."""

        class Scaled(System):
            states = (State("y", "1"),)
            parameters = (Parameter("rate", "1", range=(0.0, 1.0)),)

            def rhs(self, t, y, p):
                return (-SCALES["k"] * p.rate * y[0],)

        found = []
        for scale in (2.0, 3.0):
            SCALES["k"] = scale
            found.append(canonical(Scaled()))
        assert found[0]["code"] == found[1]["code"]
        assert found[0]["formulas"] != found[1]["formulas"]

    def test_functions_may_call_themselves_and_count(self):
        def turns(values):
            return turns if values is None else values["a"] > 0

        assert canonical(turns) == canonical(turns)
        assert configurations(MODULE)["limited"] == configurations(MODULE, calls=5)["limited"]

    def test_many_are_counted(self):
        there = dict.fromkeys("abcdefgh", 1)
        assert differences(there, {"a": 1}).endswith("f (1 there, none now) and 2 more")


class TestManifest:
    @given(st.integers(1, 10**6), st.integers(1, 10**6))
    def test_shards_cover_everything_once(self, n, size):
        size = max(size, n // 50)
        shards = new_manifest({"n": n, "shard_size": size}).shards
        assert [shard.first for shard in shards] == list(range(0, n, size))
        assert sum(shard.count for shard in shards) == n
        assert all(0 < shard.count <= size for shard in shards)

    def test_it_is_read_as_it_was_written(self, tmp_path):
        some_manifest().write(tmp_path)
        assert read_manifest(tmp_path) == some_manifest()
        assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            ({"format": 2}, "has format 2, this package reads 1"),
            ({"configuration": {"n": 11, "shard_size": 4, "seed": 1}}, "changed by hand"),
            ({"configuration": {"n": 10, "shard_size": 4, "seed": 2}}, "changed by hand"),
            ({"configuration": []}, "is not a readable manifest"),
            ({"shards": [{"file": "../../x", "first": 0, "count": 10}]}, "changed by hand"),
            ({"shards": [{"file": "x"}]}, "is not a readable manifest"),
        ],
    )
    def test_a_changed_one_is_told(self, tmp_path, change, text):
        some_manifest().write(tmp_path)
        path = tmp_path / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
        with pytest.raises(SchemaError, match=text):
            read_manifest(tmp_path)

    def test_so_is_half_a_one(self, tmp_path):
        (tmp_path / "manifest.json").write_text('{"format": 1,')
        with pytest.raises(SchemaError, match=r"manifest.json is not a readable manifest"):
            read_manifest(tmp_path)
