"""The numbers a replica needs. Times in microseconds, like every time in this package."""

from dataclasses import dataclass

MILLISECOND = 1000


@dataclass(frozen=True, slots=True)
class Settings:
    """Defaults are those of the configuration; see testsets/cluster.yaml for what each does."""

    election_timeout: tuple[int, int] = (150 * MILLISECOND, 300 * MILLISECOND)  # drawn anew
    prepare_quiet: int = 75 * MILLISECOND  # no own PREPARE this soon after another's
    prepare_pause: int = 2000 * MILLISECOND  # a candidate's longest pause between two PREPAREs
    heartbeat: int = 40 * MILLISECOND
    stagger: int = 5 * MILLISECOND  # between candidates that all noticed at once
    commit_pause: int = 2 * MILLISECOND  # how long a COMMIT waits for an ACCEPT to travel on
    # How long a leader waits for the backups that its quorum needs, before the spare ones get its
    # ACCEPTs as well; 0: all get them at once.
    spare_pause: int = 0
    spare_after: int = 0  # slots of a busy leader, without a pause, before it puts anything off
    learn_slots: int = 1  # commits told by ACCEPTs are executed when so many came together
    checkpoint_interval: int = 1000  # slots between two running hashes
    checkpoint_pause: int = 200 * MILLISECOND  # least time between two checkpoints
    keep_slots: int = 1000  # slots kept below the checkpoint
