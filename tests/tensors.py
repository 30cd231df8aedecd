"""Binary tensors of the Open Inference Protocol, written and read by Python's struct alone."""

import json
import struct
from collections.abc import Sequence
from typing import Any

LENGTH_HEADER = "Inference-Header-Content-Length"
FORMATS = {
    "BOOL": "?",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
}


def written(datatype: str, elements: Sequence[Any]) -> bytes:
    """Write elements; strings as they are encoded."""
    if datatype == "BYTES":
        return b"".join(struct.pack("<I", len(each)) + each for each in elements)
    return struct.pack(f"<{len(elements)}{FORMATS[datatype]}", *elements)


def elements_of(datatype: str, raw: bytes) -> list[Any]:
    """Read elements; strings are decoded."""
    if datatype != "BYTES":
        size = struct.calcsize(f"<{FORMATS[datatype]}")
        return list(struct.unpack(f"<{len(raw) // size}{FORMATS[datatype]}", raw))
    elements = []
    while raw:
        end = 4 + struct.unpack_from("<I", raw)[0]
        assert end <= len(raw)
        elements.append(raw[4:end].decode())
        raw = raw[end:]
    return elements


def with_buffers(document: object, *buffers: bytes) -> tuple[bytes, dict[str, str]]:
    """Give a body of JSON and buffers, and the header that it needs."""
    head = json.dumps(document).encode()
    return b"".join([head, *buffers]), {LENGTH_HEADER: str(len(head))}


def outputs_of(body: bytes, length: str | None) -> dict[str, list[Any]]:
    """Read the elements of each output of an answer, given its header."""
    head = body if length is None else body[: int(length)]
    left = body[len(head) :]
    read = {}
    for output in json.loads(head)["outputs"]:
        size = output["parameters"].get("binary_data_size")
        assert ("data" in output) == (size is None)
        if size is None:
            read[output["name"]] = output["data"]
        else:
            read[output["name"]] = elements_of(output["datatype"], left[:size])
            left = left[size:]
    assert not left
    return read
