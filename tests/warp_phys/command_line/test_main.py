"""The command line on real files: what it writes, what it prints, and how it complains."""

import inspect
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

import warp_phys as wp
from warp_phys.command_line import main as _cli
from warp_phys.data_gen import simulate

VERBS = ["systems", "simulate", "train", "estimate", "fit", "forecast", "plot"]
RECORD = "sec,reading,remark\n0,0.3,a\n0.1,0.7,b\n0.2,,c\n0.3,0.99,d\n0.4,0.8,e\n"


@pytest.fixture
def run(capsys):
    """Return a function that runs the command line: (exit status, stdout, stderr)."""

    def runner(*arguments: object) -> tuple[object, str, str]:
        with pytest.raises(SystemExit) as ended:
            _cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return runner


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with what every verb writes, each from the one before."""
    path = tmp_path_factory.mktemp("files")
    (path / "record.csv").write_text(RECORD)
    for line in (
        f"simulate sine -n 400 --times 0:0.5:0.1 --noise 0.05 --seed 1 -o {path}/data.nc",
        f"train sine {path}/data.nc -o {path}/model.safetensors --steps 30 "
        f"--history {path}/history.nc --checkpoint {path}/checkpoint.safetensors",
        f"estimate {path}/model.safetensors {path}/data.nc -o {path}/estimate.nc",
        f"forecast {path}/model.safetensors {path}/data.nc --times 0.5:1:0.1 -o {path}/ahead.nc",
    ):
        with pytest.raises(SystemExit) as ended:
            _cli.main(line.split())
        assert ended.value.code == 0, line
    return path


def error_of(run, *arguments) -> str:
    """Return the error that a command ends with: exit status 2, one line, no output."""
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err.strip()


class TestHelp:
    def test_nothing_heavy_is_imported(self):
        code = (
            "import sys, warp_phys.command_line.main; "
            "heavy = {'torch', 'xarray', 'numpy', 'pandas', 'scipy', 'matplotlib'}; "
            "print(sorted(heavy & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout.strip() == "[]", done.stderr

    @pytest.mark.parametrize("verb", VERBS)
    def test_each_verb(self, run, verb):
        status, out, _ = run(verb, "--help")
        assert status == 0
        assert f"warp-phys {verb}" in out

    def test_the_verbs(self, run):
        status, out, _ = run("--help")
        assert status == 0
        listed = out.split("Commands:")[1].split("\n\n")[0]
        assert [line.split()[0] for line in listed.strip().splitlines()] == VERBS

    def test_no_arguments_show_help(self, run):
        _, out, err = run()
        assert "Commands:" in out + err

    @pytest.mark.parametrize(
        ("verb", "function", "renamed"),
        [
            (_cli.simulate, simulate, {"number", "output", "overwrite", "parameter"}),
            (_cli.train, wp.train, {"system", "output", "head", "drive", "history", "overwrite"}),
            (_cli.estimate, wp.estimate, set()),
            (_cli.forecast, wp.forecast, set()),
        ],
    )
    def test_defaults_are_those_of_the_function(self, verb, function, renamed):
        offered = inspect.signature(verb).parameters
        wanted = inspect.signature(function).parameters
        shared = (set(offered) & set(wanted)) - renamed - {"times", "noise", "missing", "data"}
        for name in shared:
            assert offered[name].default == wanted[name].default, name


class TestSystems:
    def test_the_table(self, run):
        status, out, _ = run("systems")
        assert status == 0
        assert "lotka_volterra" in out
        assert "alpha (1/year)" in out
        assert "g (m/s2, 9.81 unless freed)" in out

    def test_one(self, run):
        _, out, _ = run("systems", "pendulum")
        assert "length" in out
        assert "Reference:" in out

    def test_a_close_name(self, run):
        assert error_of(run, "systems", "pendulm").startswith(
            "error: unknown system 'pendulm'; did you mean 'pendulum' or 'double_pendulum'?"
        )


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
            ("--distribution gamma", "unknown distribution 'gamma'; did you mean 'normal'"),
            ("--observe angle", "unknown output of Sine 'angle'"),
            ("--seed -1", "seed"),
        ],
    )
    def test_complaints(self, run, tmp_path, options, message):
        path = tmp_path / "data.nc"
        error = error_of(run, "simulate", "sine", "-n", 2, "-o", path, *options.split())
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

    def test_without_the_extra_it_says_so(self, run, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "distributed", None)
        error = error_of(run, *self.COMMAND, "-o", tmp_path / "set", "--scheduler", "tcp://x:1")
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
    def test_complaints(self, run, tmp_path, monkeypatch, options, message):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "mine.txt").touch()
        assert message in error_of(run, *self.COMMAND, *options.split())
        assert [path.name for path in tmp_path.iterdir()] == ["other"]


class TestTrain:
    def test_the_model_and_its_history(self, folder):
        model = wp.WarpPhys.load(folder / "model.safetensors")
        assert model.system.name == "sine"
        assert model.trained
        history = wp.load(folder / "history.nc")
        assert history.step[-1] == 30
        assert (folder / "checkpoint.safetensors").is_file()

    def test_going_on_from_the_checkpoint(self, run, folder):
        status, out, _ = run(
            *("train", "sine", folder / "data.nc", "-o", folder / "again.safetensors"),
            *("--steps", 30, "--checkpoint", folder / "checkpoint.safetensors"),
        )
        assert status == 0
        assert "validation loss" in out
        assert out.splitlines()[-1].startswith(f"wrote {folder / 'again.safetensors'}: WarpPhys(")
        one, two = (
            wp.estimate(wp.WarpPhys.load(folder / name), wp.load(folder / "data.nc"))
            for name in ("model.safetensors", "again.safetensors")
        )
        np.testing.assert_array_equal(one.parameters, two.parameters)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ("-o model.nc", "expected --output to end in .safetensors, got model.nc"),
            ("-o new.safetensors --head dirct", "unknown head 'dirct'; did you mean 'direct'"),
            ("-o new.safetensors --history h.csv", "expected --history to end in .nc"),
            ("-o model.safetensors", "model.safetensors exists already; choose another name or"),
            ("-o none/m.safetensors", "the folder of none/m.safetensors does not exist"),
            (
                "-o new.safetensors --checkpoint new.safetensors",
                "expected different files for --output and --checkpoint",
            ),
        ],
    )
    def test_complaints_come_before_the_work(self, run, folder, monkeypatch, options, message):
        monkeypatch.chdir(folder)
        before = sorted(entry.name for entry in folder.iterdir())
        assert message in error_of(run, "train", "sine", "data.nc", *options.split())
        assert sorted(entry.name for entry in folder.iterdir()) == before


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
    def test_complaints(self, run, folder, monkeypatch, arguments, message):
        monkeypatch.chdir(folder)
        assert message in error_of(run, "estimate", *arguments.split())


class TestForecast:
    def test_the_file_is_what_the_function_returns(self, folder):
        model = wp.WarpPhys.load(folder / "model.safetensors")
        expected = wp.forecast(
            model, [0.5, 0.6, 0.7, 0.8, 0.9, 1.0], data=wp.load(folder / "data.nc")
        )
        xr.testing.assert_equal(wp.load(folder / "ahead.nc"), expected)

    def test_overwrite(self, run, folder):
        arguments = ("forecast", folder / "model.safetensors", folder / "data.nc", "--times", "1")
        assert "exists already" in error_of(run, *arguments, "-o", folder / "ahead.nc")
        path = folder / "again.nc"
        path.write_bytes(b"old")
        status, out, _ = run(*arguments, "-o", path, "--overwrite", "--level", 0.5)
        assert status == 0
        assert out == f"wrote {path}: 400 trajectories of sine, 1 samples, 50 % bands\n"
        assert wp.load(path).attrs["band_level"] == 0.5

    def test_times_before_the_record(self, run, folder):
        status, out, err = run(
            *("forecast", folder / "model.safetensors", folder / "data.nc"),
            *("--times", "-3:-1:1", "-o", folder / "past.nc"),
        )
        assert (status, out) == (2, "")
        assert "error: expected times from 0 on" in err
        assert not (folder / "past.nc").exists()


class TestPlot:
    @pytest.mark.parametrize("name", ["data", "estimate", "ahead", "history"])
    def test_whatever_the_file_holds(self, run, folder, tmp_path, name):
        path = tmp_path / f"{name}.png"
        options = ["--data", folder / "data.nc"] if name in ("estimate", "ahead") else []
        status, out, err = run("plot", folder / f"{name}.nc", "-o", path, *options)
        assert (status, out, err) == (0, f"wrote {path}\n", "")
        assert path.read_bytes().startswith(b"\x89PNG")

    def test_a_measured_record(self, run, folder, tmp_path):
        path = tmp_path / "record.svg"
        status, _, _ = run(
            *("plot", folder / "record.csv", "-o", path, "--time", "sec"),
            *("--rename", "remark="),
        )
        assert status == 0
        assert b"<svg" in path.read_bytes()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ("data.nc -o figure.jpg", "expected --output to end in .png or .pdf or .svg"),
            ("data.nc -o figure.png --trajectory 999", "unknown trajectory '999'"),
            ("model.safetensors -o figure.png", "expected a file ending in .csv, .nc"),
            ("none.nc -o figure.png", "there is no file none.nc"),
            ("data.nc -o data.png", "data.png exists already"),
        ],
    )
    def test_complaints(self, run, folder, monkeypatch, arguments, message):
        monkeypatch.chdir(folder)
        (folder / "data.png").touch()
        assert message in error_of(run, "plot", *arguments.split())
        assert not (folder / "figure.png").exists()
