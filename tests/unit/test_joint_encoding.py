"""Rows become vectors from 0 to 1 and come back as they were; what does not fit is refused with row and column."""

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from GAN_joint.columns import Column, Schema
from GAN_joint.encoding import RowEncoder
from medsynth.errors import DataError

COLUMNS = (
    Column("Age", "number", decimals=0),
    Column("HB", "number", decimals=1),
    Column("BMI", "number"),
    Column("Sex", "binary", zero="Fmale", one="Male"),
    Column("Smoker", "binary", zero="0", one="1"),
    Column("FIO", "identifier"),
    Column("VHD", "category", values=("N", "mild", "Severe")),
    Column("Function", "category", values=("0", "2", "3")),
    Column("LAD_st", "target", threshold=50),
    Column("Cath", "target", zero="Normal", one="CAD"),
)
NUM_ROWS = 40


def schema(*columns: Column, **others: Any) -> Schema:
    return Schema(columns=columns or COLUMNS, **others)


def rows(seed: int = 0, num_rows: int = NUM_ROWS) -> pd.DataFrame:
    """Return rows as the table gives them: numbers, and words."""
    rng = np.random.default_rng(seed)

    def words(*choices: str) -> Any:
        return np.array(choices, object)[rng.integers(len(choices), size=num_rows)]

    return pd.DataFrame(
        {
            "Age": rng.integers(30, 90, num_rows).astype(float),
            "HB": rng.normal(13, 1, num_rows).round(1),
            "BMI": rng.normal(27, 4, num_rows),
            "Sex": words("Fmale", "Male"),
            "Smoker": words("0", "1"),
            "VHD": words("N", "mild", "Severe"),
            "Function": words("0", "2", "3"),
            "LAD_st": words("0", "1"),
            "Cath": words("Normal", "CAD"),
        }
    )


def test_encoded_rows_have_a_column_for_each_value_of_a_category() -> None:
    encoder = RowEncoder.fit(schema(), rows())
    encoded = encoder.encode(rows())
    assert encoder.names == (
        *("Age", "HB", "BMI", "Sex", "Smoker", "VHD=N", "VHD=mild", "VHD=Severe"),
        *("Function=0", "Function=2", "Function=3", "LAD_st", "Cath"),
    )
    assert encoded.shape == (NUM_ROWS, 13)
    assert encoded.dtype == np.float32
    places = encoder.column_slices
    assert list(places) == [column.name for column in COLUMNS if column.name != "FIO"]
    assert places["VHD"] == ("category", slice(5, 8))
    assert [encoder.names[place.columns][0].split("=")[0] for place in places.values()] == list(places)
    np.testing.assert_array_equal(encoded[:, 5:8].sum(axis=1), 1)
    np.testing.assert_array_equal(encoded[:, 3], rows()["Sex"] == "Male")
    for name in ("Age", "HB", "BMI"):
        column = encoded[:, places[name].columns][:, 0]
        assert (column.min(), column.max()) == (0, 1)
        values = rows()[name]
        expected = (values - values.min()) / (values.max() - values.min())  # MinMax as published
        np.testing.assert_allclose(column, expected, atol=1e-6)


def test_decoded_rows_are_the_rows_in_type_and_byte() -> None:
    encoder = RowEncoder.fit(schema(), rows())
    complete = encoder.complete(rows())
    decoded = encoder.decode(encoder.encode(rows()))
    rounded = [frame.assign(BMI=frame["BMI"].round(4)) for frame in (decoded, complete)]  # it has no decimals to hold
    assert rounded[0].to_csv() == rounded[1].to_csv()
    pd.testing.assert_frame_equal(decoded, complete, rtol=1e-6)
    kinds = {name: str(dtype) for name, dtype in decoded.dtypes.items()}
    assert kinds["Age"] == kinds["Smoker"] == kinds["LAD_st"] == "int64"
    assert kinds["HB"] == kinds["BMI"] == "float64"
    assert kinds["Sex"] == kinds["Function"] == kinds["Cath"] == str(pd.Series(["a"], dtype="str").dtype)
    assert encoder.decode(encoder.encode(decoded)).to_csv() == decoded.to_csv()


def test_rows_that_were_written_and_read_are_encoded_as_before(tmp_path: Any) -> None:
    encoder = RowEncoder.fit(schema(), rows())
    decoded = encoder.decode(encoder.encode(rows()))
    decoded.to_csv(tmp_path / "rows.csv", index=False)
    again = pd.read_csv(tmp_path / "rows.csv", keep_default_na=False)
    assert again["Function"].dtype == np.int64, "pandas has guessed another type"
    np.testing.assert_array_equal(encoder.encode(again), encoder.encode(decoded))


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.lists(st.floats(-3, 3, width=32), min_size=13, max_size=13),
        min_size=1,
        max_size=4,
    )
)
def test_whatever_a_generator_makes_decodes_to_values_of_the_schema(generated: list[list[float]]) -> None:
    train = rows()
    encoder = RowEncoder.fit(schema(), train)
    decoded = encoder.decode(np.array(generated, np.float32))
    assert len(decoded) == len(generated)
    for column in schema().kept:
        values = decoded[column.name]
        if column.kind == "number":
            assert values.between(train[column.name].min(), train[column.name].max()).all()
            if column.decimals is not None:
                assert (values == values.round(column.decimals)).all()
        else:
            assert set(values.astype(str)) <= set(column.words)
    assert encoder.decode(np.array(generated, np.float32)).to_csv() == decoded.to_csv()


