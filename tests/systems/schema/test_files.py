"""Files: identical round trips, and nothing half-written whatever happens."""

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

from warp_phys.systems.catalog.registry import get_system
from warp_phys.systems.errors import OutputExistsError, SchemaError, UsageError
from warp_phys.systems.schema.atomic import _publish_without_links, write_atomic
from warp_phys.systems.schema.files import load, save
from warp_phys.systems.schema.labels import (
    labeled,
    named_coords,
    stamp,
    time_axis,
    trajectory_coords,
)
from warp_phys.systems.schema.variables import SIMULATED


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def dataset(value: float = 1.0, n: int = 3, *, own_grids: bool = False) -> xr.Dataset:
    times = np.arange(4.0)
    if own_grids:
        times = np.where(np.arange(4) < 3, times, np.nan) + np.zeros((n, 1))
    observed = np.full((n, 4, 2), value)
    observed[0, 1] = np.nan
    outputs = named_coords("output", ["prey", "predator"], ["kg", "kg"])
    coordinates = trajectory_coords(n) | time_axis(times, "year") | outputs
    values = {"observed": observed, "status": np.arange(n, dtype=np.int64)}
    labels = labeled(values, coordinates, SIMULATED)
    stamped = stamp(labels, title="Test µ", seed=2**63 - 1, rtol=1e-8, settings={"a": 1})
    return stamped.assign_attrs(system="lotka_volterra")


class TestRoundTrip:
    @pytest.mark.parametrize("own_grids", [False, True])
    @pytest.mark.parametrize("suffix", [".nc", ".h5", ".hdf5"])
    def test_what_comes_back_is_identical(self, tmp_path, own_grids, suffix):
        path = tmp_path / f"data{suffix}"
        written = dataset(own_grids=own_grids)
        save(written, path)
        read = load(path)
        xr.testing.assert_identical(read, written)
        assert read.observed.dtype == np.float64
        assert read.status.dtype == np.int64
        assert all(not variable.encoding for variable in read.variables.values())
        path.unlink()  # closed and in memory
        assert np.isnan(read.observed.values[0, 1]).all()

    def test_labels_and_flags_survive(self, tmp_path):
        written = dataset().assign_coords(trajectory=["a", "b", "µ"])
        written["identifiable"] = ("trajectory", np.array([True, False, True]))
        save(written, tmp_path / "data.nc")
        xr.testing.assert_identical(load(tmp_path / "data.nc"), written)

    def test_saved_twice_gives_the_same_numbers(self, tmp_path):
        save(dataset(), tmp_path / "one.nc")
        save(load(tmp_path / "one.nc"), tmp_path / "two.nc")
        xr.testing.assert_identical(load(tmp_path / "one.nc"), load(tmp_path / "two.nc"))

    def test_plain_h5py_reads_it(self, tmp_path):
        save(dataset(2.5), tmp_path / "data.nc")
        with h5py.File(tmp_path / "data.nc") as file:
            assert file["observed"].shape == (3, 4, 2)
            assert file["observed"].dtype == np.float64
            assert file["observed"][2, 3, 1] == 2.5
            assert [name.decode() for name in file["output"]] == ["prey", "predator"]
            assert file.attrs["schema_version"] == "1"
            assert "_FillValue" not in file["time"].attrs

    def test_no_path_of_this_machine_is_in_it(self, tmp_path):
        save(dataset(), tmp_path / "data.nc")
        content = (tmp_path / "data.nc").read_bytes()
        assert str(tmp_path).encode() not in content
        assert str(Path.cwd()).encode() not in content


