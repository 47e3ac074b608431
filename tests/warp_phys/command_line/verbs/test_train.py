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

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ("-o model.nc", "expected --output to end in .safetensors, got model.nc"),
            ("-o new.safetensors --head dirct", "unknown head 'dirct'; did you mean 'direct'"),
            (
                "-o new.safetensors --drive log_difference",
                "expected drive='difference', 'features' or 'raw', got 'log_difference', which",
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
