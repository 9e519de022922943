"""The seal of a replica's database: proof that what is read is what was written last.

SQLite cannot tell. A write-ahead log with a flipped byte ends for it before that byte, one that
was deleted was never there, and a page of the file has no checksum: each time it opens an older
state, or another one, without a word. So beside `n1.db` stands `n1.db-seal`, mapped into memory:

    8 bytes   the format
    8 bytes   the position: where the write-ahead log stood after the last turn that was sealed,
              its salt in the upper half (one more each time that it begins anew) and its frames
    4 bytes   for each page of the database: the CRC-32 of its content after that turn

A turn is sealed after its commit and before any message that speaks of it leaves: the frames that
it appended are read back, each page's checksum and then the position are set. That is a system
call and some stores in memory; they survive SIGKILL as the file itself does.

A database is accepted when each of its pages has its checksum. Else only when it is ahead of its
seal, because the process died, or the power went, between the two: the write-ahead log reaches at
least to the sealed position, or is the one that came next, and every page that differs stands in
it. Everything else is another state than the last one, and refused.

Nothing here syncs but `flush`: what the seal says after a loss of power is what happened to reach
the disk. See docs/architecture.md, which has the order of all writes.
"""

import mmap
import os
import struct
from itertools import zip_longest
from pathlib import Path
from zlib import crc32

from harness.live.durable import sync

PAGE_BYTES = 2048  # a turn of one row writes one page to the write-ahead log: 4 KiB cost half more
OPENING = 0  # the position while a new write-ahead log is begun; its salt is not known yet

_FORMAT = b"paxseal1"
_HEAD_BYTES = 16
_FIRST_SIZE = 16 * 1024  # of the file, in bytes; it doubles when the database outgrows it
# The write-ahead log, as https://www.sqlite.org/fileformat2.html#walformat has it.
_WAL_HEAD_BYTES = 32
_SALT = slice(16, 20)  # in the head
_FRAME_HEAD_BYTES = 24
_FRAME_BYTES = _FRAME_HEAD_BYTES + PAGE_BYTES
# At the beginning of a frame: its page, and after a commit how many the database has, else 0.
_PAGES = struct.Struct(">II").unpack_from
_MORE_FRAMES = 64  # read at once after the first one of a commit
_FRAMES = (1 << 32) - 1  # the lower half of a position
# Page 1 changes here whenever it is written: the file's change counter, twice.
_COUNTERS = (slice(24, 28), slice(92, 100))


class SealError(Exception):
    """The seal is gone or damaged, or the database is not what it was when it was sealed."""


def path_of(database: Path) -> Path:
    """Where the seal of this database is."""
    return database.with_name(database.name + "-seal")


def create(database: Path) -> None:
    """Seal a file that has no write-ahead log; raises OSError."""
    sums = _checksums(database.read_bytes())
    size = _FIRST_SIZE
    while size < _HEAD_BYTES + 4 * len(sums):
        size *= 2
    content = _FORMAT + struct.pack(f"=Q{len(sums)}I", OPENING, *sums)
    path_of(database).write_bytes(content.ljust(size, b"\0"))


