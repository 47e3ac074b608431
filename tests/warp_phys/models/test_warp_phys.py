"""Models: every head and drive as batch, as stream, alone and from a file."""

import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from safetensors.torch import save_file

import warp_phys as wp
from tests.warp_phys.models.drives.own_drives import LearnedChange
from tests.warp_phys.models.heads.own_heads import LargestSoFar, Linear
from tests.warp_phys.models.uneven_records import SMALL, records
from tests.warp_phys.recurrence.transitions.own_structure import ScaledSwap
from tests.warp_phys.user_systems import DrivenOscillator
from warp_phys.data_gen import simulate
from warp_phys.systems import (
    OutputExistsError,
    Pendulum,
    SchemaError,
    UsageError,
    VanDerPol,
)

OF_HEADS: dict[str, dict[str, Any]] = {"weights": {"root_width": 4}, "readout": {"state_size": 6}}
CASES: list[dict[str, Any]] = [
    *(
        {"head": head, "drive": drive}
        for head in ("direct", "weights", "readout")
        for drive in ("difference", "raw", "features")
    ),
    *({"drive": "difference", "structure": name} for name in ("identity", "dense", "low_rank")),
    {"initial": "learned", "dtype": "float64"},
]


def small(head: str = "direct", drive: str = "", **settings: Any) -> wp.WarpPhys:
    """Return a small model of Lotka-Volterra."""
    sizes = OF_HEADS.get(head, {}) | {"width": 8}
    if drive == "features" or not drive:
        sizes["window"] = 4
    return wp.WarpPhys("lotka_volterra", head, drive or None, **sizes | settings)


def name_of(case: dict[str, Any]) -> str:
    return "-".join(map(str, case.values()))


@pytest.fixture(scope="module", params=CASES, ids=name_of)
def model(request: pytest.FixtureRequest, training: tuple[xr.Dataset, xr.Dataset]) -> wp.WarpPhys:
    built = small(**request.param)
    wp.train(built, *training, steps=12, batch_size=64, progress=False)
    return built


@pytest.fixture(scope="module")
def fresh() -> xr.Dataset:
    return records(5, 3)


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    """Return records of a user's own system with a known input."""
    times = np.linspace(0.0, 3.0, 13)
    force = {"force": np.sin(2.0 * times)}
    return simulate(DrivenOscillator(), n=160, times=times, inputs=force, seed=0)


@pytest.fixture(scope="module")
def driven(data: xr.Dataset) -> wp.WarpPhys:
    built = wp.WarpPhys(DrivenOscillator(), **SMALL)
    wp.train(built, data, data, steps=8, loss="both", progress=False)
    return built


def streamed(
    model: wp.WarpPhys, data: xr.Dataset, dtype: torch.dtype = torch.float64
) -> dict[str, np.ndarray]:
    """Return what a streaming pass over the records gives, each (N, T, ...)."""
    times = np.broadcast_to(data.time.values, data.observed.shape[:2])
    inputs = data.inputs.values if "inputs" in data else None
    state = model.init_state(len(times), dtype=dtype)
    steps = []
    for place in range(times.shape[1]):
        known = None if inputs is None else inputs[:, place]
        state, now = model.step(state, times[:, place], data.observed.values[:, place], known)
        steps.append(vars(now))
    known = [key for key, value in steps[0].items() if value is not None]
    return {key: torch.stack([step[key] for step in steps], dim=1).numpy() for key in known}


BANDS = {"parameters": "parameters", "lower": "parameters_lower", "upper": "parameters_upper"}


def assert_stream_equals_batch(model: wp.WarpPhys, data: xr.Dataset) -> None:
    batch, stream = wp.estimate(model, data), streamed(model, data)
    for key, name in {**BANDS, "initial_state": "initial_state"}.items():
        assert np.isfinite(stream[key]).all()
        np.testing.assert_allclose(stream[key], batch[name], rtol=1e-11, err_msg=name)


