"""Folders of data sets that are damaged, of somebody else, in use, or on a full disk."""

import contextlib
import json
import shutil
import subprocess
import sys
import textwrap
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import xarray as xr

from tests.data_gen.storing.sharded import contents, make
from warp_phys.data_gen import open_dataset
from warp_phys.data_gen.storing.folder import locked
from warp_phys.data_gen.storing.shards import _check_software
from warp_phys.data_gen.storing.software import computing_software
from warp_phys.systems import OutputExistsError, UsageError
from warp_phys.systems.compiling.compiler import compiler


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
