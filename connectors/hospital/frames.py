"""Where does one MLLP message end and the next begin? Pure: bytes in, frames out, no socket.

HL7 v2 Transport "MLLP" release 1: 0x0B, message, 0x1C 0x0D. A frame may come in many reads and one read may hold many
frames. Neither mark is a character of the text encodings that hospitals use, so 0x1C ends a frame at once, and its
0x0D is skipped when it comes: an answer never waits for a byte that some senders forget.
"""

from __future__ import annotations

from dataclasses import dataclass

START, END, RETURN = b"\x0b", b"\x1c", b"\x0d"
HEAD_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Frame:
    """A whole message."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Oversize:
    """A message over the limit: its first bytes and its whole size; the rest was thrown away as it came."""

    head: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Broken:
    """A message that never ended: what came of it (its first bytes)."""

    head: bytes


Event = Frame | Oversize | Broken


def wrap(message: bytes) -> bytes:
    """A message in its frame."""
    return START + message + END + RETURN


class Reader:
    """The state between two reads of one connection. `garbage` counts bytes outside of any frame."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._size = 0
        self._is_open = False
        self.garbage = 0

    @property
    def is_open(self) -> bool:
        """Whether a frame has begun and not ended."""
        return self._is_open

    @property
    def size(self) -> int:
        """Bytes of the open frame so far, thrown away or kept."""
        return self._size

    def feed(self, data: bytes) -> list[Event]:
        """The frames that these bytes complete, in order."""
        events: list[Event] = []
        at = 0
        while at < len(data):
            if not self._is_open:
                start = data.find(START, at)
                skipped = data[at : start if start >= 0 else None]
                self.garbage += len(skipped) - skipped.count(RETURN) - skipped.count(b"\n")
                if start < 0:
                    break
                self._is_open, at = True, start + 1
            end = data.find(END, at)
            self._keep(data[at : end if end >= 0 else None])
            if end < 0:
                break
            events += self._close()
            at = end + 1
        return events

    def give_up(self) -> Broken | None:
        """What is there of a frame that will not end; the reader starts anew."""
        if not self._is_open:
            return None
        head = bytes(self._buffer[:HEAD_BYTES])
        self._reset()
        return Broken(head)

    def _keep(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= self._max_bytes:
            self._buffer += data
        elif len(self._buffer) < HEAD_BYTES:
            self._buffer += data[: HEAD_BYTES - len(self._buffer)]
        elif len(self._buffer) > HEAD_BYTES:
            del self._buffer[HEAD_BYTES:]

    def _close(self) -> list[Event]:
        data, size = bytes(self._buffer), self._size
        self._reset()
        if size > self._max_bytes:
            return [Oversize(data[:HEAD_BYTES], size)]
        # A sender that lost its place starts anew inside a frame. Only before MSH is 0x0B a start: pasted text
        # holds vertical tabs.
        if START + b"MSH" not in data:
            return [Frame(data)]
        *lost, whole = data.split(START + b"MSH")
        parts = [part if not number else b"MSH" + part for number, part in enumerate(lost)]
        return [*(Broken(part[:HEAD_BYTES]) for part in parts if part), Frame(b"MSH" + whole)]

    def _reset(self) -> None:
        self._buffer, self._size, self._is_open = bytearray(), 0, False
