"""`warp-phys estimate`: the file, and the table that is printed."""

import pytest
import xarray as xr

import warp_phys as wp


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
    def test_complaints(self, error_of, folder, monkeypatch, arguments, message):
        monkeypatch.chdir(folder)
        assert message in error_of("estimate", *arguments.split())
