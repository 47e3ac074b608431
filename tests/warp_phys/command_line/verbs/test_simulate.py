"""`warp-phys simulate`: what it writes, what it prints, and how it complains."""

import sys

import pytest
import xarray as xr

import warp_phys as wp
from warp_phys.data_gen import simulate


class TestSimulate:
    def test_it_is_the_public_function(self, run, tmp_path):
        path = tmp_path / "data.nc"
        status, out, _ = run(
            *("simulate", "lotka_volterra", "-n", 5, "--times", "0,1,2.5", "-o", path),
            *("--noise", "prey=0.5:1", "--noise", "predator=lognormal(0.2, 0.1)"),
            *("--distribution", "lognormal", "--missing", 0.2, "--observe", "predator,prey"),
            *("--parameter", "alpha=0.5", "--parameter", "beta=0.02:0.03"),
            *("--parameter", "gamma=truncated_normal(1,0.5)", "--initial-state", "prey=10"),
            *("--seed", 3),
        )
        assert status == 0
        assert out == f"wrote {path}: 5 trajectories of lotka_volterra, 3 samples, seed 3\n"
        from warp_phys.data_gen import log_normal, truncated_normal

        expected = simulate(
            "lotka_volterra",
            n=5,
            times=[0.0, 1.0, 2.5],
            noise={"prey": (0.5, 1.0), "predator": log_normal(0.2, 0.1)},
            distribution="lognormal",
            missing=0.2,
            observe=["predator", "prey"],
            parameters={
                "alpha": 0.5,
                "beta": (0.02, 0.03),
                "gamma": truncated_normal(1.0, 0.5),
            },
            initial_states={"prey": 10.0},
            seed=3,
        )
        xr.testing.assert_equal(wp.load(path), expected)

    def test_the_system_s_own_times_and_a_fresh_seed(self, run, tmp_path):
        for name in ("one.nc", "two.nc"):
            assert run("simulate", "sine", "-n", 1, "-o", tmp_path / name)[0] == 0
        one, two = wp.load(tmp_path / "one.nc"), wp.load(tmp_path / "two.nc")
        assert one.sizes["time"] == 16
        assert one.attrs["seed"] != two.attrs["seed"]

    def test_failed_trajectories_are_told(self, run, tmp_path):
        status, _, err = run(
            *("simulate", "lotka_volterra", "-n", 2, "--times", "0:2:1"),
            *("--parameter", "alpha=1000", "--parameter", "beta=1e-300"),
            *("--parameter", "gamma=1", "--parameter", "delta=1e-300"),
            *("--initial-state", "prey=10", "--initial-state", "predator=10"),
            *("-o", tmp_path / "data.nc"),
        )
        assert status == 0
        assert err == "warning: 2 of 2 trajectories failed: 2 diverged\n"

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ("--times 0:1", "expected times as START:STOP:STEP or a list like 0,1,2.5"),
            ("--times 1,0", "expected times to increase"),
            ("--parameter fase=1", "unknown parameter of Sine 'fase'; did you mean 'phase'?"),
            ("--parameter phase", "expected --parameter NAME=VALUE, got 'phase'"),
            ("--parameter phase=gauss(1,2)", "unknown distribution 'gauss'"),
            ("--noise value=x", "expected --noise value as a number, a range LOW:HIGH or a"),
            ("--distribution gamma", "unknown distribution 'gamma'"),
            ("--observe angle", "unknown output of Sine 'angle'"),
            ("--seed -1", "seed"),
        ],
    )
    def test_complaints(self, error_of, tmp_path, options, message):
        path = tmp_path / "data.nc"
        error = error_of("simulate", "sine", "-n", 2, "-o", path, *options.split())
        assert message in error
        assert not list(tmp_path.iterdir())


