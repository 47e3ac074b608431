"""`warp-phys forecast` from a model or an estimate; from a fit in `test_fit.py`."""

import pytest
import xarray as xr

import warp_phys as wp


class TestForecast:
    def test_the_file_is_what_the_function_returns(self, folder):
        model = wp.WarpPhys.load(folder / "model.safetensors")
        expected = wp.forecast(
            model, [0.5, 0.6, 0.7, 0.8, 0.9, 1.0], data=wp.load(folder / "data.nc")
        )
        xr.testing.assert_equal(wp.load(folder / "ahead.nc"), expected)

    def test_overwrite(self, run, error_of, folder):
        arguments = ("forecast", folder / "model.safetensors", folder / "data.nc", "--times", "1")
        assert "exists already" in error_of(*arguments, "-o", folder / "ahead.nc")
        path = folder / "again.nc"
        path.write_bytes(b"old")
        status, out, _ = run(*arguments, "-o", path, "--overwrite", "--level", 0.5)
        assert status == 0
        assert out == f"wrote {path}: 400 trajectories of sine, 1 samples, 50 % bands\n"
        assert wp.load(path).attrs["band_level"] == 0.5

    def test_columns_are_of_a_record(self, error_of, folder):
        arguments = ("--times", "1", "-o", folder / "columns.nc")
        for name, value in (("--time", "t"), ("--trajectory", "run"), ("--rename", "x=value")):
            error = error_of("forecast", folder / "estimate.nc", *arguments, name, value)
            assert f"no record is read; leave out {name}" in error
        assert not (folder / "columns.nc").exists()

    def test_times_before_the_record(self, run, folder):
        status, out, err = run(
            *("forecast", folder / "model.safetensors", folder / "data.nc"),
            *("--times", "-3:-1:1", "-o", folder / "past.nc"),
        )
        assert (status, out) == (2, "")
        assert "error: expected times from 0 on" in err
        assert not (folder / "past.nc").exists()

    def test_without_training(self, run, folder, tmp_path):
        path = tmp_path / "untrained.nc"
        record = tmp_path / "record.nc"
        wp.save(wp.load(folder / "data.nc").isel(trajectory=slice(2)), record)
        options = ("--fix", "frequency=1", "--noise-sd", "value=0.05", "--times", "1:2:1")
        status, out, _ = run("forecast", "sine", record, *options, "-o", path)
        assert status == 0
        assert out == f"wrote {path}: 2 trajectories of sine, 2 samples, 90 % bands\n"
        model = wp.WarpPhys("sine", fixed={"frequency": 1.0}, noise_sd={"value": 0.05})
        expected = wp.forecast(model, [1.0, 2.0], data=wp.load(record))
        xr.testing.assert_equal(wp.load(path), expected)

        estimate = tmp_path / "estimate.nc"
        run("estimate", "sine", record, *options[:4], "-o", estimate)
        again = tmp_path / "again.nc"
        assert run("forecast", estimate, "--times", "1:2:1", "-o", again)[0] == 0
        xr.testing.assert_equal(wp.load(again), expected)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ("sine", "expected the records to forecast behind sine: MODEL RECORD"),
            ("sin data.nc", "unknown system 'sin'; did you mean 'sine'"),
            ("estimate.nc --loss huber", "expected no --loss with estimate.nc, which holds"),
        ],
    )
    def test_complaints(self, error_of, folder, monkeypatch, arguments, message):
        monkeypatch.chdir(folder)
        error = error_of("forecast", *arguments.split(), "--times", "1", "-o", "no.nc")
        assert message in error
        assert not (folder / "no.nc").exists()
