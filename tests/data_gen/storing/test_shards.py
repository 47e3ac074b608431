"""Sharded data sets: the same numbers, the same bytes however they were made, nothing lost."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import h5py
import numpy as np
import pytest
import xarray as xr

import warp_phys as wp
from tests.data_gen.storing.sharded import OPTIONS, TIMES, contents, lose, make
from warp_phys.data_gen import log_normal, open_dataset, simulate
from warp_phys.data_gen.storing.manifest import new_manifest, read_manifest
from warp_phys.systems import OutputExistsError, Parameter, State, System, UsageError


class Growing(System):
    """y' = rate y, with an initial state of 1."""

    states = (State("y", "1", support="positive"),)
    parameters = (Parameter("rate", "1", range=(0.0, 1.0)),)

    def rhs(self, t, y, p):
        return (p.rate * y[0],)

    def solution(self, t, y0, p):
        return (y0[0] * (p.rate * t).exp(),)


class Level(System):
    """y' = rate y, with any initial state."""

    states = (State("level", "1"),)
    parameters = (Parameter("rate", "1", range=(0.0, 1.0)),)

    def rhs(self, t, y, p):
        return (p.rate * y[0],)


class TestNumbers:
    def test_they_are_those_of_one_call_in_memory(self, finished):
        data = open_dataset(finished, verify=True)
        memory = simulate("damped_oscillator", 50, TIMES, **OPTIONS)
        xr.testing.assert_allclose(data.compute(), memory, rtol=1e-12)
        for name, variable in memory.variables.items():
            assert data[name].attrs.keys() == variable.attrs.keys()
            assert data[name].dtype == variable.dtype
        for name in ("true_parameters", "true_initial_state"):
            assert np.array_equal(data[name], memory[name])
        assert data.attrs | {"history": ""} == memory.attrs | {"history": ""}

    def test_every_shard_is_a_data_set_of_its_own(self, finished):
        shard = wp.load(finished / "shard-000003.nc")
        assert shard.trajectory.values.tolist() == list(range(30, 40))
        part = open_dataset(finished).isel(trajectory=slice(30, 40)).compute()
        xr.testing.assert_equal(shard, part)

    def test_arrays_of_the_whole_are_cut(self, tmp_path):
        given = {
            "parameters": {"rate": np.linspace(0.0, 1.0, 20)},
            "initial_states": {"y": list(range(1, 21))},
            "noise": {"y": np.linspace(0.1, 0.2, 20)},
            "seed": 1,
        }
        grids = np.add.outer(np.arange(20.0), TIMES)
        grids[3, 2:] = np.nan
        data = simulate(Growing(), 20, grids, **given, output=tmp_path / "set", shard_size=6)
        memory = simulate(Growing(), 20, grids, **given)
        xr.testing.assert_allclose(data.compute(), memory, rtol=1e-12)

    def test_known_initial_states_are_in_every_shard(self, tmp_path):
        options = {"initial_states": {"position": 1.5}, "parameters": None}
        rates = {"damping_rate": np.linspace(0.1, 0.5, 50)}
        for name, given in (("drawn", options), ("given", options | {"parameters": rates})):
            memory = simulate("damped_oscillator", 50, TIMES, **OPTIONS, **given)
            data = make(tmp_path / name, **given)
            xr.testing.assert_allclose(data.compute(), memory, rtol=1e-12)
            known = np.array([1.5, np.nan]) * np.ones((50, 1))
            np.testing.assert_array_equal(data.known_initial_state, known)
            whole = contents(tmp_path / name)
            lose(tmp_path / name, 0, 3)
            make(tmp_path / name, **given)
            assert contents(tmp_path / name) == whole

    def test_shards_without_known_initial_states_are_not_mixed_in(self, tmp_path):
        """An earlier version did not write them, nor this entry of its configuration."""
        options = {"initial_states": {"position": 1.5}}
        make(tmp_path / "set", **options)
        manifest = read_manifest(tmp_path / "set")
        earlier = dict(manifest.configuration)
        assert earlier.pop("known_initial_state") == ["position"]
        replace(new_manifest(earlier), shards=manifest.shards).write(tmp_path / "set")
        with pytest.raises(OutputExistsError, match=r"settings: known_initial_state \(none there"):
            make(tmp_path / "set", **options)

    def test_designs_and_constraints_go_through_all_shards(self, tmp_path):
        options = {
            "sampling": "latin_hypercube",
            "constraints": ["rate > 0.3", lambda values: values["y"] < 5],
            "initial_states": {"y": log_normal(1.0, 1.0)},
            "seed": 1,
        }
        data = simulate(Growing(), 20, TIMES, **options, output=tmp_path / "set", shard_size=6)
        memory = simulate(Growing(), 20, TIMES, **options)
        xr.testing.assert_allclose(data.compute(), memory, rtol=1e-12)
        assert data.rejected.values.sum() > 0
        assert (data.true_parameters > 0.3).all()

    def test_what_lognormal_noise_does_not_fit_stops_nothing(self, tmp_path):
        options = {"parameters": {"rate": 0.1}, "seed": 1, "distribution": "lognormal"}
        starts = np.where(np.arange(12) // 2 == 1, 0.0, 1.0)  # all of the second shard
        options |= {"initial_states": {"level": starts}, "noise": 0.1}
        data = simulate(Level(), 12, TIMES, **options, output=tmp_path / "set", shard_size=2)
        lost = starts == 0
        assert (data.status.values[~lost] == 0).all()
        assert (data.status.values[lost] == 4).all()
        assert (np.isnan(data.observed.values).all(axis=(1, 2)) == lost).all()
        assert not np.isnan(data.noiseless.values).any()
        memory = simulate(Level(), 12, TIMES, **options)
        xr.testing.assert_allclose(data.compute(), memory, rtol=1e-12)

    def test_a_shard_takes_64_mib_by_default(self, tmp_path):
        times = np.linspace(0.0, 1.0, 100_000)
        data = simulate("sine", 50, times, seed=1, output=tmp_path / "set", progress=False)
        sizes = [path.stat().st_size for path in sorted((tmp_path / "set").glob("shard-*.nc"))]
        assert 60e6 < sizes[0] < 68e6
        assert data.observed.chunksizes["trajectory"] == (41, 9)


class TestBytes:
    def test_nothing_of_the_machine_or_the_moment_is_in_them(self, finished):
        for name, content in contents(finished).items():
            assert str(finished).encode() not in content, name
        with h5py.File(finished / "shard-000000.nc") as file:
            assert file.attrs["history"] == "warp_phys.data_gen.simulate"

    @pytest.mark.parametrize("kind", ["threads", "processes"])
    def test_workers_make_the_same(self, finished, tmp_path, pool, kind):
        executor = pool if kind == "processes" else ThreadPoolExecutor(3)
        make(tmp_path / "set", executor=executor)
        assert contents(tmp_path / "set") == contents(finished)

    def test_going_on_makes_the_same(self, finished, unfinished):
        kept = (unfinished / "shard-000000.nc").stat().st_mtime_ns
        make(unfinished)
        assert contents(unfinished) == contents(finished)
        assert (unfinished / "shard-000000.nc").stat().st_mtime_ns == kept

    def test_leftovers_and_unrecorded_shards_are_replaced(self, finished, unfinished):
        (unfinished / ".shard-000002.nc.abc.tmp").write_bytes(b"half")
        (unfinished / ".manifest.json.abc.tmp").write_bytes(b"half")
        shutil.copy(finished / "shard-000004.nc", unfinished)
        make(unfinished)
        assert contents(unfinished) == contents(finished)

    def test_without_a_seed_it_goes_on_with_its_own(self, unfinished, finished):
        make(unfinished, seed=None)
        assert contents(unfinished) == contents(finished)

    def test_a_finished_set_stays_as_it_is(self, finished):
        before = contents(finished)
        make(finished)
        assert contents(finished) == before


class TestMistakes:
    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"shard_size": 0}, "expected shard_size as an integer >= 1, got 0"),
            ({"executor": 4}, r"expected executor as a concurrent.futures.Executor, .* got 4"),
            ({"noise": {"x": 0.1}}, "unknown output"),
            (
                {"parameters": {"damping_rate": np.full(50, -1.0)}},
                "'damping_rate' of trajectory 0 is -1",
            ),
        ],
    )
    def test_they_are_found_before_the_work(self, tmp_path, options, text):
        with pytest.raises(UsageError, match=text):
            make(tmp_path / "set", **options)

    def test_those_options_need_a_folder(self):
        with pytest.raises(UsageError, match="executor, shard_size and overwrite need output"):
            make(None, shard_size=7)

    def test_the_folder_around_it_must_be_there(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"folder around .* does not exist"):
            make(tmp_path / "none" / "set")
        (tmp_path / "file").touch()
        with pytest.raises(UsageError, match="expected output as a folder, got the file"):
            make(tmp_path / "file")

    def test_a_value_far_down_is_found_before_the_work(self, tmp_path):
        rates = np.ones(30)
        rates[25] = np.inf
        with pytest.raises(UsageError, match="'rate' of trajectory 25"):
            simulate(
                Growing(), 30, TIMES, parameters={"rate": rates}, output=tmp_path / "set", seed=0
            )
        assert not (tmp_path / "set").exists()

    def test_a_shard_that_fails_is_named_and_the_others_are_kept(self, tmp_path):
        levels = np.full(50, 0.1)
        levels[30] = -1.0
        with pytest.raises(UsageError, match=r"^shard 3 \(trajectories 30 to 39\): expected noise"):
            make(tmp_path / "set", noise={"position": levels})
        assert len(list((tmp_path / "set").glob("*.nc"))) == 3

    def test_a_class_that_cannot_be_sent(self, tmp_path, pool):
        class Local(Growing):
            pass

        with pytest.raises(UsageError, match="the system of Local cannot be sent to workers"):
            simulate(Local(), 9, TIMES, seed=0, output=tmp_path, shard_size=4, executor=pool)
