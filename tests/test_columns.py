"""The simulator's trace in columns: where each event stands, and what a narrow console cuts."""

import pytest

from harness.cluster.journal import CLIENTS
from harness.sim.columns import EVERYBODY, HEAD_EVERY, Columns, Happening

SEND = Happening(1_500, 2, "→all ✗n3 ACCEPT (1, n2) 4-6 (A, B, 3), (C)")
TOLD = Happening(12_345_678, CLIENTS, "A: success, slot 4")


def last_line(columns, event):
    return list(columns.lines(event))[-1]


def test_an_event_stands_in_its_column_and_runs_on_to_the_right():
    columns = Columns(3, 100)
    start = columns.head().index("│n2")
    line = last_line(columns, SEND)
    assert line.startswith("     1.500 │")
    assert line.index("│→all ✗n3 ACCEPT") == start
    assert line.endswith("(A, B, 3), (C) │"), "the columns that it does not cover go on"
    assert last_line(columns, TOLD).index("│A: success") == columns.head().index("│clients")


def test_what_befalls_everybody_has_no_column():
    event = Happening(1_000, EVERYBODY, "all faults stop")
    assert last_line(Columns(7, 100), event) == "     1.000 ── all faults stop"


@pytest.mark.parametrize("replicas", [3, 5, 7, 9])
@pytest.mark.parametrize("width", [60, 80, 100, 140, 250])
def test_nothing_is_wider_than_the_console(replicas, width):
    columns = Columns(replicas, width)
    for who in (EVERYBODY, CLIENTS, *range(1, replicas + 1)):
        event = Happening(5, who, "x" * 300)
        line = last_line(columns, event)
        assert len(line) == width
        assert line.endswith("…")
    assert len(columns.head()) <= width
    assert columns.head().split("│")[-1].strip() == "clients"


@pytest.mark.parametrize("replicas", [3, 5, 7])
@pytest.mark.parametrize("width", [100, 140])
def test_peer_message_ballot_and_slots_can_be_read(replicas, width):
    for replica in range(1, replicas + 1):
        event = Happening(5, replica, "→n2 ACCEPT (1, n1) 4-6")
        assert event.text in last_line(Columns(replicas, width), event)
    assert TOLD.text in last_line(Columns(replicas, width), TOLD)


def test_in_a_pipe_nothing_is_cut():
    event = Happening(5, 7, "x" * 300)
    assert last_line(Columns(7, None), event).endswith("│" + "x" * 300)


def test_the_names_come_back_now_and_then():
    columns = Columns(3, 100)
    printed = [line for _ in range(2 * HEAD_EVERY) for line in columns.lines(SEND)]
    assert [at for at, line in enumerate(printed) if line == columns.head()] == [0, HEAD_EVERY + 1]
