"""The numbers a replica needs. Times in microseconds, like every time in this package."""

from dataclasses import dataclass

from bank.accounts import PAGE_ACCOUNTS

MILLISECOND = 1000


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much goes at a time. No configuration has a say in these; the simulator makes them small.

    All replicas of a cluster have the same `hash_slots` and `page_accounts`, else their hashes
    differ.
    """

    piece_bytes: int = 256 * 1024  # the most that one STATE carries of a checkpoint
    # Entries in one STATE, or in an ACCEPT sent again: names of at most 32 characters keep them
    # below the above.
    piece_slots: int = 1000
    full_slots: int = 16  # so many in one turn go to all at once: putting some off saves nothing
    spare_slots: int = 256  # so many at the most are put off for the spare backups
    trial_heartbeats: int = 25  # after so many a busy leader tries anew who is quick
    hash_slots: int = 100  # are hashed at a time, from each multiple of the interval on
    noted_hashes: int = 256  # are kept to compare; an older question is simply not answered
    compared_slots: int = 128  # that somebody asked about are kept for longer
    page_accounts: int = PAGE_ACCOUNTS  # whose balances are hashed and stored together
    page_slots: int = 96  # between two checkpoints at the least, for each page beyond the first
    turn_pages: int = 16  # of a checkpoint that are written in one turn
    turn_slots: int = 2000  # are truncated in one turn: a million values take time to be given back


USUAL = Sizes()


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
    sizes: Sizes = USUAL
