"""Sharded data sets: the same numbers, the same bytes however they were made, nothing lost."""

import contextlib
import json
import shutil
import subprocess
import sys
import textwrap
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

import warp_phys as wp
from tests.data_gen.storing.sharded import OPTIONS, TIMES, contents, make
from warp_phys.data_gen import log_normal, open_dataset, simulate
from warp_phys.data_gen.storing.folder import locked
from warp_phys.data_gen.storing.manifest import new_manifest, read_manifest
from warp_phys.data_gen.storing.shards import _check_software
from warp_phys.data_gen.storing.software import computing_software
from warp_phys.systems import OutputExistsError, Parameter, State, System, UsageError
from warp_phys.systems.compiling.compiler import compiler


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


@pytest.fixture(scope="module")
def pool():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        yield executor


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a data set made without interruption."""
    folder = tmp_path_factory.mktemp("finished") / "set"
    make(folder)
    return folder


@pytest.fixture
def unfinished(finished, tmp_path):
    """A folder in which two of five shards were never made."""
    folder = tmp_path / "set"
    shutil.copytree(finished, folder)
    lose(folder, 2, 4)
    return folder


def lose(folder: Path, *numbers: int) -> None:
    """Take shards away, as if they had not been made yet."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    for number in numbers:
        shard = manifest["shards"][number]
        (folder / shard["file"]).unlink()
        shard |= {"size": 0, "sha256": "", "status": None}
    path.write_text(json.dumps(manifest))


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