class Seal:
    """The seal of an open database, kept after each of its commits."""

    def __init__(self, database: Path) -> None:
        """Map the file that `create` made; raises OSError and SealError."""
        self._database = database
        self._file = os.open(path_of(database), os.O_RDWR)
        self._map()
        self._wal = -1
        self._length = _FRAME_BYTES  # of what the last commit appended
        self._go_to(b"", 0)

    def _map(self) -> None:
        self._memory = mmap.mmap(self._file, 0)
        self._position = memoryview(self._memory)[8:_HEAD_BYTES].cast("Q")
        self._sums = memoryview(self._memory)[_HEAD_BYTES:].cast("I")

    def _grow(self) -> None:
        """Twice as long, in bytes that are there: a full disk is an error here, not a signal."""
        size = len(self._memory)
        os.pwrite(self._file, bytes(size), size)
        self._unmap()
        self._map()

    def _unmap(self) -> None:
        self._position.release()
        self._sums.release()
        self._memory.close()

    def seal_anew(self, content: bytes) -> None:
        """Before a new write-ahead log: this is the whole of the database."""
        for page, checksum in enumerate(_checksums(content), 1):
            self._set(page, checksum)

    def expect_new_log(self) -> None:
        """The next transaction begins a write-ahead log, and changes nothing but its counters."""
        self._position[0] = OPENING

    def watch(self, frames: int) -> None:
        """Follow the write-ahead log from here on; it holds so many frames."""
        self._wal = os.open(_wal_of(self._database), os.O_RDONLY)
        self._go_to(self._salt_of_log() if frames else b"", frames)

    @property
    def frames(self) -> int:
        """How many of the write-ahead log are sealed."""
        return self._place & _FRAMES

    def _go_to(self, salt: bytes, frames: int) -> None:
        self._salt = salt
        self._place = int.from_bytes(salt, "big") << 32 | frames
        self._end = _WAL_HEAD_BYTES + frames * _FRAME_BYTES

    def _salt_of_log(self) -> bytes:
        return os.pread(self._wal, _WAL_HEAD_BYTES, 0)[_SALT]

    def after_commit(self) -> None:
        """Seal what a commit appended. Only after that may a message speak of it.

        Every turn of every replica waits for it, so what is read back is as much as the commit
        before appended: a log that began anew goes on with old frames, which would be copied.
        """
        length = self._length
        data = os.pread(self._wal, length, self._end)
        if data[8:12] != self._salt:
            salt = self._salt_of_log()
            if salt == self._salt:
                return  # the commit wrote nothing
            self._go_to(salt, 0)  # the log began anew
            data = os.pread(self._wal, length, self._end)
        sums, began, start, pages = self._sums, self._end, 0, 0
        while not pages:
            if len(data) < start + _FRAME_BYTES:
                data, start = os.pread(self._wal, _MORE_FRAMES * _FRAME_BYTES, self._end), 0
                if len(data) < _FRAME_BYTES:
                    raise SealError(f"{_wal_of(self._database)}: ends in the middle of a commit")
            page, pages = _PAGES(data, start)
            checksum = crc32(data[start + _FRAME_HEAD_BYTES : start + _FRAME_BYTES])
            if page > len(sums):
                self._set(page, checksum)
                sums = self._sums
            else:
                sums[page - 1] = checksum
            start += _FRAME_BYTES
            self._end += _FRAME_BYTES
        self._length = self._end - began
        self._place += self._length // _FRAME_BYTES
        self._position[0] = self._place

    def _set(self, page: int, checksum: int) -> None:
        while page > len(self._sums):
            self._grow()
        self._sums[page - 1] = checksum

    def flush(self) -> None:
        """Wait until the disk has it."""
        self._memory.flush()
        sync(self._file)

    def close(self) -> None:
        """Give the file back; once more is no mistake."""
        self._unmap()
        for file in (self._file, self._wal):
            if file >= 0:
                os.close(file)
        self._file = self._wal = -1


def check(database: Path, copy: Path, first_page: bytes, frames: int) -> bytes:
    """Hold a database against its seal; raises OSError and SealError.

    `copy` is a copy of it into which its write-ahead log, which stays beside it, was merged;
    `first_page` is that of the copy before, `frames` what SQLite accepted of the log. Returns the
    content of the copy.
    """
    seal = path_of(database)
    if not seal.exists():
        raise SealError(f"{seal}: the file is gone, and with it the proof of what was written last")
    with open(seal, "rb") as stream:
        head = stream.read(_HEAD_BYTES)
        sums = memoryview(stream.read())
    if head[:8] != _FORMAT or len(head) < _HEAD_BYTES or len(sums) % 4:
        raise SealError(f"{seal}: damaged")
    (position,) = struct.unpack("=Q", head[8:])
    sealed, content = sums.cast("I"), copy.read_bytes()
    pairs = zip_longest(_checksums(content), sealed, fillvalue=0)
    differing = {page for page, (found, kept) in enumerate(pairs, 1) if found != kept}
    if differing:
        log = _Log(_wal_of(copy), frames)
        if position == OPENING:
            ahead = differing == {1} == log.pages and crc32(first_page) == sealed[0]
            ahead = ahead and _without_counters(first_page) == _without_counters(content)
        else:
            ahead = log.reaches(position >> 32, position & _FRAMES) and differing <= log.pages
        if not ahead:
            raise SealError(
                f"{database}: page {min(differing)} is not as this replica wrote it last: the "
                "file, its write-ahead log or its seal is damaged, cut short, or an older copy"
            )
    return content


class _Log:
    """What a write-ahead log holds, up to the last frame that SQLite accepted."""

    def __init__(self, path: Path, frames: int) -> None:
        self.frames, self.pages, self.salt = max(0, frames), set[int](), 0
        if self.frames:
            with open(path, "rb") as stream:
                self.salt = int.from_bytes(stream.read(_WAL_HEAD_BYTES)[_SALT], "big")
                for _ in range(frames):
                    self.pages.add(_PAGES(stream.read(_FRAME_BYTES))[0])

    def reaches(self, salt: int, frames: int) -> bool:
        """True when it goes at least to that position, or is the log that came next."""
        if self.salt == salt:
            return self.frames >= frames
        return self.frames > 0 and self.salt == salt + 1 & _FRAMES


def _wal_of(database: Path) -> Path:
    return database.with_name(database.name + "-wal")


def _checksums(content: bytes) -> list[int]:
    """Of each page, a last one that was cut short included."""
    return [
        crc32(content[start : start + PAGE_BYTES]) for start in range(0, len(content), PAGE_BYTES)
    ]


def _without_counters(page: bytes) -> bytes:
    kept = bytearray(page[:PAGE_BYTES])
    for counter in _COUNTERS:
        kept[counter] = bytes(counter.stop - counter.start)
    return bytes(kept)
