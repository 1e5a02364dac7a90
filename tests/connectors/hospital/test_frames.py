"""Are frames found however the bytes arrive, and is everything else counted and kept out?"""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.hospital import frames
from connectors.hospital.frames import Broken, Frame, Oversize

LIMIT = 10_000


def read(*packets: bytes, limit: int = LIMIT) -> list[frames.Event]:
    reader = frames.Reader(limit)
    return [event for packet in packets for event in reader.feed(packet)]


def test_a_frame_holds_its_message() -> None:
    assert read(frames.wrap(b"MSH|1")) == [Frame(b"MSH|1")]


def test_several_frames_in_one_packet_keep_their_order() -> None:
    assert read(frames.wrap(b"1") + frames.wrap(b"2") + frames.wrap(b"3")) == [Frame(b"1"), Frame(b"2"), Frame(b"3")]


def test_a_frame_ends_without_waiting_for_its_return() -> None:
    assert read(b"\x0bMSH\x1c") == [Frame(b"MSH")]
    assert read(b"\x0bone\x1c\x0btwo\x1c\x0d") == [Frame(b"one"), Frame(b"two")]


def test_garbage_between_frames_is_skipped_and_counted() -> None:
    reader = frames.Reader(LIMIT)
    assert reader.feed(b"noise" + frames.wrap(b"1") + b"\nmore" + frames.wrap(b"2")) == [Frame(b"1"), Frame(b"2")]
    assert reader.garbage == len(b"noise" + b"more")


def test_a_vertical_tab_inside_a_text_is_kept() -> None:
    assert read(frames.wrap(b"MSH|a\x0bb")) == [Frame(b"MSH|a\x0bb")]


def test_a_sender_that_starts_anew_loses_only_what_it_cut() -> None:
    assert read(b"\x0bMSH|half\x0bMSH|whole\x1c\x0d") == [Broken(b"MSH|half"), Frame(b"MSH|whole")]
    assert read(b"\x0b\x0bMSH|whole\x1c\x0d") == [Frame(b"MSH|whole")]


@pytest.mark.parametrize("step", [1, 7, 50_000])
def test_a_message_over_the_limit_leaves_its_head_and_its_size(step: int) -> None:
    big = b"MSH|" + b"x" * 100_000
    frame = frames.wrap(big) + frames.wrap(b"next")
    packets = [frame[at : at + step] for at in range(0, len(frame), step)]
    found = read(*packets)
    assert found[1:] == [Frame(b"next")]
    assert isinstance(found[0], Oversize)
    assert found[0].size == len(big)
    assert big.startswith(found[0].head)
    assert len(found[0].head) == frames.HEAD_BYTES


def test_a_message_of_exactly_the_limit_passes() -> None:
    assert read(frames.wrap(b"x" * LIMIT)) == [Frame(b"x" * LIMIT)]
    assert read(frames.wrap(b"x" * (LIMIT + 1))) == [Oversize(b"x" * (LIMIT + 1), LIMIT + 1)]


def test_giving_up_tells_what_came() -> None:
    reader = frames.Reader(LIMIT)
    assert reader.give_up() is None
    reader.feed(b"\x0bMSH|half")
    assert reader.is_open
    assert reader.give_up() == Broken(b"MSH|half")
    assert reader.feed(frames.wrap(b"whole")) == [Frame(b"whole")]


contents = st.binary(max_size=60).map(lambda data: data.translate(None, b"\x0b\x1c"))


@given(st.lists(contents, max_size=6), st.lists(st.integers(0, 500), max_size=20))
def test_any_split_of_any_frames_gives_the_same_messages(messages: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(frames.wrap, messages))
    ends = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    packets = [stream[a:b] for a, b in pairwise(ends)]
    assert read(*packets) == [Frame(message) for message in messages]


def test_ten_thousand_fuzzed_frames_never_stop_the_reader() -> None:
    chance = random.Random(7)
    reader = frames.Reader(500)
    marks = [b"\x0b", b"\x1c", b"\x0d", b"MSH|", b"\x0bMSH|", b"\x1c\x0d", b"\0", b"A" * 300]
    for number in range(10_000):
        noise = b"".join(chance.choices(marks, k=chance.randrange(8)))
        reader.feed(noise)
        reader.feed(b"\x1c")  # whatever was open ends
        assert reader.feed(frames.wrap(b"MSH|%d" % number)) == [Frame(b"MSH|%d" % number)]
        assert not reader.is_open