def test_no_negative_zero_is_written() -> None:
    encoder = RowEncoder.fit(schema(Column("T", "number", decimals=1)), pd.DataFrame({"T": [-1.0, 1.0]}))
    assert np.signbit(np.round(-1 + 0.49 * 2, 1)), "numpy makes one"
    assert encoder.decode([[0.49]]).to_csv(index=False).split() == ["T", "0.0"]


def test_limits_of_the_schema_take_the_place_of_the_train_rows() -> None:
    frame = pd.DataFrame({"Age": [40.0, 60.0]})
    encoder = RowEncoder.fit(schema(Column("Age", "number", minimum=0, maximum=100, decimals=0)), frame)
    np.testing.assert_allclose(encoder.encode(frame)[:, 0], [0.4, 0.6])
    assert encoder.decode([[-1], [0], [0.004], [0.556], [1], [2]])["Age"].tolist() == [0, 0, 0, 56, 100, 100]
    half = RowEncoder.fit(schema(Column("Age", "number", minimum=0, decimals=0)), frame)
    assert half.decode([[0], [1]])["Age"].tolist() == [0, 60]


def test_rows_beyond_the_train_rows_count_as_their_ends() -> None:
    frame = pd.DataFrame({"Age": [40.0, 60.0]})
    encoder = RowEncoder.fit(schema(Column("Age", "number")), frame)
    assert encoder.encode(pd.DataFrame({"Age": [10.0, 50.0, 99.0]}))[:, 0].tolist() == [0, 0.5, 1]


def test_missing_values_become_median_and_most_frequent_word() -> None:
    columns = (Column("Age", "number", decimals=0), Column("VHD", "category", values=("N", "mild")))
    frame = pd.DataFrame({"Age": [40, 50, 90, math.nan], "VHD": ["mild", None, "mild", "N"]})
    encoder = RowEncoder.fit(schema(*columns, missing="impute"), frame)
    complete = encoder.complete(frame)
    assert complete["Age"].tolist() == [40, 50, 90, 50]
    assert complete["VHD"].tolist() == ["mild", "mild", "mild", "N"]
    np.testing.assert_array_equal(encoder.encode(frame), encoder.encode(complete))
    refusing = RowEncoder.fit(schema(*columns), frame)
    with pytest.raises(DataError, match=r"Row 3 \(from 0\), column 'Age': a value was expected. Received: 'nan'"):
        refusing.encode(frame)


def test_an_encoder_survives_its_file() -> None:
    encoder = RowEncoder.fit(schema(), rows())
    text = json.dumps(encoder.to_json(), allow_nan=False)
    again = RowEncoder.from_json(json.loads(text))
    assert again == encoder
    generated = np.random.default_rng(1).random((20, 13), np.float32)
    assert again.decode(generated).to_csv() == encoder.decode(generated).to_csv()


@pytest.mark.parametrize(
    "values",
    [{}, [], {"fitted": 3}, {"fitted": [{"column": {"name": "a"}}]}, {"fitted": [], "extra": 1}, {"fitted": [[]]}],
)
def test_a_damaged_encoder_is_refused(values: Any, tmp_path: Any) -> None:
    with pytest.raises(DataError, match=r"encoder.json: This describes no encoding of rows"):
        RowEncoder.from_json(values, tmp_path / "encoder.json")


def test_an_encoder_of_a_later_version_is_refused() -> None:
    values = RowEncoder.fit(schema(), rows()).to_json() | {"version": 2}
    with pytest.raises(DataError, match=r"Only version 1.*Received: 2"):
        RowEncoder.from_json(values)


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("VHD", "severe", r"Row 5 \(from 0\), column 'VHD': one of 'N', 'mild', 'Severe' was expected. Received: 'sev"),
        ("Sex", 1, r"Row 5 \(from 0\), column 'Sex': one of 'Fmale', 'Male' was expected. Received: '1'"),
        ("Age", "old", r"column 'Age': a finite number was expected. Received: 'old'"),
        ("Age", math.inf, r"column 'Age': a finite number was expected. Received: 'inf'"),
    ],
)
def test_cells_that_do_not_fit_are_refused(column: str, cell: Any, message: str) -> None:
    encoder = RowEncoder.fit(schema(), rows())
    frame = rows().astype({column: object})
    frame.loc[5, column] = cell
    with pytest.raises(DataError, match=message):
        encoder.encode(frame)


def test_other_columns_and_shapes_are_refused() -> None:
    encoder = RowEncoder.fit(schema(), rows())
    with pytest.raises(DataError, match=r"every column of the schema. Received: no column 'Age', 'Sex'"):
        encoder.encode(rows().drop(columns=["Age", "Sex"]))
    with pytest.raises(DataError, match=r"Rows of 13 values were expected. Received: shape \(2, 12\)"):
        encoder.decode(np.zeros((2, 12)))
    with pytest.raises(DataError, match=r"Rows must be finite. Received: 1 that are not"):
        encoder.decode(np.array([[math.nan] + [0.0] * 12]))


def test_a_number_that_is_the_same_in_all_train_rows_is_refused() -> None:
    with pytest.raises(DataError, match=r"Column 'Age' is the same in all 3 train rows.*split_seed.*Received: 50"):
        RowEncoder.fit(schema(Column("Age", "number")), pd.DataFrame({"Age": [50.0] * 3}))
    with pytest.raises(DataError, match="Column 'Age' needs a value in some train row"):
        RowEncoder.fit(schema(Column("Age", "number")), pd.DataFrame({"Age": [math.nan] * 3}))
