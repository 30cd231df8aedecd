"""The files of a run: whole or not there, and gone on with."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.files.formats import Format
from serving.files.output import Output
from serving.files.partials import OutputError
from serving.files.written import Writer, writer_for

SCHEMA = pa.schema({"row": pa.int64(), "word": pa.string()})
IDENTITY = {"the model": "iris:one", "--columns": ["row"]}
PARTS = 12


def part(number: int) -> pa.RecordBatch:
    """Give a part; one in three has no rows."""
    rows = range(0 if number % 3 == 1 else 7 * number)
    return pa.RecordBatch.from_pylist([{"row": n, "word": f"ä{n}"} for n in rows], SCHEMA)


def write(output: Output, writer: Writer, until: int = PARTS) -> None:
    """Write the parts that are not done yet."""
    for number in range(len(output.notes), until):
        rejected = f'{{"row":{number}}}\n'.encode() * (number % 2)
        output.write(writer.encode(part(number)), {"part": number}, rejected)


def run(folder: Path, name: str = "parquet", *, until: int = PARTS, **options: Any) -> list[Any]:  # noqa: ANN401
    """Run to the end, or close after some parts as if killed; give the notes gone on with."""
    writer = writer_for(Format(name), gz=False, schema=SCHEMA)
    options = {"rejects": str(folder / "bad.ndjson"), **options}
    output = Output(str(folder / "out"), writer, IDENTITY, **options)
    with closing(output):
        notes = [*output.notes]
        write(output, writer, until)
        if until == PARTS:
            output.finish()
    return notes


def files(folder: Path) -> dict[str, bytes]:
    """Give what is in a folder."""
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """Let no file become larger, as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_files_are_there_when_all_is_done(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"of yesterday")
    run(tmp_path, until=3)
    assert files(tmp_path)["out"] == b"of yesterday"
    assert {*files(tmp_path)} == {"out", "out.partial", "out.progress", "bad.ndjson.partial"}
    run(tmp_path)
    assert {*files(tmp_path)} == {"out", "bad.ndjson"}
    assert files(tmp_path)["bad.ndjson"] == b"".join(b'{"row":%d}\n' % n for n in range(1, 12, 2))


def test_what_is_abandoned_leaves_nothing(tmp_path: Path) -> None:
    writer = writer_for(Format.CSV, gz=False, schema=SCHEMA)
    output = Output(str(tmp_path / "out"), writer, IDENTITY, rejects=str(tmp_path / "bad.ndjson"))
    write(output, writer, 3)
    output.abandon()
    output.close()  # as often as one likes
    assert files(tmp_path) == {}


