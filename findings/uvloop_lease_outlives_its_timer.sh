#!/usr/bin/env bash
# uvloop 0.23.0 (PyPI, 2026-10) and veloxloop 0.2.0 (2026-01), event loops for asyncio, beside
#   asyncio's own and rloop 0.5.0 (2026-08), seen 2026-11-28.
#
# One would guess: a timer comes at its time or a little later, and of two timers the one that is due
#   first comes first. So a leader may set one timer to the end of its lease, and ask the loop's
#   clock there whether the lease is over, in case it was renewed.
# What happens: uvloop and veloxloop round the time to a whole millisecond. A third to a half of all
#   timers whose time is drawn at random come too early, by up to a millisecond, also by the loop's
#   own clock: the check finds the lease still running and goes home, nobody asks again, and the
#   old leader never steps down. Timers that round to the same millisecond come in the order in
#   which they were set: of ten between 10.0 and 10.9 ms the later before the earlier. With
#   asyncio's own loop and with rloop neither was seen.
# Who meets it: election timeouts, leases and rate limits in Python, which draw random fractions of
#   seconds, at the change to a faster loop; with whole milliseconds uvloop is right. That timers
#   come early is known (libuv has an open issue about it, 4773, 2025-05), not what it does to a
#   guard that asks the clock.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check uvloop==0.23.0 veloxloop==0.2.0 rloop==0.5.0 \
    2>pip.log || { cat pip.log; exit 1; }

cat >leases.py <<'P'
import asyncio, importlib, random

LEASES = 300

async def main(name):
    loop, draw = asyncio.get_running_loop(), random.Random(1)
    leading = set(range(LEASES))

    def end(leader, until):
        if loop.time() >= until:  # not renewed meanwhile
            leading.discard(leader)

    for leader in range(LEASES):
        until = loop.time() + draw.uniform(0.15, 0.3)
        loop.call_at(until, end, leader, until)
    order, now = [], loop.time()
    for tenth in range(109, 99, -1):  # milliseconds, the last one first
        loop.call_at(now + tenth / 10_000, order.append, tenth)
    await asyncio.sleep(1)
    many = "none" if not leading else "more than a tenth" if len(leading) > LEASES / 10 else "few"
    print(f"{name}: leaders that lead on: {many}; timers in order: {order == sorted(order)}")

for name in "asyncio", "rloop", "uvloop", "veloxloop":
    with asyncio.Runner(loop_factory=importlib.import_module(name).new_event_loop) as runner:
        runner.run(main(name))
P
venv/bin/python --version
venv/bin/pip list --disable-pip-version-check 2>/dev/null | grep loop
venv/bin/python leases.py | tee seen.txt
diff seen.txt - <<'E' || { echo "CHANGED: not what the head of this script says"; exit 1; }
asyncio: leaders that lead on: none; timers in order: True
rloop: leaders that lead on: none; timers in order: True
uvloop: leaders that lead on: more than a tenth; timers in order: False
veloxloop: leaders that lead on: more than a tenth; timers in order: False
E
echo "as described"