class TestSave:
    def test_an_existing_file_stays_unless_asked(self, tmp_path):
        path = tmp_path / "data.nc"
        save(dataset(1.0), path)
        with pytest.raises(OutputExistsError, match=r"data.nc exists already; .* overwrite=True"):
            save(dataset(2.0), path)
        assert load(path).observed.values[1, 0, 0] == 1.0
        save(dataset(2.0), path, overwrite=True)
        assert load(path).observed.values[1, 0, 0] == 2.0
        assert names_in(tmp_path) == ["data.nc"]

    def test_a_name_taken_meanwhile_is_not_overwritten(self, tmp_path):
        target = tmp_path / "data.nc"
        target.write_text("old")
        with pytest.raises(OutputExistsError):
            write_atomic(b"new", target, overwrite=False)
        assert target.read_text() == "old"
        assert names_in(tmp_path) == ["data.nc"]

    def test_so_it_is_without_hard_links(self, tmp_path):
        temporary, target = tmp_path / ".new.tmp", tmp_path / "data.nc"
        temporary.write_text("new")
        target.write_text("old")
        with pytest.raises(OutputExistsError):
            _publish_without_links(temporary, target)
        assert target.read_text() == "old"
        target.unlink()
        _publish_without_links(temporary, target)
        assert target.read_text() == "new"

    def test_of_two_racing_processes_one_wins_whole(self, tmp_path):
        code = child(
            f"""
            try:
                save(dataset(float(sys.argv[1]), n=2000), {str(tmp_path / "data.nc")!r})
                print("saved")
            except OutputExistsError:
                print("refused")
            """
        )
        racers = [
            subprocess.Popen(
                [sys.executable, "-c", code, str(k)], stdout=subprocess.PIPE, text=True
            )
            for k in (1, 2)
        ]
        said = [racer.communicate()[0].strip() for racer in racers]
        assert sorted(said) == ["refused", "saved"]
        winner = 1.0 + said.index("saved")
        assert (load(tmp_path / "data.nc").observed.values[1:] == winner).all()
        assert names_in(tmp_path) == ["data.nc"]

    def test_a_link_keeps_pointing(self, tmp_path):
        save(dataset(1.0), tmp_path / "real.nc")
        (tmp_path / "link.nc").symlink_to("real.nc")
        save(dataset(2.0), tmp_path / "link.nc", overwrite=True)
        assert (tmp_path / "link.nc").is_symlink()
        assert load(tmp_path / "real.nc").observed.values[1, 0, 0] == 2.0

    def test_permissions_are_the_usual_ones(self, tmp_path):
        save(dataset(), tmp_path / "data.nc")
        (tmp_path / "plain").touch()
        assert (tmp_path / "data.nc").stat().st_mode == (tmp_path / "plain").stat().st_mode

    @pytest.mark.parametrize(
        ("name", "error", "text"),
        [
            ("data.csv", UsageError, "file name ending in .nc or .h5 or .hdf5, got data.csv"),
            ("none/data.nc", FileNotFoundError, "folder of .*none/data.nc does not exist"),
        ],
    )
    def test_a_bad_name_says_why(self, tmp_path, name, error, text):
        with pytest.raises(error, match=text):
            save(dataset(), tmp_path / name)

    def test_only_data_sets_of_this_package(self, tmp_path):
        with pytest.raises(SchemaError, match="expected a Dataset of this package"):
            save(xr.Dataset(), tmp_path / "data.nc")
        assert names_in(tmp_path) == []


def child(body: str) -> str:
    """Return a program that can use `dataset` of this module, `save` and `OutputExistsError`."""
    setup = f"""
        import os, resource, signal, sys
        import importlib.util
        spec = importlib.util.spec_from_file_location("helpers", {__file__!r})
        helpers = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(helpers)
        dataset, save, OutputExistsError = helpers.dataset, helpers.save, helpers.OutputExistsError
    """
    return textwrap.dedent(setup) + textwrap.dedent(body)


def run(body: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", child(body)], capture_output=True, text=True, timeout=60, check=False
    )