class TestEveryModel:
    def test_stream_equals_batch(self, model: wp.WarpPhys, fresh: xr.Dataset) -> None:
        assert_stream_equals_batch(model, fresh)

    def test_a_stream_in_single_precision_is_close(
        self, model: wp.WarpPhys, fresh: xr.Dataset
    ) -> None:
        batch, stream = wp.estimate(model, fresh), streamed(model, fresh, torch.float32)
        for key, name in {**BANDS, "initial_state": "initial_state"}.items():
            assert stream[key].dtype == np.float64
            np.testing.assert_allclose(stream[key], batch[name], rtol=1e-5, err_msg=name)

    def test_alone_equals_in_the_batch(self, model: wp.WarpPhys, fresh: xr.Dataset) -> None:
        together = wp.estimate(model, fresh)
        for row in (1, 4):
            alone = wp.estimate(model, fresh.isel(trajectory=[row]))
            for name in together.data_vars:
                np.testing.assert_allclose(
                    alone[name][0], together[name][row], rtol=1e-12, atol=1e-12, err_msg=str(name)
                )

    def test_a_hole_changes_nothing_before_it_or_beside_it(
        self, model: wp.WarpPhys, fresh: xr.Dataset
    ) -> None:
        whole = wp.estimate(model, fresh)
        holed = fresh.copy(deep=True)
        row, place = 4, 5
        assert np.isfinite(holed.observed[row, place, 0])
        holed.observed[row, place, 0] = np.nan
        found = wp.estimate(model, holed)
        others = np.arange(5) != row
        for name in (*BANDS.values(), "initial_state", "noise_sd", "predicted"):
            old, new = whole[name].values, found[name].values
            np.testing.assert_array_equal(new[others], old[others], err_msg=name)
            np.testing.assert_array_equal(new[row, :place], old[row, :place], err_msg=name)
        assert found.parameters.notnull().all()
        assert (found.parameters[row, place:] != whole.parameters[row, place:]).any()

    def test_a_file_gives_the_same_estimates(
        self, model: wp.WarpPhys, fresh: xr.Dataset, tmp_path: Path
    ) -> None:
        model.save(tmp_path / "model.safetensors")
        again = wp.WarpPhys.load(tmp_path / "model.safetensors")
        assert repr(again) == repr(model)
        assert again.settings == model.settings
        one, other = wp.estimate(model, fresh), wp.estimate(again, fresh)
        xr.testing.assert_identical(one.drop_attrs(deep=False), other.drop_attrs(deep=False))


def test_times_may_start_anywhere(trained: wp.WarpPhys, fresh: xr.Dataset) -> None:
    # Steps of whole 1/1024, so that the shift rounds nothing.
    times = np.round(fresh.time * 1024.0) / 1024.0
    one = wp.estimate(trained, fresh.assign_coords(time=times))
    other = wp.estimate(trained, fresh.assign_coords(time=times + 2.0**30))
    for name in (*BANDS.values(), "initial_state", "noise_sd"):
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_the_repr_says_on_how_many_records_it_was_trained(trained: wp.WarpPhys) -> None:
    assert "trained on 200 records" in repr(trained)


def test_long_records_of_a_narrow_state_stream_alike() -> None:
    """Where the batch takes the scan rather than step after step."""
    long = simulate("sine", n=130, times=np.linspace(0.0, 10.0, 200), noise=0.1, seed=0)
    model = wp.WarpPhys("sine", **SMALL)
    wp.train(model, long, long, steps=5, batch_size=32, progress=False)
    assert model.built()[0].head.size <= 16
    assert_stream_equals_batch(model, long.isel(trajectory=slice(3)))


class TestDriven:
    def test_stream_equals_batch(self, driven: wp.WarpPhys, data: xr.Dataset) -> None:
        assert_stream_equals_batch(driven, data.isel(trajectory=slice(4)))

    def test_the_input_matters(self, driven: wp.WarpPhys, data: xr.Dataset) -> None:
        part = data.isel(trajectory=slice(4))
        other = part.assign(inputs=part.inputs + 1.0)
        one, two = (wp.estimate(driven, each).parameters for each in (part, other))
        assert (one != two).any()

    def test_loading_asks_for_the_class(self, driven: wp.WarpPhys, tmp_path: Path) -> None:
        path = tmp_path / "driven.safetensors"
        driven.save(path)
        message = "'driven_oscillator', which this package does not ship; pass system=YourSystem()"
        with pytest.raises(SchemaError, match=message.replace("(", r"\(").replace(")", r"\)")):
            wp.WarpPhys.load(path)
        again = wp.WarpPhys.load(path, system=DrivenOscillator())
        assert again.system.name == "driven_oscillator"
        with pytest.raises(SchemaError, match="belongs to driven_oscillator with parameters"):
            wp.WarpPhys.load(path, system=VanDerPol())

    @pytest.mark.parametrize(
        ("inputs", "message"),
        [
            (None, r"expected inputs of driven_oscillator \(force\), got none"),
            ([[np.nan]], r"expected finite inputs, got \[nan\] for sensor 0"),
            ([[1.0, 2.0]], "expected inputs of shape"),
        ],
    )
    def test_an_input_is_needed(self, driven: wp.WarpPhys, inputs: Any, message: str) -> None:
        with pytest.raises(UsageError, match=message):
            driven.step(driven.init_state(), 0.0, [[1.0, 0.0]], inputs)


@pytest.fixture(scope="module")
def own(training: tuple[xr.Dataset, xr.Dataset]) -> wp.WarpPhys:
    model = wp.WarpPhys(
        "lotka_volterra", head=Linear(7), drive=LearnedChange(3), structure=ScaledSwap, width=8
    )
    wp.train(model, *training, steps=5, progress=False)
    return model