class TestDamage:
    def test_what_is_lost_is_named_and_made_again(self, finished, tmp_path):
        folder = tmp_path / "set"
        shutil.copytree(finished, folder)
        (folder / "shard-000001.nc").unlink()
        content = bytearray((folder / "shard-000003.nc").read_bytes())
        content[len(content) // 2] ^= 1
        (folder / "shard-000003.nc").write_bytes(content)
        (folder / "shard-000004.nc").write_bytes(content[:100])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            make(folder)
        assert [str(one.message) for one in caught] == [
            "shard-000001.nc is missing; it is made again",
            "shard-000003.nc is damaged: its checksum is wrong; it is made again",
            f"shard-000004.nc is damaged: it has 100 bytes, expected {len(content)}; "
            "it is made again",
        ]
        assert contents(folder) == contents(finished)

    @pytest.mark.parametrize("number", [2, 3])
    def test_a_shard_of_another_set_is_not_touched(self, unfinished, tmp_path, number):
        make(tmp_path / "other", seed=8)
        name = f"shard-{number:06d}.nc"
        shutil.copy(tmp_path / "other" / name, unfinished)
        before = contents(unfinished)
        with pytest.raises(OutputExistsError, match=f"not of this data set: {name}; move"):
            make(unfinished)
        assert contents(unfinished) == before

    def test_nor_is_a_stranger_s_file(self, unfinished):
        (unfinished / "shard-000004.nc").write_text("mine")
        xr.Dataset({"x": 1}).to_netcdf(unfinished / "shard-000000.nc", engine="h5netcdf")
        (unfinished / "shard-000099.nc").write_text("mine too")
        with pytest.raises(OutputExistsError) as error:
            make(unfinished)
        assert "shard-000000.nc, shard-000004.nc, shard-000099.nc; move" in str(error.value)
        assert (unfinished / "shard-000004.nc").read_text() == "mine"

    def test_other_settings_are_named(self, finished):
        with pytest.raises(OutputExistsError) as error:
            make(finished, noise=0.2, seed=8)
        assert (
            "holds a data set made from other settings: noise (0.1 there, 0.2 now), "
            "seed (7 there, 8 now); choose another folder" in str(error.value)
        )

    def test_another_engine_is_named(self, finished, unfinished, monkeypatch):
        assert (
            "engine"
            in json.loads((finished / "manifest.json").read_text())["configuration"]["software"]
        )
        if compiler() is None:
            pytest.skip("needs a compiler")
        monkeypatch.setenv("WARP_PHYS_COMPILER", "none")
        with pytest.raises(OutputExistsError, match=r'settings: software.engine .* "torch" now'):
            make(unfinished)
        with pytest.raises(UsageError, match=r"this worker has engine 'torch', the process"):
            _check_software(computing_software() | {"engine": "compiled"})

    def test_unless_they_are_to_replace_it(self, finished, tmp_path):
        folder = tmp_path / "set"
        make(folder, n=20, seed=8)
        make(folder, overwrite=True)
        assert contents(folder) == contents(finished)

    def test_a_folder_of_somebody_else_is_left_alone(self, tmp_path):
        (tmp_path / "thesis.txt").write_text("all of it")
        with pytest.raises(OutputExistsError, match=r"is not empty .*: thesis.txt; choose"):
            make(tmp_path)
        assert contents(tmp_path) == {"thesis.txt": b"all of it"}

    def test_of_two_writers_one_waits(self, tmp_path):
        folder = tmp_path / "set"
        holder = run(
            f"""
            with locked(Path({str(folder)!r})):
                try:
                    make(Path({str(folder)!r}))
                except UsageError as error:
                    print(error)
            """,
            """
            from concurrent.futures import ProcessPoolExecutor
            from multiprocessing import get_context
            from warp_phys.data_gen.storing.folder import locked
            from warp_phys.systems.errors import UsageError
            from tests.data_gen.storing.sharded import make as made

            def make(folder):
                with ProcessPoolExecutor(1, mp_context=get_context("fork")) as one:
                    one.submit(made, folder).result()
            """,
        )
        assert holder.stdout.startswith("another process or thread is writing the data set in"), (
            holder.stderr
        )

    def test_nor_do_two_threads_write_at_once(self, tmp_path):
        """Whoever got the lock file before it was removed tries again with the new one."""
        inside = []

        def write(number):
            for _ in range(200):
                with contextlib.suppress(UsageError), locked(tmp_path / "set"):
                    inside.append(number)
                    alone = len(inside) == 1
                    inside.pop()
                    assert alone

        with ThreadPoolExecutor(4) as executor:
            list(executor.map(write, range(4)))
        with (
            locked(tmp_path / "set"),
            pytest.raises(UsageError, match="process or thread is writing"),
            locked(tmp_path / "set"),
        ):
            pass
        assert not list((tmp_path / "set").iterdir())


class TestFullDisk:
    def test_a_file_size_limit_leaves_an_intact_set(self, finished, tmp_path):
        folder = tmp_path / "set"
        limit = max(map(len, contents(finished).values())) - 1
        made = run(
            f"""
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))
            try:
                make(Path({str(folder)!r}))
            except OSError as error:
                print(error)
            """
        )
        assert "File too large" in made.stdout, made.stderr
        assert "0 of 5 shards are done and intact; the same call" in made.stdout
        assert sorted(contents(folder)) == ["manifest.json"]
        make(folder)
        assert contents(folder) == contents(finished)

    def test_so_does_a_full_disk(self, small_disk, finished):
        folder = small_disk / "set"
        with pytest.raises(OSError, match=r"No space left .* of 5 shards are done") as error:
            make(folder)
        assert 0 < int(str(error.value).split(" of 5 shards")[0].split()[-1]) < 5
        with pytest.raises(UsageError, match=r"is unfinished: . of 5 shards are done"):
            open_dataset(folder)
        subprocess.run(["mount", "-o", "remount,size=2m", str(small_disk)], check=True)
        make(folder)
        assert contents(folder) == contents(finished)


@pytest.fixture
def small_disk(tmp_path, finished):
    """A file system with room for half of the data set; needs the right to mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    size = sum(map(len, contents(finished).values())) // 2
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def run(body: str, setup: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program that can make data sets."""
    head = """
        import resource, signal
        from pathlib import Path
        from tests.data_gen.storing.sharded import make
    """
    code = textwrap.dedent(head) + textwrap.dedent(setup) + textwrap.dedent(body)
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )


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