class TestFailure:
    def test_a_file_size_limit_leaves_the_old_file_and_no_other(self, tmp_path):
        old = tmp_path / "old.nc"
        save(dataset(1.0), old)
        before = old.read_bytes()
        result = run(
            f"""
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
            os.chdir({str(tmp_path)!r})
            for name, overwrite in (("old.nc", True), ("new.nc", False)):
                try:
                    save(dataset(2.0, n=20_000), name, overwrite=overwrite)
                except OSError as error:
                    print(error.strerror, os.listdir())
            """
        )
        expected = "File too large ['old.nc']\n" * 2
        assert (result.returncode, result.stdout) == (0, expected), result.stderr
        assert old.read_bytes() == before

    def test_a_full_disk_leaves_the_old_file_and_no_other(self, small_disk):
        old = small_disk / "old.nc"
        save(dataset(1.0), old)
        before = old.read_bytes()
        with pytest.raises(OSError, match="No space left on device"):
            save(dataset(2.0, n=50_000), old, overwrite=True)
        assert old.read_bytes() == before
        assert names_in(small_disk) == ["old.nc"]
        save(dataset(3.0), old, overwrite=True)
        assert load(old).observed.values[1, 0, 0] == 3.0

    def test_a_killed_process_leaves_a_whole_file(self, tmp_path):
        path = tmp_path / "data.nc"
        save(dataset(0.0, n=100_000), path)
        code = child(
            f"""
            print("ready", flush=True)
            value = 0.0
            while True:
                value += 1.0
                save(dataset(value, n=100_000), {str(path)!r}, overwrite=True)
            """
        )
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            deadline = time.monotonic() + 30
            while not (left := list(tmp_path.glob(".*.tmp"))) and time.monotonic() < deadline:
                pass
            writer.send_signal(signal.SIGKILL)
        assert left
        values = load(path).observed.values
        assert values.shape == (100_000, 4, 2)
        assert (values[1:] == values[1, 0, 0]).all()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one megabyte; needs the right to mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


class TestLoad:
    def test_a_foreign_file_is_told_from_ours(self, tmp_path):
        xr.Dataset({"x": ("t", [1.0])}).to_netcdf(tmp_path / "foreign.nc", engine="h5netcdf")
        text = "foreign.nc was not written by this package: it has no attribute 'schema_version'"
        with pytest.raises(SchemaError, match=f"{text}; .* read_trajectories"):
            load(tmp_path / "foreign.nc")

    def test_a_folder_of_shards_is_opened_elsewhere(self, tmp_path):
        with pytest.raises(UsageError, match=r"is a folder; warp_phys\.data_gen\.open_dataset"):
            load(tmp_path)

    def test_another_version_says_both(self, tmp_path):
        save(dataset().assign_attrs(schema_version="7"), tmp_path / "data.nc")
        with pytest.raises(SchemaError, match="has schema version 7, this package reads 1"):
            load(tmp_path / "data.nc")

    def test_something_else_is_not_a_data_file(self, tmp_path):
        (tmp_path / "data.nc").write_text("time,prey\n")
        with pytest.raises(SchemaError, match=r"data.nc is not a readable NetCDF or HDF5 file"):
            load(tmp_path / "data.nc")

    def test_a_half_written_file_says_so(self, tmp_path):
        save(dataset(n=1000), tmp_path / "data.nc")
        content = (tmp_path / "data.nc").read_bytes()
        (tmp_path / "data.nc").write_bytes(content[: len(content) // 2])
        with pytest.raises(SchemaError, match="not a readable"):
            load(tmp_path / "data.nc")

    def test_a_missing_file_says_so(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"there is no file .*none.nc"):
            load(tmp_path / "none.nc")

    def test_the_system_may_be_asked_for(self, tmp_path):
        save(dataset(), tmp_path / "data.nc")
        load(tmp_path / "data.nc", system=get_system("lotka_volterra"))
        with pytest.raises(
            SchemaError, match=r"belongs to the system 'lotka_volterra', got .*'sir'"
        ):
            load(tmp_path / "data.nc", system=get_system("sir"))