class TestSimulateIntoAFolder:
    COMMAND = ("simulate", "damped_oscillator", "-n", 30, "--times", "0:2:0.5", "--seed", 3)

    def test_it_is_the_public_function(self, run, tmp_path):
        folder = tmp_path / "set"
        status, out, err = run(
            *self.COMMAND,
            *("--noise", 0.1, "--sampling", "latin_hypercube", "--shard-size", 12),
            *("--constraint", "natural_frequency > 2 * damping_rate", "--constraint", "position<0"),
            *("--initial-state", "position=-1:1", "--dose", "velocity=1:2@normal(1,0.1)"),
            *("-o", f"{folder}/"),
        )
        assert (status, err) == (0, "")
        assert out == (
            f"wrote {folder}/: 30 trajectories of damped_oscillator, 5 samples, 3 shards, seed 3\n"
        )
        from warp_phys.data_gen import normal, open_dataset
        from warp_phys.systems import Dose

        expected = simulate(
            "damped_oscillator",
            n=30,
            times=[0.0, 0.5, 1.0, 1.5, 2.0],
            noise=0.1,
            sampling="latin_hypercube",
            constraints=["natural_frequency > 2 * damping_rate", "position<0"],
            initial_states={"position": (-1.0, 1.0)},
            doses=[Dose("velocity", (1.0, 2.0), normal(1.0, 0.1))],
            seed=3,
        )
        data = open_dataset(folder, verify=True).compute()
        xr.testing.assert_allclose(data, expected, rtol=1e-12)

    def test_the_same_command_goes_on(self, run, tmp_path):
        first = run(*self.COMMAND, "-o", tmp_path / "set", "--shard-size", 12)
        (tmp_path / "set" / "shard-000001.nc").unlink()
        again = run(*self.COMMAND, "-o", tmp_path / "set", "--shard-size", 12)
        assert again == (*first[:2], "warning: shard-000001.nc is missing; it is made again\n")

    def test_failed_trajectories_are_told(self, run, tmp_path):
        status, _, err = run(
            *("simulate", "lotka_volterra", "-n", 4, "--times", "0:2:1", "--shard-size", 3),
            *("--parameter", "alpha=1000", "--parameter", "beta=1e-300"),
            *("--parameter", "gamma=1", "--parameter", "delta=1e-300"),
            *("--initial-state", "prey=10", "--initial-state", "predator=10"),
            *("-o", tmp_path / "set"),
        )
        assert status == 0
        assert err == "warning: 4 of 4 trajectories failed: 4 diverged\n"

    def test_on_a_cluster(self, run, tmp_path):
        distributed = pytest.importorskip("distributed")
        run(*self.COMMAND, "-o", tmp_path / "here", "--shard-size", 12)
        with distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as cluster:
            address = cluster.scheduler_address
            path = tmp_path / "there"
            status, _, _ = run(
                *self.COMMAND, "-o", path, "--shard-size", 12, "--scheduler", address
            )
        assert status == 0
        for file in (tmp_path / "here").iterdir():
            assert (path / file.name).read_bytes() == file.read_bytes(), file.name

    def test_without_the_extra_it_says_so(self, error_of, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "distributed", None)
        error = error_of(*self.COMMAND, "-o", tmp_path / "set", "--scheduler", "tcp://x:1")
        assert error == (
            'error: --scheduler needs dask.distributed: pip install "warp-phys[cluster]"'
        )

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ("-o data.nc --workers 2", "--workers needs a folder as --output, such as data/"),
            ("-o data.nc --shard-size 2", "--shard-size needs a folder as --output"),
            ("-o none/set", "the folder of none/set does not exist"),
            ("-o set --workers 0", "expected --workers of 1 or more, got 0"),
            ("-o set --workers 2 --scheduler x", "expected --workers or --scheduler, got both"),
            ("-o set --sampling grid", "expected sampling as one of"),
            ("-o set --constraint mass>1", "unknown parameter or state of DampedOscillator"),
            ("-o set --dose velocity=1", "expected --dose STATE=AMOUNT@TIME, got 'velocity=1'"),
            ("-o set --dose velocity=x@1", "expected the amount of --dose velocity as a number"),
            ("-o other", "other is not empty and holds no data set of this package: mine.txt"),
        ],
    )
    def test_complaints(self, error_of, tmp_path, monkeypatch, options, message):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "mine.txt").touch()
        assert message in error_of(*self.COMMAND, *options.split())
        assert [path.name for path in tmp_path.iterdir()] == ["other"]
