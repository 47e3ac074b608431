"""The main job, tiny, in an installation without extras; run by `.ci/run`."""

import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import xarray as xr

import warp_phys as wp
from warp_phys.data_gen import open_dataset, simulate
from warp_phys.recurrence.kernels.library import why_not
from warp_phys.systems import LotkaVolterra


def main() -> None:
    """Run the smoke test; an error ends it with a traceback."""
    _check_installation()
    with tempfile.TemporaryDirectory() as folder:
        _check_main_job(Path(folder))
        _check_command_line(Path(folder))
    print(f"smoke test passed: {_origin()}")


def _origin() -> str:
    return f"warp-phys {importlib.metadata.version('warp-phys')} from {Path(wp.__file__).parent}"


def _check_installation() -> None:
    _expect("site-packages" in wp.__file__, f"an installed package, got {wp.__file__}")
    for name in ("systems", "data_gen"):
        _expect(importlib.util.find_spec(name) is None, f"no top-level module {name!r}")
    _expect(importlib.util.find_spec("matplotlib") is None, "an environment without extras")
    _expect((Path(wp.__file__).parent / "py.typed").is_file(), "py.typed beside the package")


def _check_main_job(folder: Path) -> None:
    system = LotkaVolterra()
    data = simulate(
        system, n=1200, times=np.arange(21.0), noise=0.25, distribution="lognormal", seed=0
    )
    model = wp.WarpPhys(system, distribution="lognormal")
    model.save(folder / "model.safetensors")
    loaded = wp.WarpPhys.load(folder / "model.safetensors")
    found = wp.estimate(loaded, data.isel(trajectory=slice(0, 3)))
    _check_trained(data, folder)
    fitted = wp.fit(
        system,
        data.isel(trajectory=slice(0, 3)),
        initial=found,
        distribution="lognormal",
        progress=False,
    )
    _expect(bool((fitted["status"] == 0).all()), f"three fits, got {fitted['status'].values}")
    _expect(
        fitted.attrs["engine"] == ("compiled" if shutil.which("c++") else "numpy"),
        f"compiled code where there is a compiler, got {fitted.attrs['engine']}",
    )
    reason = why_not("small")
    _expect(bool(reason) != bool(shutil.which("c++")), f"the recurrence's kernels, got {reason!r}")
    _expect("alpha" in wp.summary(fitted, 0), "the parameters in the summary")
    ahead = wp.forecast(found, times=np.arange(21.0, 26.0), draws=20, progress=False)
    wp.save(found, folder / "found.nc")
    _expect(wp.load(folder / "found.nc").identical(found), "a file that reads back identically")
    _expect(bool(np.isfinite(ahead["predicted"]).all()), "a finite forecast")
    try:
        wp.plot_predicted(found)
    except ImportError as error:
        _expect("warp-phys[plot]" in str(error), f"the missing extra's name, got {error}")
    else:
        raise SystemExit("expected plot_predicted to ask for the extra 'plot'")


def _check_trained(data: xr.Dataset, folder: Path) -> None:
    model = wp.WarpPhys(LotkaVolterra(), head="direct", width=16)
    wp.train(model, data, steps=20, progress=False)
    model.save(folder / "trained.safetensors")
    loaded = wp.WarpPhys.load(folder / "trained.safetensors")
    found = wp.estimate(loaded, data.isel(trajectory=slice(0, 3)))
    _expect(bool(np.isfinite(found["parameters"]).all()), "finite estimates of a trained model")


def _check_command_line(folder: Path) -> None:
    program = Path(sys.executable).with_name("warp-phys")
    _expect("simulate" in _output(program, "--help"), "the verbs in the help")
    _expect("lotka_volterra" in _output(program, "systems"), "the systems' names")
    found = folder / "command_line.nc"
    _output(program, "simulate", "pendulum", "-n", "3", "--seed", "0", "-o", found)
    _expect(wp.load(found).sizes["trajectory"] == 3, "three trajectories from the command line")
    shards = folder / "shards"
    _output(program, "simulate", "robertson", "-n", "40", "--shard-size", "16", "-o", shards)
    data = open_dataset(shards, verify=True)
    _expect(data.sizes["trajectory"] == 40, "forty trajectories in shards")
    _expect(bool((data["status"] == 0).all()), "a stiff system solved")


def _output(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise SystemExit(f"expected {what}")


if __name__ == "__main__":
    main()
