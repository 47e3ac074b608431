"""Reading measured trajectories: every layout, and complaints that name the place."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from warp_phys import load, read_trajectories, save
from warp_phys.systems import SchemaError, UnknownNameError, UsageError

HUDSON_BAY = Path(__file__).parents[3] / "examples" / "data" / "hudson_bay.csv"

ONE = "time,prey,predator\n1900,30,4\n1901,47.2,6.1\n1902,70.2,9.8\n"
LONG = "trajectory,time,angle\na,0.0,0.1\nb,0.0,0.2\na,0.5,0.3\nb,0.5,0.4\n"


@pytest.fixture
def write(tmp_path):
    def writer(text: str, name: str = "record.csv") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return writer


class TestCsv:
    def test_the_published_record(self):
        record = read_trajectories(HUDSON_BAY, units={"time": "year", "prey": "kilocount"})
        assert dict(record.observed.sizes) == {"trajectory": 1, "time": 21, "output": 2}
        assert record.output.values.tolist() == ["prey", "predator"]
        assert record.output_unit.values.tolist() == ["kilocount", ""]
        assert record.time.values.tolist() == list(range(1900, 1921))
        assert record.time.attrs["units"] == "year"
        assert record.observed.sel(time=1901).values.tolist() == [[47.2, 6.1]]
        assert record.attrs["title"] == "Trajectories read from hudson_bay.csv"
        assert str(HUDSON_BAY.parent) not in str(record.attrs)

    def test_it_survives_a_file(self, tmp_path):
        record = read_trajectories(HUDSON_BAY)
        save(record, tmp_path / "record.nc")
        xr.testing.assert_identical(load(tmp_path / "record.nc"), record)
        xr.testing.assert_identical(read_trajectories(tmp_path / "record.nc"), record)

    @pytest.mark.parametrize("cell", ["", " ", "NA", "NaN", "nan", "null"])
    def test_an_empty_cell_is_missing(self, write, cell):
        record = read_trajectories(write(ONE.replace("47.2", cell)))
        observed = record.observed.values[0]
        assert np.isnan(observed[1, 0])
        assert np.isfinite(observed).sum() == 5

    def test_long_form_on_a_shared_grid(self, write):
        record = read_trajectories(write(LONG))
        assert record.observed.dims == ("trajectory", "time", "output")
        assert record.trajectory.values.tolist() == ["a", "b"]
        assert record.observed.values[..., 0].tolist() == [[0.1, 0.3], [0.2, 0.4]]

    def test_long_form_on_own_grids(self, write):
        text = "id,t,angle\n7,0,1\n3,0,2\n3,1,3\n7,2,4\n3,4,5\n"
        record = read_trajectories(write(text), time="t", trajectory="id")
        assert record.observed.dims == ("trajectory", "sample", "output")
        assert record.trajectory.values.tolist() == [7, 3]
        np.testing.assert_array_equal(record.time, [[0, 2, np.nan], [0, 1, 4]])
        np.testing.assert_array_equal(record.observed[..., 0], [[1, 4, np.nan], [2, 3, 5]])

    def test_labels_keep_their_spelling(self, write):
        record = read_trajectories(write(LONG.replace("a,", "001,").replace("b,", "NA,")))
        assert record.trajectory.values.tolist() == ["001", "NA"]

    def test_rename_and_leave_out(self, write):
        path = write("time,hare,lynx,remark\n0,1,2,cold\n1,3,4,warm\n")
        record = read_trajectories(path, rename={"hare": "prey", "remark": None})
        assert record.output.values.tolist() == ["prey", "lynx"]

    def test_spaces_byte_order_mark_and_blank_lines(self, write):
        record = read_trajectories(write("\ufefftime , x\n0, 1 \n\n1 , 2\n\n\n"))
        assert record.observed.values[0, :, 0].tolist() == [1.0, 2.0]

    @settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        values=arrays.arrays(
            np.float64, (3, 4), elements=st.floats(allow_nan=False, allow_infinity=False)
        )
    )
    def test_every_number_comes_back_exactly(self, tmp_path, values):
        lines = [",".join(map(repr, row)) for row in np.c_[np.arange(3.0), values].tolist()]
        path = tmp_path / "numbers.csv"
        path.write_text("\n".join(["time,a,b,c,d", *lines]))
        np.testing.assert_array_equal(read_trajectories(path).observed[0], values)

    def test_a_hundred_thousand_lines(self, write):
        rows = "".join(f"{k},{t},{k + t}\n" for t in range(10) for k in range(10_000))
        record = read_trajectories(write("trajectory,time,x\n" + rows))
        assert record.observed.shape == (10_000, 10, 1)
        assert (record.observed[..., 0] == record.trajectory + record.time).all()


class TestCsvComplaints:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", r"record.csv is empty; expected a header line"),
            ("time,prey\n", r"record.csv is empty: it has a header and no values"),
            ("time,prey\n\n,\n", "a header and no values"),
            ("time\n0\n", "expected at least one output beside time in record.csv, got none"),
            ("tine,prey\n0,1\n", r"unknown column of record.csv .* 'time'; did you mean 'tine'"),
            ("time;prey\n0;1\n", r"commas between columns"),
            ("time,x,x\n0,1,2\n", "two columns named 'x'"),
            ("time,x\n0,1\n1,2,3\n", "expected 2 cells in each line of record.csv, .* line 3"),
            ("time,x\n0,1,2\n1,2,3\n", "expected 2 cells .* as in its header, got more"),
            ("time,x\n0,1,2,3,4\n", "expected 2 cells .* as in its header, got more"),
            ("time,x\n0,1,2\n1,2\n", "expected 2 cells .* as in its header, got more"),
            (ONE.replace("47.2", "47,2"), "3 cells in each .* decimals with a point; .* line 3"),
            (
                ONE.replace("47.2", "many"),
                "finite number in column 'prey', line 3 of record.csv, got 'many'; .* leave the",
            ),
            (ONE.replace("47.2", "inf"), "finite number in column 'prey', line 3 .* got 'inf'"),
            ("time,x\n0,True\n1,False\n", "column 'x', line 2 of record.csv, got 'True'"),
            ("time,x\n\n1900-01-01,2\n", "column 'time', line 3 .* turn a date into a number"),
            (ONE.replace("1901", ""), "expected a time in line 3 of record.csv"),
            (
                ONE.replace("1901", "1903"),
                "times to increase, got 1903 then 1902 in lines 3 and 4 of record.csv; sort the "
                "lines by time, or name the column",
            ),
            (
                LONG.replace("b,0.5", "b,-1"),
                "times of trajectory b to increase, got 0 then -1 in lines 3 and 5 .* by time$",
            ),
            (LONG.replace("b,0.5", ",0.5"), "a label in column 'trajectory', line 5"),
        ],
    )
    def test_the_message_names_the_place(self, write, text, message):
        with pytest.raises(UsageError, match=message):
            read_trajectories(write(text))

    def test_names_that_do_not_exist(self, write):
        path = write(ONE)
        with pytest.raises(UnknownNameError, match="to rename 'pray'; did you mean 'prey'"):
            read_trajectories(path, rename={"pray": "x"})
        with pytest.raises(UnknownNameError, match="'pray'; did you mean 'prey'"):
            read_trajectories(path, units={"pray": "kg"})
        with pytest.raises(UnknownNameError, match="'run'"):
            read_trajectories(path, trajectory="run")
        with pytest.raises(UsageError, match="'predator' more than once"):
            read_trajectories(path, rename={"prey": "predator"})

    def test_the_file_itself(self, write, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"there is no file .*none.csv"):
            read_trajectories(tmp_path / "none.csv")
        with pytest.raises(UsageError, match=r"ending in .csv, .nc, .h5, .hdf5; got record.xls"):
            read_trajectories(write(ONE, "record.xls"))
        (tmp_path / "latin.csv").write_bytes("time,x\n0,1\n1,\xb5\n".encode("latin-1"))
        with pytest.raises(SchemaError, match=r"latin.csv is not UTF-8 text"):
            read_trajectories(tmp_path / "latin.csv")


def foreign(**variables: object) -> xr.Dataset:
    time = ("time", np.arange(3.0), {"units": "days since 1900-01-01"})
    return xr.Dataset(variables, coords={"time": time})


class TestNetcdf:
    @pytest.mark.parametrize("engine", ["h5netcdf", "scipy"])
    def test_one_trajectory(self, tmp_path, engine):
        height = ("time", [1.0, np.nan, 3.0], {"units": "m"})
        foreign(height=height, place=((), 7)).to_netcdf(tmp_path / "f.nc", engine=engine)
        record = read_trajectories(tmp_path / "f.nc")
        assert record.observed.shape == (1, 3, 1)
        assert record.output_unit.values.tolist() == ["m"]
        assert record.observed.attrs["units"] == "m"
        assert record.time.attrs["units"] == "days since 1900-01-01"
        np.testing.assert_array_equal(record.observed[0, :, 0], [1.0, np.nan, 3.0])

    def test_packed_numbers_stay_full_ones_when_saved(self, tmp_path):
        packed = foreign(x=("time", [0.1, 0.2, 0.3]))
        packed.x.encoding = {"dtype": "int16", "scale_factor": 0.1, "_FillValue": -1}
        packed.to_netcdf(tmp_path / "f.nc", engine="h5netcdf")
        record = read_trajectories(tmp_path / "f.nc")
        save(record.assign(observed=record.observed + 1e-9), tmp_path / "g.nc")
        difference = load(tmp_path / "g.nc").observed - record.observed
        np.testing.assert_allclose(difference, 1e-9, rtol=1e-6)

    @pytest.mark.parametrize("dims", [("run", "time"), ("time", "run")])
    def test_several_trajectories_on_any_axis(self, tmp_path, dims):
        values = np.arange(6.0).reshape(2, 3)
        x = (dims, values if dims[0] == "run" else values.T)
        source = foreign(x=x, load=("time", [7, 8, 9])).assign_coords(run=["a", "b"])
        source.to_netcdf(tmp_path / "f.nc", engine="h5netcdf")
        record = read_trajectories(tmp_path / "f.nc", trajectory="run")
        assert record.trajectory.values.tolist() == ["a", "b"]
        np.testing.assert_array_equal(record.observed.sel(output="x"), values)
        np.testing.assert_array_equal(record.observed.sel(output="load"), [[7, 8, 9]] * 2)

    def test_own_times(self, tmp_path):
        source = xr.Dataset(
            {
                "t": (("run", "k"), [[0.0, 1.0, np.nan], [2.0, 3.0, 5.0]]),
                "x": (("run", "k"), [[1.0, 2.0, np.nan], [3.0, 4.0, 5.0]]),
            }
        )
        source.to_netcdf(tmp_path / "f.nc", engine="h5netcdf")
        record = read_trajectories(tmp_path / "f.nc", time="t")
        assert record.observed.dims == ("trajectory", "sample", "output")
        np.testing.assert_array_equal(record.time, source.t)
        turned = source.transpose("k", "run")
        turned.to_netcdf(tmp_path / "g.nc", engine="h5netcdf")
        again = read_trajectories(tmp_path / "g.nc", time="t", trajectory="run")
        np.testing.assert_array_equal(again.observed, record.observed)

    def test_plain_hdf5(self, tmp_path):
        with h5py.File(tmp_path / "plain.h5", "w") as file:
            file["time"] = np.arange(3.0)
            file["angle"] = np.arange(12.0).reshape(4, 3)
        record = read_trajectories(tmp_path / "plain.h5", units={"angle": "rad"})
        assert record.observed.shape == (4, 3, 1)
        assert record.observed.attrs["units"] == "rad"

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            (foreign(x=("time", [1.0, 2.0, 3.0])).rename(time="times"), "did you mean 'times'"),
            (foreign(x=("k", [1.0])), "expected at least one output beside time"),
            (foreign(x=("time", ["a", "b", "c"])), "expected numbers in 'x' of f.nc"),
            (foreign(x=(("a", "b", "time"), np.zeros((1, 2, 3)))), "got a, b: leave variables out"),
            (
                foreign(x=("time", [1.0, 2.0, 3.0])).assign_coords(time=[0.0, 2.0, 1.0]),
                "expected time to increase, got 2 then 1",
            ),
        ],
    )
    def test_what_does_not_fit_says_why(self, tmp_path, source, message):
        source.to_netcdf(tmp_path / "f.nc", engine="h5netcdf")
        with pytest.raises(UsageError, match=message):
            read_trajectories(tmp_path / "f.nc")

    def test_a_file_of_this_package_keeps_its_names(self, tmp_path):
        save(read_trajectories(HUDSON_BAY), tmp_path / "record.nc")
        with pytest.raises(UsageError, match="read it without time, trajectory, rename and units"):
            read_trajectories(tmp_path / "record.nc", units={"time": "year"})
        for name in ("time", "trajectory"):
            with pytest.raises(UsageError, match="read it without time, trajectory, rename"):
                read_trajectories(tmp_path / "record.nc", **{name: "year"})
        again = read_trajectories(tmp_path / "record.nc", time="time", trajectory="trajectory")
        assert "observed" in again

    def test_a_file_of_this_package_without_records(self, tmp_path):
        fitted = read_trajectories(HUDSON_BAY).rename(observed="predicted")
        save(fitted, tmp_path / "fit.nc")
        with pytest.raises(SchemaError, match="the variable 'observed', got predicted"):
            read_trajectories(tmp_path / "fit.nc")
