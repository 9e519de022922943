"""Where a campaign's seeds are run: in this process, in others, or on a dask cluster.

All that is asked for is a `concurrent.futures.Executor` and how many calls it can do at once. A
seed's run depends on nothing but the seed, so the results are the same everywhere.
"""

import logging
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from importlib import import_module
from multiprocessing import active_children, get_context
from typing import Any
from urllib.parse import urlsplit

from harness.errors import EXIT_MACHINE, HarnessError

PROCESSES = "processes"
DASK_SECONDS = 5.0  # to reach the scheduler, and then for a worker to be there


def check(name: str) -> None:
    """Refuse what names no executor, before anything is started."""
    if name != PROCESSES:
        _dask_address(name)


@contextmanager
def opened(name: str, jobs: int) -> Iterator[tuple[Executor | None, int]]:
    """The executor and how many calls it does at once; None: call here, one by one."""
    if name != PROCESSES:
        with _dask(_dask_address(name), name) as found:
            yield found
    elif jobs == 1:
        yield None, 1
    else:
        # Workers are started afresh, not forked: a fork would copy the progress bar's thread.
        pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
        try:
            yield pool, jobs
        except BaseException:  # one that loops would be waited for
            for worker in active_children():
                worker.kill()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _dask_address(name: str) -> str:
    try:
        parts = urlsplit(name)
        good = parts.scheme == "dask" and parts.hostname and parts.port
        rest = parts.path or parts.query or parts.fragment or parts.username
    except ValueError:  # a port that is no number
        good, rest = None, ""
    if not good or rest:
        raise HarnessError(
            f"--executor: {name!r}: expected {PROCESSES} or dask://HOST:PORT, "
            "as in dask://127.0.0.1:8786"
        )
    return f"tcp://{parts.netloc}"


@contextmanager
def _dask(address: str, name: str) -> Iterator[tuple[Executor, int]]:
    try:
        distributed: Any = import_module("distributed")  # has no types
    except ImportError:
        raise HarnessError(
            "--executor: dask is not installed, expected: pip install 'paxbank[cluster]'"
        ) from None
    for logger in [word for word in logging.root.manager.loggerDict if "distributed" in word]:
        logging.getLogger(logger).disabled = True  # they print tracebacks
    try:
        client = distributed.Client(address, timeout=DASK_SECONDS, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise HarnessError(
            f"--executor: no dask scheduler answers at {name} within {DASK_SECONDS:g} s: {error}",
            exit_code=EXIT_MACHINE,
        ) from None
    with _closing(client):
        try:
            client.wait_for_workers(1, timeout=DASK_SECONDS)
        except TimeoutError:
            raise HarnessError(
                f"--executor: {name} has no worker, expected one within {DASK_SECONDS:g} s",
                exit_code=EXIT_MACHINE,
            ) from None
        threads = sum(client.nthreads().values())
        pool = client.get_executor(pure=False)
        try:
            yield pool, threads
        finally:
            with suppress(Exception):  # its scheduler may be gone
                pool.shutdown(wait=False)


@contextmanager
def _closing(client: Any) -> Iterator[None]:
    """Close it at the end; a scheduler that is gone is no error then, and nobody waits for it."""
    try:
        yield
    finally:
        with suppress(Exception):
            client.close(timeout=DASK_SECONDS)
