"""Quotes that enclose cells, and quotes that are none."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.training.table.tables import read
from training.table.files import read_file


@pytest.mark.parametrize(
    ("text", "rows", "note"),
    [
        ('l\tt\np\t"a\nn\tb\np\t"c\nn\td\n', ['"a', "b", '"c', "d"], "lines 2, 4"),
        ('l\tt\np\t"a\nn\tb\np\tc"\nn\td\n', ['"a', "b", 'c"', "d"], "line 2"),
        (
            'l,t\r\np,"a\r\nn,b\r\np,c"\r\n' + "n,d\r\np,e\r\n" * 2,
            ['"a', "b", 'c"', *"dede"],
            "line 2",
        ),
        ('l;t\rp;"a\rn;b\r', ['"a', "b"], "line 2"),
        ('l|t\np|"good" he said\nn|b', ['"good" he said', "b"], "line 2"),
        ('l,t\np,"He said "hi, you", ok"\nn,b', ['He said "hi, you", ok', "b"], "line 2"),
        ('l,t\np,"a, b"\nn,"\np,5"" pipe\n', ["a, b", '"', '5"" pipe'], "line 3"),
        ('t\n"a\nb\n"c\n', ['"a', "b", '"c'], "lines 2, 4"),
    ],
)
def test_a_quote_that_is_none_joins_no_lines_and_is_told(
    csv: Path, text: str, rows: list[str], note: str
) -> None:
    csv.write_bytes(text.encode())

    frame, remarks = read_file(csv)

    assert frame["t"].tolist() == rows
    assert "taken for text" in remarks.file[0]
    assert remarks.file[0].endswith(note)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (
            'l,t\np,"Dear Sir\nthank you, bye"\nn,b\np,c\nn,d',
            ["Dear Sir\nthank you, bye", "b", "c", "d"],
        ),
        ('l;t\r\np;"one\r\n\r\ntwo; ""x"""\r\n', ['one\r\n\r\ntwo; "x"']),
        ('l\tt\np\t"one\ntwo"\nn\t"b"\n', ["one\ntwo", "b"]),
    ],
)
def test_a_text_of_several_lines_stays_one_and_is_told(
    csv: Path, text: str, rows: list[str]
) -> None:
    csv.write_bytes(text.encode())

    frame, remarks = read_file(csv)

    assert frame["t"].tolist() == rows
    assert remarks.file == ("1 row goes over several lines, within quotes: see line 2",)


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ('"He said \\"hi\\", twice"', 'He said "hi", twice'),
        ('"say \\"a, b\\""', 'say "a, b"'),
        ('"C:\\\\dir\\\\ \\"x\\", y"', 'C:\\dir\\ "x", y'),
        ('"C:\\dir\\"', "C:\\dir\\"),
        ('"C:\\new, x\\"', "C:\\new, x\\"),
        ('"a ""b"", c"', 'a "b", c'),
    ],
)
def test_quotes_after_a_backslash_are_read_where_that_fits(
    csv: Path, cell: str, value: str
) -> None:
    csv.write_text(f'id,t,n\n1,{cell},5\n2,"a, b",6\n')

    frame, remarks = read_file(csv)

    assert frame["t"].tolist() == [value, "a, b"]
    assert frame["n"].tolist() == [5, 6]
    assert ("2 quotes that a backslash escapes are read as quotes" in remarks.file) == (
        '\\"h' in cell or '\\"a' in cell or '\\"x' in cell
    )


@settings(max_examples=30)
@given(
    cells=st.lists(
        st.lists(st.text(st.sampled_from('ab"\n,;\\ é'), max_size=8), min_size=2, max_size=2),
        min_size=1,
        max_size=8,
    )
)
def test_what_is_written_as_csv_has_it_is_read_so(
    tmp_path_factory: pytest.TempPathFactory, cells: list[list[str]]
) -> None:
    path = tmp_path_factory.mktemp("any") / "table.csv"
    cells = [[f"x{one.strip()}y", f"x{other.strip()}y"] for one, other in cells]
    pd.DataFrame(cells, columns=["p", "q"]).to_csv(path, index=False, quoting=1)

    assert read(path, header=True).to_numpy().tolist() == cells
