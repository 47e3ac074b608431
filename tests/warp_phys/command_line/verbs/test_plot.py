"""`warp-phys plot` of whatever a file holds."""

import pytest


class TestPlot:
    @pytest.mark.parametrize("name", ["data", "estimate", "ahead", "history"])
    def test_whatever_the_file_holds(self, run, folder, tmp_path, name):
        path = tmp_path / f"{name}.png"
        options = ["--data", folder / "data.nc"] if name in ("estimate", "ahead") else []
        status, out, err = run("plot", folder / f"{name}.nc", "-o", path, *options)
        assert (status, out, err) == (0, f"wrote {path}\n", "")
        assert path.read_bytes().startswith(b"\x89PNG")

    def test_an_estimate_without_training(self, run, folder, tmp_path):
        found, path = tmp_path / "found.nc", tmp_path / "found.png"
        assert run("estimate", "sine", folder / "data.nc", "-o", found)[0] == 0
        status, out, err = run("plot", found, "--data", folder / "data.nc", "-o", path)
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
    def test_complaints(self, error_of, folder, monkeypatch, arguments, message):
        monkeypatch.chdir(folder)
        (folder / "data.png").touch()
        assert message in error_of("plot", *arguments.split())
        assert not (folder / "figure.png").exists()
