"""What a signature and an input example tell of the rows that a model takes."""

import json
from pathlib import Path
from typing import Any

import pytest

from training.errors import TrainingError
from training.loading.signature import Sample, sample_of


def sample(
    folder: Path,
    example: object,
    inputs: object = None,
    kind: str = "dataframe",
    outputs: object = None,
    **info: str,
) -> Sample:
    """Read an example with a signature."""
    (folder / "example.json").write_text(json.dumps(example), "utf-8")
    return sample_of(
        folder,
        {
            "signature": {
                "inputs": inputs if isinstance(inputs, str | None) else json.dumps(inputs),
                "outputs": json.dumps(outputs),
            },
            "saved_input_example_info": {"artifact_path": "example.json", "type": kind, **info},
        },
    )


def column(name: str | None, kind: str, **more: object) -> dict[str, Any]:
    """Give a column of a signature."""
    return {"type": kind, **({"name": name} if name else {}), **more}


def test_types_names_and_gaps_are_those_of_the_signature(tmp_path: Path) -> None:
    types = ["boolean", "integer", "long", "float", "double", "string"]
    specs = [column(f"a {kind}", kind, required=kind != "double") for kind in types]
    names = [f"a {kind}" for kind in reversed(types)]
    rows = [["x", 1.5, 2, 7, 3, True], [None, 1, 2.5, 7.0, 3, False]]

    found = sample(tmp_path, {"columns": names, "data": rows}, specs, outputs=[column("y", "long")])

    assert {name: str(dtype) for name, dtype in found.frame.dtypes.items()} == {
        "a boolean": "boolean",
        "a integer": "Int64",
        "a long": "Int64",
        "a float": "Float64",
        "a double": "Float64",
        "a string": "string",
    }
    assert found.gaps == {"a double", "a string"}
    assert found.dtypes == {"a float": "float32", "a integer": "int32"}
    assert found.targets == ("y",)


def test_without_a_signature_whole_numbers_are_numbers(tmp_path: Path) -> None:
    found = sample(tmp_path, {"data": [[1, "x", True], [2, "y", None]]})

    assert [str(dtype) for dtype in found.frame.dtypes] == ["Float64", "string", "boolean"]
    assert list(found.frame) == ["x0", "x1", "x2"]
    assert found.gaps == {"x2"}


@pytest.mark.parametrize(
    "example",
    [{"a": [1, 2], "b": [3, 4]}, [{"a": 1, "b": 3}, {"b": 4, "a": 2}]],
)
def test_objects_are_rows_too(tmp_path: Path, example: object) -> None:
    found = sample(tmp_path, example, kind="json_object")

    assert found.frame.to_dict("list") == {"a": [1, 2], "b": [3, 4]}


def test_a_list_of_texts_is_a_column_and_parameters_are_left_out(tmp_path: Path) -> None:
    held = {"inputs": ["one text", "two"], "params": {"k": 1}}
    found = sample(tmp_path, held, [column(None, "string")], "json_object", params="true")

    assert found.frame["x0"].tolist() == ["one text", "two"]


def test_a_matrix_has_columns_of_one_type(tmp_path: Path) -> None:
    spec = [{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}]

    found = sample(tmp_path, [[1, 2], [3, 4]], spec, "ndarray")

    assert [str(dtype) for dtype in found.frame.dtypes] == ["Float64", "Float64"]


IMAGE = {"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 28, 28]}}
STRINGS = {"type": "tensor", "tensor-spec": {"dtype": "object", "shape": [-1, 1]}}
ROW = {"columns": ["a"], "data": [[1]]}


@pytest.mark.parametrize(
    ("example", "inputs", "kind", "told"),
    [
        ([[1]], [IMAGE], "ndarray", "tensors that are no matrix"),
        ([["x"]], [STRINGS], "ndarray", "a matrix of object, not of numbers"),
        ([[1]], None, "sparse_matrix_csr", "of the type sparse_matrix_csr, and no table"),
        (ROW, [column("a", "datetime")], "dataframe", "'a' of the type datetime"),
        (ROW, [column("a", "array", items={})], "dataframe", "'a' of the type array"),
        (ROW, [column("b", "long")], "dataframe", "other columns than its signature"),
        (ROW, [column(None, "long")] * 2, "dataframe", "not the number of columns"),
        (ROW, "{", "dataframe", "its signature can't be read as JSON"),
        (ROW, [3], "dataframe", "its signature is no list of columns"),
        ({"data": [["x"]]}, [column("a", "long")], "dataframe", "not of the type int64"),
        ({"columns": ["a"], "data": [[1, 2]]}, None, "dataframe", "rows of other lengths"),
        ({"columns": ["a"], "data": []}, None, "dataframe", "no rows"),
        ({"columns": ["a"], "data": 3}, None, "dataframe", "no table of rows"),
        ({"columns": 3, "data": [[1]]}, None, "dataframe", "no table of rows"),
        ({"a": [1], "b": [1, 2]}, None, "json_object", "columns of several lengths"),
        ({"a": [{"b": 1}]}, None, "json_object", "lists or objects in 'a'"),
        ("text", None, "json_object", "no table of rows"),
    ],
)
def test_what_is_no_table_is_told(
    tmp_path: Path, example: object, inputs: object, kind: str, told: str
) -> None:
    with pytest.raises(TrainingError, match="it") as caught:
        sample(tmp_path, example, inputs, kind)

    assert told in str(caught.value)


def test_an_example_that_is_no_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "example").mkdir()
    info = {"artifact_path": "example", "type": "dataframe"}
    with pytest.raises(TrainingError, match="its input example is no file"):
        sample_of(tmp_path, {"saved_input_example_info": info})


def test_without_an_example_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="it has no input example"):
        sample_of(tmp_path, {"signature": None})