class TestOwnParts:
    """Drive, head and structure of a user's own, all three in one model."""

    def test_stream_equals_batch(self, own: wp.WarpPhys, fresh: xr.Dataset) -> None:
        assert (
            "head=my_linear, drive=my_learned_change, structure=my_scaled_swap, trained on 200"
            in repr(own)
        )
        assert_stream_equals_batch(own, fresh)

    def test_loading_asks_for_them(
        self, own: wp.WarpPhys, fresh: xr.Dataset, tmp_path: Path
    ) -> None:
        path = tmp_path / "own.safetensors"
        own.save(path)
        parts: dict[str, Any] = {
            "head": Linear(7),
            "drive": LearnedChange(3),
            "structure": ScaledSwap,
        }
        again = wp.WarpPhys.load(path, **parts)
        one, other = wp.estimate(own, fresh), wp.estimate(again, fresh)
        xr.testing.assert_identical(one.drop_attrs(deep=False), other.drop_attrs(deep=False))
        for kind, asked in (
            (
                "head",
                "the head 'my_linear', which this package does not ship; pass head=YourHead(...)",
            ),
            (
                "drive",
                "'my_learned_change', which this package does not ship; pass drive=YourDrive(...)",
            ),
            ("structure", "does not ship; pass structure=YourStructure"),
        ):
            with pytest.raises(SchemaError, match=re.escape(asked)):
                wp.WarpPhys.load(path, **parts | {kind: None})
        with pytest.raises(SchemaError, match="was saved with the head 'my_linear', got head='my_"):
            wp.WarpPhys.load(path, **parts | {"head": LargestSoFar()})
        with pytest.raises(SchemaError, match="make head, drive and structure of your own as for"):
            wp.WarpPhys.load(path, **parts | {"drive": LearnedChange(5)})

    def test_training_again_starts_anew(self, training: tuple[xr.Dataset, xr.Dataset]) -> None:
        drive = LearnedChange(3)
        model = wp.WarpPhys("lotka_volterra", head="direct", drive=drive, width=8)
        histories = [wp.train(model, *training, steps=3, progress=False) for _ in range(2)]
        xr.testing.assert_equal(*(each.validation_loss for each in histories))
        assert not list(drive.parameters())


class TestFiles:
    def test_options_of_the_system_come_back(self, tmp_path: Path) -> None:
        system = Pendulum(g=np.float32(1.625), damping=(0.1, 0.2))
        times = np.linspace(0.0, 1.0, 5)
        data = simulate(system, n=120, times=times, observe=["angle"], seed=0)
        model = wp.WarpPhys(system, **SMALL)
        wp.train(model, data, data, steps=2, progress=False)
        model.save(tmp_path / "moon.safetensors")
        again = wp.WarpPhys.load(tmp_path / "moon.safetensors")
        assert again.system.parameters == system.parameters
        assert again.root == model.root == "rollout"
        one, other = wp.estimate(model, data), wp.estimate(again, data)
        np.testing.assert_array_equal(one.predicted, other.predicted)
        assert (one.parameters.sel(parameter="g") == 1.625).all()

    def test_an_existing_file_is_kept(self, trained: wp.WarpPhys, tmp_path: Path) -> None:
        path = tmp_path / "model.safetensors"
        path.write_text("precious")
        with pytest.raises(OutputExistsError, match=r"model\.safetensors exists already"):
            trained.save(path)
        assert path.read_text() == "precious"
        trained.save(path, overwrite=True)
        assert wp.WarpPhys.load(path).trained
        assert [entry.name for entry in tmp_path.iterdir()] == ["model.safetensors"]

    def test_nothing_is_executed(self, tmp_path: Path) -> None:
        """A pickle under the right name is refused before it is unpickled."""
        target = tmp_path / "executed"
        path = tmp_path / "model.safetensors"

        class Payload:
            def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
                return (Path.touch, (target,))

        path.write_bytes(pickle.dumps(Payload()))
        with pytest.raises(SchemaError, match="not a readable safetensors file"):
            wp.WarpPhys.load(path)
        torch.save(Payload(), path)
        with pytest.raises(SchemaError, match="not a readable safetensors file"):
            wp.WarpPhys.load(path)
        assert not target.exists()
        pickle.loads(pickle.dumps(Payload()))  # the payload does work
        assert target.exists()

    def test_files_of_others_and_of_other_kinds(self, trained: wp.WarpPhys, tmp_path: Path) -> None:
        foreign = tmp_path / "foreign.safetensors"
        save_file({"weight": torch.zeros(2)}, foreign)
        with pytest.raises(SchemaError, match=r"foreign\.safetensors was not written by this pack"):
            wp.WarpPhys.load(foreign)
        trained.save(tmp_path / "model.safetensors")
        with pytest.raises(SchemaError, match="holds a WarpPhys, expected a Warp"):
            wp.Warp.load(tmp_path / "model.safetensors")
        header = {"schema_version": "0", "kind": "WarpPhys"}
        save_file({"w": torch.zeros(2)}, foreign, metadata={"warp_phys": json.dumps(header)})
        with pytest.raises(SchemaError, match="has model schema version 0, this package reads 1"):
            wp.WarpPhys.load(foreign)

    def test_names_and_folders(self, trained: wp.WarpPhys, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"ending in \.safetensors, got model\.pt"):
            trained.save(tmp_path / "model.pt")
        with pytest.raises(FileNotFoundError, match="does not exist; create it first"):
            trained.save(tmp_path / "nowhere" / "model.safetensors")
        with pytest.raises(FileNotFoundError, match="there is no file"):
            wp.WarpPhys.load(tmp_path / "nowhere.safetensors")
