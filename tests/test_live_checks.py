"""A sound process and its file pass every check, and each broken one fails the one it names."""

import pytest
from live_checks import CAN_REFUSE_SYNCS, CHECKS
from processes import alarm  # noqa: F401
from zoo import PROCESSES

from harness.live.storage import StorageError

pytestmark = pytest.mark.usefixtures("alarm")


@pytest.mark.parametrize("name", CHECKS)
def test_sound_process_passes(name, tmp_path):
    CHECKS[name](tmp_path)


@pytest.mark.parametrize(
    ("one", "check"),
    [
        pytest.param(one, check, id=one.wrong)
        for one in PROCESSES
        for check in one.caught_by("live")
    ],
)
def test_broken_process_fails(one, check, tmp_path):
    if check.startswith("under_power") and not CAN_REFUSE_SYNCS:
        pytest.skip("this system has no way to refuse a sync")
    with one.at_work(), pytest.raises((AssertionError, StorageError)) as caught:
        CHECKS[check](tmp_path)
    assert "nothing woke" not in str(caught.value)


def test_every_check_bites():
    assert {check for one in PROCESSES for check in one.caught_by("live")} == set(CHECKS)
