"""How fast other people's replicas are, and the router that carries their messages.

Closed-loop clients in the harness's own process, which is also where every message passes: above
some tens of thousands of messages a second the harness is what is measured. Answers are judged.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from rich.console import Group, RenderableType
from rich.text import Text

from bank.ledger import TRANSFER
from harness.bench import relay, streams
from harness.bench.tables import OF_PAIRS
from harness.check.verdict import Judgement
from harness.cluster.history import Operation
from harness.external.cluster import ExternalCluster
from harness.external.description import Description
from harness.files.config import ClusterConfig
from harness.run.outside import judged
from harness.screen.cells import QUIET, STRONG, Column, Grid, cell, duration, percentile, sentence


@dataclass(frozen=True, slots=True)
class Figures:
    """Of so many clients."""

    clients: int
    per_second: float
    p50_us: int
    p99_us: int
    messages: float  # of all kinds, for each answer
    judgements: tuple[Judgement, ...]


def measure(
    description: Description,
    config: ClusterConfig,
    asking: Sequence[str],
    seconds: float,
    warmup: float,
) -> Figures:
    """The clients of some accounts, each with one transfer at a time. Times in seconds."""
    cluster = ExternalCluster(description, config)
    history: list[Operation] = []
    random, accounts = Random(config.seed), config.accounts

    def ask(account: str) -> Operation:
        other = random.choice(accounts)
        request = (account, 0, TRANSFER, account, other, random.randint(1, 9))
        operation = Operation(request, 1)
        history.append(operation)
        cluster.clients.submit(operation)
        return operation

    def loop(length: float) -> None:
        waiting = {account: ask(account) for account in asking}

        def refill() -> bool:
            for account, operation in waiting.items():
                if operation.is_answered or operation.refused is not None:
                    waiting[account] = ask(account)
            return False

        cluster.run_until(refill, round(length * 1e6))
        patience = config.progress_ms * 1000
        cluster.run_until(lambda: not cluster.unanswered(), patience)

    try:
        cluster.start()
        cluster.set_clients_running(True)
        loop(warmup)
        first, before, began = len(history), cluster.router.delivered, cluster.now()
        loop(seconds)
        took = (cluster.now() - began) / 1e6
        delivered = cluster.router.delivered - before
        cluster.set_clients_running(False)
        found = [o for o in history[first:] if o.answered_at is not None]
        latencies = sorted((o.answered_at or 0) - (o.invoked_at or 0) for o in found) or [0]
        everybody = range(1, config.nodes + 1)
        judgements = judged(cluster, config.balances(), history, everybody, True)
        return Figures(
            len(asking),
            len(found) / took,
            percentile(latencies, 50.0),
            percentile(latencies, 99.0),
            delivered / max(1, len(found)),
            judgements,
        )
    finally:
        cluster.stop()


def tables(description: Description, figures: Sequence[Figures]) -> Iterator[RenderableType]:
    """What was measured."""
    yield Text(f" {description.shown}", STRONG)
    columns = [Column(name, right=True) for name in ("clients", "per s", "p50", "p99", "messages")]
    rows = [
        [
            cell(f.clients),
            cell(f"{f.per_second:,.0f}", STRONG),
            cell(duration(f.p50_us)),
            cell(duration(f.p99_us)),
            cell(f"{f.messages:.1f}"),
        ]
        for f in figures
    ]
    yield Grid(columns, rows)
    yield sentence("messages: that the harness delivered, for each answer")


def router_table(seconds: float, turns: int) -> RenderableType:
    """The router beside one that parses the same lines, and a relay of bytes beside none."""
    columns = [Column("", folds=True)]
    columns += [Column(name, right=True) for name in ("harness", "beside it", "ratio")]
    figures = relay.ratios(seconds, turns)
    figures["µs a round trip over TCP (p50), relayed and direct"] = streams.round_trips(
        seconds, turns
    )
    rows = [
        [cell(name), cell(f"{ours:,.0f}"), cell(f"{theirs:,.0f}"), cell(f"{ratio:.2f}", STRONG)]
        for name, (ours, theirs, ratio) in figures.items()
    ]
    return Group(Grid(columns, rows), sentence(f"Medians of {turns} runs. {OF_PAIRS}", QUIET))
