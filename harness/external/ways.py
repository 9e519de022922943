"""The ways in: what lies between the harness and replicas that are linked like this."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bank.ballot import ReplicaId
from harness.external.description import SOCKETS, Description
from harness.external.medium import Medium
from harness.external.router import Node, Router
from harness.external.sockets import Sockets
from harness.files.config import ClusterConfig
from harness.live.waiting import Waiter


def medium(
    description: Description,
    config: ClusterConfig,
    waiter: Waiter,
    logs: Path,
    on_client: Callable[[Node, str, dict[str, Any], int], None],
    on_end: Callable[[Node], None],
    on_passed_on: Callable[[str, dict[str, Any], ReplicaId], None],
) -> Medium:
    """That of a description; see `router` and `sockets` for what they are told."""
    if description.links in SOCKETS:
        return Sockets(description, config, waiter, logs, on_client)
    kept = config.trace_messages * config.nodes
    return Router(config.nodes, waiter, config.seed, kept, on_client, on_end, on_passed_on)