@pytest.mark.parametrize("name", ["csv", "parquet", "arrow"])
def test_a_run_that_goes_on_ends_with_the_same_bytes(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    undisturbed, stopped = (tmp_path_factory.mktemp("run") for _ in range(2))
    run(undisturbed, name)
    run(stopped, name, until=9)
    left = files(stopped)

    @settings(max_examples=40, deadline=None)
    @given(st.data())
    def whatever_reached_the_disk(data: st.DataObject) -> None:
        for file, held in left.items():
            kept = data.draw(st.integers(0, len(held)) | st.just(len(held)), label=file)
            (stopped / file).write_bytes(
                held[:kept] + data.draw(st.sampled_from([b"", b"{}", b"\0"]))
            )
        notes = run(stopped, name, resume=True)
        assert notes == [{"part": number} for number in range(len(notes))]
        assert files(stopped) == files(undisturbed)

    whatever_reached_the_disk()
    for file, held in left.items():
        (stopped / file).write_bytes(held)
    assert len(run(stopped, name, resume=True)) == 9


def test_bytes_that_were_changed_meanwhile_are_written_anew(tmp_path: Path) -> None:
    run(tmp_path, until=9)
    partial = tmp_path / "out.partial"
    held = bytearray(partial.read_bytes())
    held[len(held) // 2] ^= 1
    partial.write_bytes(held)
    assert 0 < len(run(tmp_path, resume=True)) < 9


KILLED = """
import sys
from pathlib import Path
from tests.unit.files import test_output as t
print("began", flush=True)
while True:
    t.run(Path(sys.argv[1]), "parquet", resume=len(sys.argv) > 2)
"""


def test_a_run_that_is_killed_leaves_what_can_be_gone_on_with(tmp_path: Path) -> None:
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    undisturbed.mkdir()
    killed.mkdir()
    run(undisturbed)
    for at in range(3):
        command = [sys.executable, "-c", KILLED, str(killed), *["resume"] * (at > 0)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout
            process.stdout.readline()
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.001 + 0.007 * at)
            process.send_signal(signal.SIGKILL)
        present = files(killed)
        if "out" in present:
            assert present["out"] == files(undisturbed)["out"]
    run(killed, resume=True)
    assert files(killed) == files(undisturbed)


def test_another_run_is_not_gone_on_with(tmp_path: Path) -> None:
    run(tmp_path, until=3)
    left = files(tmp_path)
    writer = writer_for(Format.PARQUET, gz=False, schema=SCHEMA)
    another = {"the model": "iris:two", "--columns": ["row"], "--missing": None}
    told = r"out\.partial was begun otherwise: the model was iris:one, and is iris:two\. Without"
    with pytest.raises(OutputError, match=told):
        Output(str(tmp_path / "out"), writer, another, resume=True)
    assert files(tmp_path) == left


def test_nothing_to_go_on_with_is_a_run_from_the_beginning(tmp_path: Path) -> None:
    assert run(tmp_path, resume=True) == []
    assert {*files(tmp_path)} == {"out", "bad.ndjson"}


def test_two_runs_do_not_write_to_one_place(tmp_path: Path) -> None:
    writer = writer_for(Format.CSV, gz=False, schema=SCHEMA)
    output = Output(str(tmp_path / "out"), writer, IDENTITY)
    write(output, writer, 3)
    for resume in (False, True):
        with pytest.raises(OutputError, match=r"another run is writing .*out$"):
            run(tmp_path, "csv", resume=resume)
    with pytest.raises(OutputError, match=r"another run is writing .*out$"):
        Output(str(tmp_path / "other"), writer, IDENTITY, rejects=str(tmp_path / "out"))
    write(output, writer)
    output.finish()
    assert {*files(tmp_path)} == {"out", "other.partial", "other.progress"}


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    undisturbed, full = tmp_path / "undisturbed", tmp_path / "full"
    undisturbed.mkdir()
    full.mkdir()
    run(undisturbed, "arrow")
    size = len(files(undisturbed)["out"])
    told = r"out.* can't be written \(File too large\); what is done is kept in .*out\.partial, and"
    for room in (size // 3, size // 2, size - 1):  # which the end alone does not fit in
        with files_no_larger_than(room), pytest.raises(OutputError, match=told):
            run(full, "arrow", resume=True)
        assert "out" not in files(full)
    assert len(run(full, "arrow", resume=True)) == PARTS
    assert files(full) == files(undisturbed)


def test_what_is_read_is_not_written_over(tmp_path: Path) -> None:
    data, folder = tmp_path / "data.csv", tmp_path / "folder"
    data.write_text("a\n1\n")
    folder.mkdir()
    (tmp_path / "link.csv").symlink_to(data)
    os.link(data, tmp_path / "hard.csv")
    writer = writer_for(Format.CSV, gz=False, schema=SCHEMA)
    refused = {
        "data.csv": "over what is read",
        "link.csv": "over what is read",
        "hard.csv": "over what is read",
        "folder/new.csv": "over what is read",
        "folder": "is a folder",
        "nowhere/new.csv": "there is no folder .*nowhere",
    }
    for name, told in refused.items():
        for places in ((name, "bad.ndjson"), ("out", name)):
            path, rejects = (str(tmp_path / place) for place in places)
            with pytest.raises(OutputError, match=told):
                Output(path, writer, {}, inputs=[str(data), str(folder)], rejects=rejects)
    with pytest.raises(OutputError, match="written twice"):
        Output(str(tmp_path / "out"), writer, {}, rejects=str(tmp_path / "out"))
    assert {*files_below(tmp_path)} == {"data.csv", "link.csv", "hard.csv", "folder"}
    assert data.read_text() == "a\n1\n"


def files_below(folder: Path) -> list[str]:
    """Name what is in a folder."""
    return [place.name for place in folder.iterdir()]


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "elsewhere" / "real")
    run(tmp_path, "csv", rejects=None)
    assert (tmp_path / "out").is_symlink()
    assert files_below(tmp_path / "elsewhere") == ["real"]


def test_a_pipe_gets_all_at_once_and_can_not_be_gone_on_with(tmp_path: Path) -> None:
    run(tmp_path, rejects=None)
    script = "from tests.unit.files import test_output as t; t.to('-')"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    assert done.stdout == files(tmp_path)["out"]
    with pytest.raises(
        OutputError, match=r"^/dev/full can't be written \(No space left on device\)$"
    ):
        to("/dev/full")
    with pytest.raises(OutputError, match="/dev/null is no file"):
        to("/dev/null", resume=True)


def to(path: str, *, resume: bool = False) -> None:
    """Run, and write to a path."""
    writer = writer_for(Format.PARQUET, gz=False, schema=SCHEMA)
    output = Output(path, writer, IDENTITY, resume=resume)
    assert not output.kept
    write(output, writer)
    output.finish()
