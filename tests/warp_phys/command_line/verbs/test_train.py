"""`warp-phys train`: the model, its history and its checkpoint."""

import numpy as np
import pytest

import warp_phys as wp


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

    def test_the_prior_of_the_information_head(self, run, folder, tmp_path):
        path, history = tmp_path / "prior.safetensors", tmp_path / "prior.nc"
        status, out, _ = run(
            *("train", "sine", folder / "data.nc", "-o", path, "--head", "information"),
            *("--history", history),
        )
        assert status == 0
        header, *_, last = out.splitlines()
        assert header.split() == ["prior", "of", "mean", "standard", "deviation"]
        assert last == (f"wrote {path}: WarpPhys(sine, head=information, prior of 400 records)")
        assert "phase" in out
        model = wp.WarpPhys("sine")
        expected = wp.train(model, wp.load(folder / "data.nc"))
        np.testing.assert_array_equal(wp.load(history).prior_mean, expected.prior_mean)
        record = wp.load(folder / "data.nc").isel(trajectory=slice(2))
        np.testing.assert_array_equal(
            wp.estimate(wp.WarpPhys.load(path), record).parameters,
            wp.estimate(model, record).parameters,
        )

    @pytest.mark.parametrize(
        "options",
        [
            "--steps 10",
            "--batch-size 3",
            "--learning-rate 0.1",
            "--seed 4",
            "--time-budget 3",
            "--validation data.nc",
            "--checkpoint again.safetensors",
        ],
    )
    def test_options_without_effect_are_refused(self, error_of, folder, monkeypatch, options):
        monkeypatch.chdir(folder)
        arguments = ("sine", "data.nc", "-o", "no.safetensors", "--head", "information")
        flag, _ = options.split()
        error = error_of("train", *arguments, *options.split())
        assert f"expected no {flag} with --head information, which only takes the" in error
        assert not (folder / "no.safetensors").exists()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ("-o model.nc", "expected --output to end in .safetensors, got model.nc"),
            ("-o new.safetensors --head dirct", "unknown head 'dirct'; did you mean 'direct'"),
            (
                "-o new.safetensors --drive log_difference",
                "expected drive='difference', 'features' or 'raw', got 'log_difference', which",
            ),
            (
                "-o new.safetensors --head information --drive features",
                "expected no drive with head='information'",
            ),
            ("-o new.safetensors --history h.csv", "expected --history to end in .nc"),
            ("-o model.safetensors", "model.safetensors exists already; choose another name or"),
            ("-o none/m.safetensors", "the folder of none/m.safetensors does not exist"),
            (
                "-o new.safetensors --checkpoint new.safetensors",
                "expected different files for --output and --checkpoint",
            ),
        ],
    )
    def test_complaints_come_before_the_work(self, error_of, folder, monkeypatch, options, message):
        monkeypatch.chdir(folder)
        before = sorted(entry.name for entry in folder.iterdir())
        assert message in error_of("train", "sine", "data.nc", *options.split())
        assert sorted(entry.name for entry in folder.iterdir()) == before
