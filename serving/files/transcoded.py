"""A file's bytes as UTF-8, whatever its encoding; a byte order mark is no part of them."""

import codecs
from typing import BinaryIO

from serving.files.source import TableError
from serving.json_text import BYTE_ORDER_MARK

ADVICE = (
    "save it as UTF-8, or name its encoding, such as --encoding cp1252 (Windows), latin-1 or utf-16"
)


class Transcoded:
    """Reads a file in blocks of UTF-8. What is such in the file already is given as it is."""

    def __init__(self, stream: BinaryIO, encoding: str, name: str) -> None:
        """Read a stream from its beginning; messages give its name.

        Raises:
            TableError: there is no such encoding.
        """
        self._stream, self._encoding, self._name = stream, encoding, name
        self._line, self._is_begun = 1, False
        try:
            b" ".decode(encoding, "replace")  # which says what is no encoding of text
            is_utf_8 = codecs.lookup(encoding).name in {"utf-8", "utf-8-sig"}
            self._decoder = None if is_utf_8 else codecs.getincrementaldecoder(encoding)()
        except (LookupError, UnicodeError):
            raise TableError(
                f"there is no encoding {encoding}: name another, such as --encoding cp1252"
            ) from None

    def read(self, size: int) -> bytes:
        """Give the next block, made of so many bytes of the file or more; none at its end.

        Raises:
            TableError: they are none of the encoding.
        """
        while True:
            raw = self._stream.read(size)
            block = raw if self._decoder is None else self._decoded(self._decoder, raw)
            if block and not self._is_begun:
                self._is_begun = True
                block = block.removeprefix(BYTE_ORDER_MARK)
            if block or not raw:
                return block

    def _decoded(self, decoder: codecs.IncrementalDecoder, raw: bytes) -> bytes:
        try:
            block = decoder.decode(raw, not raw).encode()
        except UnicodeError as exc:
            before = b""
            if isinstance(exc, UnicodeDecodeError):
                before = exc.object[: exc.start]
            line = self._line + before.decode(self._encoding, "ignore").count("\n")
            raise TableError(no_text(self._name, self._encoding, line)) from None
        self._line += block.count(b"\n")
        return block


def no_text(name: str, encoding: str, line: int) -> str:
    """Tell that a file is not of its encoding."""
    return f"{name} is not {encoding}, see line {line}: {ADVICE}"
