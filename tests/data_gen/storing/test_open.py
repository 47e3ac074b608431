"""Opening a sharded data set: lazily, quickly, and never the wrong numbers."""

import json
import pickle
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import xarray as xr

import warp_phys as wp
from tests.data_gen.storing.sharded import make, some_manifest
from warp_phys.data_gen import open_dataset, simulate
from warp_phys.data_gen.storing.manifest import Manifest, read_manifest
from warp_phys.systems import SchemaError
from warp_phys.systems.schema.labels import check_dataset


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("open") / "set"
    make(folder)
    return folder


@pytest.fixture
def folder(original, tmp_path):
    """A copy to be spoilt."""
    shutil.copytree(original, tmp_path / "set")
    return tmp_path / "set"


class TestLazily:
    def test_every_variable_is_read_when_asked_for(self, original):
        data = open_dataset(original)
        check_dataset(data, needs=list(data.data_vars))
        for name, variable in data.data_vars.items():
            assert variable.chunksizes["trajectory"] == (10,) * 5, name
        parts = [wp.load(path) for path in sorted(original.glob("shard-*.nc"))]
        whole = xr.concat(parts, "trajectory", data_vars="minimal", coords="minimal")
        xr.testing.assert_equal(data.compute(), whole)

    def test_only_what_is_asked_for_is_read(self, folder):
        data = open_dataset(folder)
        expected = data.observed[15].values
        for number in (0, 2, 3, 4):
            (folder / f"shard-{number:06d}.nc").unlink()
        np.testing.assert_array_equal(data.observed.sel(trajectory=15), expected)

    def test_it_can_be_sent_to_a_worker(self, original):
        data = open_dataset(original)
        sent = pickle.loads(pickle.dumps(data))
        xr.testing.assert_identical(sent.compute(), data.compute())
        assert len(pickle.dumps(data)) < 40_000

    def test_a_relative_path_holds_when_the_process_moves(self, original, tmp_path, monkeypatch):
        monkeypatch.chdir(original.parent)
        data = open_dataset("set")
        monkeypatch.chdir(tmp_path)
        assert np.isfinite(data.noiseless.values).all()

    def test_it_is_saved_like_any_other(self, original, tmp_path):
        data = open_dataset(original)
        wp.save(data, tmp_path / "one.nc")
        xr.testing.assert_identical(wp.load(tmp_path / "one.nc"), data.compute())

    def test_own_grids_are_read_lazily_too(self, tmp_path):
        grids = np.add.outer(np.arange(20.0), np.arange(4.0))
        data = simulate("sine", 20, grids, seed=0, output=tmp_path / "set", shard_size=6)
        assert data.time.chunks == ((6, 6, 6, 2), (4,))
        np.testing.assert_array_equal(data.time, grids)

    def test_thousands_of_shards_open_at_once(self, original, tmp_path):
        few = read_manifest(original)
        many = Manifest(
            {**few.configuration, "n": 10 * 4000},
            tuple(
                type(shard)(f"shard-{number:06d}.nc", 10 * number, 10, shard.size, "0", {})
                for number, shard in enumerate([few.shards[0]] * 4000)
            ),
        )
        many.write(tmp_path)
        for shard in many.shards:
            (tmp_path / shard.file).hardlink_to(original / "shard-000000.nc")
        begin = time.perf_counter()
        data = open_dataset(tmp_path)
        assert time.perf_counter() - begin < 2
        assert data.observed.shape == (40_000, 5, 2)


class TestComplaints:
    def test_no_data_set(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"there is no data set in .*/none: expected a"):
            open_dataset(tmp_path / "none")

    def test_an_unfinished_one(self, tmp_path):
        some_manifest().write(tmp_path)
        with pytest.raises(SchemaError, match="is unfinished: 0 of 3 shards are done; the same"):
            open_dataset(tmp_path)

    def test_missing_and_cut_shards_are_named(self, folder):
        (folder / "shard-000002.nc").unlink()
        (folder / "shard-000004.nc").write_bytes(b"short")
        with pytest.raises(SchemaError) as error:
            open_dataset(folder)
        assert "shard-000002.nc (missing), shard-000004.nc (5 bytes, expected" in str(error.value)

    def test_wrong_bytes_are_found_when_asked_for(self, folder):
        path = folder / "shard-000003.nc"
        content = bytearray(path.read_bytes())
        content[-9] ^= 64
        path.write_bytes(content)
        open_dataset(folder)
        with pytest.raises(SchemaError, match=r"shard-000003.nc \(wrong checksum\); the same"):
            open_dataset(folder, verify=True)

    def test_a_shard_of_another_set_is_never_read_as_one(self, folder, tmp_path):
        make(tmp_path / "other", seed=8)
        shutil.copy(tmp_path / "other" / "shard-000001.nc", folder)
        shutil.copy(folder / "shard-000002.nc", folder / "shard-000003.nc")
        data = open_dataset(folder)
        for trajectory, name in ((10, "shard-000001.nc"), (30, "shard-000003.nc")):
            with pytest.raises(SchemaError, match=f"{name} is not the shard that belongs there"):
                data.observed[trajectory].compute()

    def test_a_file_that_goes_away_is_named(self, folder):
        data = open_dataset(folder)
        (folder / "shard-000001.nc").unlink()
        with pytest.raises(SchemaError, match=r"cannot read 'observed' of .*shard-000001.nc"):
            data.observed[10].compute()

    def test_something_else_under_the_first_name(self, folder):
        path = folder / "shard-000000.nc"
        path.write_bytes(b"x" * path.stat().st_size)
        with pytest.raises(SchemaError, match=r"shard-000000.nc is not a readable shard"):
            open_dataset(folder)


def test_opening_needs_no_torch(original):
    code = (
        "import sys; from warp_phys.data_gen import open_dataset; "
        f"open_dataset({str(original)!r}); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "False\n", done.stderr


def test_the_manifest_is_plain_json(original):
    read = json.loads((original / "manifest.json").read_text())
    assert [shard["first"] for shard in read["shards"]] == list(range(0, 50, 10))
    assert sum(shard["status"]["converged"] for shard in read["shards"]) == 50
