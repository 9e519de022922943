"""cluster.yaml: every number of a cluster, checked, as one frozen value."""

from dataclasses import dataclass

from bank.settings import MILLISECOND, Settings

FAILURES = ("disconnect", "crash", "pause")
DURABILITIES = ("process", "power", "memory")
NODES = (3, 5, 7, 9)


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """The field names are the keys of the file; units are in the names."""

    nodes: int = 5
    accounts: tuple[str, ...] = tuple("ABCDEFGHIJ")
    initial_balance: int = 10
    election_timeout_ms: tuple[int, int] = (150, 300)
    prepare_quiet_ms: int = 75
    prepare_pause_ms: int = 2000
    heartbeat_ms: int = 40
    stagger_ms: int = 5
    client_timeout_ms: int = 300
    patience_ms: int = 1000
    progress_ms: int = 10_000
    checkpoint_interval: int = 1000
    checkpoint_pause_ms: int = 200
    keep_slots: int = 1000
    queue_buffer_kib: int = 2048
    trace_messages: int = 10_000
    failure: str = "disconnect"
    durability: str = "process"
    seed: int | None = None  # drawn and printed when absent

    def settings(self) -> Settings:
        """What a replica needs of it, in its units."""
        low, high = self.election_timeout_ms
        return Settings(
            election_timeout=(low * MILLISECOND, high * MILLISECOND),
            prepare_quiet=self.prepare_quiet_ms * MILLISECOND,
            prepare_pause=self.prepare_pause_ms * MILLISECOND,
            heartbeat=self.heartbeat_ms * MILLISECOND,
            stagger=self.stagger_ms * MILLISECOND,
            checkpoint_interval=self.checkpoint_interval,
            checkpoint_pause=self.checkpoint_pause_ms * MILLISECOND,
            keep_slots=self.keep_slots,
        )

    def balances(self) -> dict[str, int]:
        """The state before slot 1."""
        return dict.fromkeys(self.accounts, self.initial_balance)
