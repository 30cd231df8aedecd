"""The files that a run writes: results, and perhaps what was left out of them.

They are there when all is done. Until then, what is done stands in ``OUT.partial``, and in
``OUT.progress`` a line for each part: how many bytes it has, their checksum, what the end of the
file has to tell of it, and the run's own note. A run that goes on takes up the parts whose bytes
are there, cuts off what follows, and writes the rest, so that the file has the bytes of an
undisturbed run. Refuses to go on with another model, table or options, to write where another run
writes, and over what is read.
"""

import base64
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from serving.files.journal import Journal, differences
from serving.files.partials import (
    OutputError,
    Partial,
    Stream,
    check_places,
    is_stream,
    writing,
)
from serving.files.written import Encoded, Writer


class Output:
    """Takes the parts of a table, in order, and what was left out of each.

    ``notes`` are the run's notes of the parts that an earlier run has done. ``kept`` tells how to
    go on if a run ends before `finish`; it is empty where that is impossible.
    """

    def __init__(
        self,
        path: str,
        writer: Writer,
        identity: Mapping[str, Any],
        *,
        inputs: Sequence[str] = (),
        rejects: str | None = None,
        resume: bool = False,
    ) -> None:
        """Begin, or go on if there is something to go on with.

        ``identity`` is what must be the same for a run to go on, as JSON, by names that a person
        understands; ``inputs`` are the files and folders that are read.

        Raises:
            OutputError: a place can't be written to, or is read; another run is at it; or what is
                to be gone on with was begun otherwise.
        """
        self.notes: list[Any] = []
        self.kept = ""
        self._writer = writer
        self._parts: list[tuple[int, bytes]] = []
        paths = [path] if rejects is None else [path, rejects]
        check_places(paths, inputs)
        streams = [each for each in paths if is_stream(each)]
        if resume and streams:
            raise OutputError(f"{streams[0]} is no file, so that a run can't go on with it")
        place = Path(path).resolve()
        with writing(path):
            self._journal = None if streams else Journal(place.with_name(f"{place.name}.progress"))
        self._targets: list[Stream | Partial] = []
        try:
            for each in paths:
                with writing(each):
                    self._targets.append(Stream(each) if each in streams else Partial(each))
            if not (self._journal and resume and self._go_on(self._journal, identity)):
                self._begin(identity)
        except OutputError:
            self.close()
            raise
        if self._journal:
            self.kept = f"what is done is kept in {path}.partial, and --resume goes on with it"

    def write(self, part: Encoded, note: object, rejected: bytes = b"") -> None:
        """Append a part, and what was left out of it; ``note`` is JSON.

        Raises:
            OutputError: the disk is full, or whoever reads the output has gone.
        """
        start = self._targets[0].size
        written = []
        for target, data in zip(self._targets, (part.data, rejected), strict=False):
            with writing(target.path, self.kept):
                target.write(data)
            written.append((len(data), zlib.crc32(data)))
        if part.index:
            self._parts.append((start, part.index))
        if self._journal:
            index = base64.b64encode(part.index).decode()
            with writing(str(self._journal.place), self.kept):
                self._journal.append({"written": written, "index": index, "note": note})

    def finish(self) -> None:
        """Let whole files be there.

        Raises:
            OutputError: as `write` does.
        """
        tail = self._writer.tail(self._parts)
        with writing(self._targets[0].path, self.kept):
            self._targets[0].write(tail)
        for target in self._targets:  # all are whole before the first is there
            with writing(target.path, self.kept):
                target.sync()
        for target in self._targets:
            with writing(target.path):
                target.publish()
        if self._journal:
            self._journal.remove()
        self.close()

    def abandon(self) -> None:
        """Leave nothing, as far as that is possible."""
        for target in self._targets:
            target.remove()
        if self._journal:
            self._journal.remove()
        self.close()

    def close(self) -> None:
        """Leave what is done, to go on with."""
        while self._targets:
            self._targets.pop().close()
        if self._journal:
            self._journal.close()
            self._journal = None

    def _begin(self, identity: Mapping[str, Any]) -> None:
        path = self._targets[0].path
        with writing(path):
            if self._journal:
                self._journal.begin(identity)
            for target in self._targets:
                target.cut(0)
            self._targets[0].write(self._writer.head())

    def _go_on(self, journal: Journal, identity: Mapping[str, Any]) -> bool:
        """Take up what an earlier run has done; there may be nothing."""
        path, head = self._targets[0].path, self._writer.head()
        lines = journal.lines()
        if not lines:
            return False
        begun, done = lines[0]
        if differing := differences(begun["identity"], identity):
            told = f"{path}.partial was begun otherwise: {'; '.join(differing)}"
            raise OutputError(f"{told}. Without --resume, all is done anew")
        with writing(path):
            if not self._takes_up([(len(head), zlib.crc32(head))]):
                return False
            for line, end in lines[1:]:
                start = self._targets[0].size
                if not self._takes_up(line["written"]):
                    break
                done = end
                self.notes.append(line["note"])
                if line["index"]:
                    self._parts.append((start, base64.b64decode(line["index"])))
            journal.cut(done)
            for target in self._targets:
                target.cut(target.size)
        return True

    def _takes_up(self, written: Sequence[tuple[int, int]]) -> bool:
        """Take up a part, if all of it is there."""
        held = zip(self._targets, written, strict=False)
        if not all(target.holds(*each) for target, each in held):
            return False
        for target, (size, _) in zip(self._targets, written, strict=False):
            target.size += size
        return True
