#!/usr/bin/env bash
# Linux (seen on 6.18), pipes, seen 2026-11-28.
#
# One would guess: a pipe holds 64 KiB, and what runs out when a harness opens many is file
#   descriptors, with an error.
# What happens: the kernel adds up the pipes of one *user* over all processes. Past 16384 pages, or
#   1024 pipes of the usual size, each further pipe is made with 8 KiB, without an error. A child
#   whose three standard streams are pipes takes three, so some 340 replicas are enough, and those
#   of another run of the same person count too. A program that writes a reply of 16 KiB before
#   anybody reads it goes on with the early pipes and blocks with the later ones. Root is exempt, so
#   the same run is fine as root, as in most CI containers.
# Who meets it: harnesses of hundreds of replicas or clients on pipes, on a course's shared account
#   or machine; the first replicas of a run never show it.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

cat >pipes.py <<'P'
"""Open 100 pipes in each of 12 processes of one user; show the last pipe of the first and last."""
import fcntl, os

PROCESSES, PIPES_EACH, REPLY = 12, 100, 16 * 1024
UNPRIVILEGED = 64321  # a user that owns nothing, when this runs as root

def hold_pipes(as_root, report, stay):
    if not as_root and os.getuid() == 0:
        os.setgroups([])
        os.setgid(UNPRIVILEGED)
        os.setuid(UNPRIVILEGED)
    pipes = [os.pipe() for _ in range(PIPES_EACH)]
    os.set_blocking(pipes[-1][1], False)
    size = fcntl.fcntl(pipes[-1][1], fcntl.F_GETPIPE_SZ)
    taken = os.write(pipes[-1][1], bytes(REPLY))
    os.write(report, b"%d bytes, takes %d of a reply of %d\n" % (size, taken, REPLY))
    os.read(stay, 1)  # until the parent closes its end
    os._exit(0)

def run(as_root):
    stay, release = os.pipe()
    seen = []
    for _ in range(PROCESSES):
        read_end, report = os.pipe()
        if os.fork() == 0:
            os.close(release)
            hold_pipes(as_root, report, stay)
        os.close(report)
        seen.append(os.read(read_end, 100).decode().strip())
        os.close(read_end)
    os.close(release)
    os.close(stay)
    for _ in range(PROCESSES):
        os.wait()
    return [seen[0], seen[-1]]

SMALL, USUAL = (f"{size} bytes, takes {min(size, REPLY)} of a reply of {REPLY}"
                for size in (8192, 65536))
first, last = run(as_root=False)
print("an ordinary user, pipe  100:", first)
print("an ordinary user, pipe 1200:", last)
as_described = last == SMALL
if os.getuid() == 0:
    first, last = run(as_root=True)
    print("root, pipe  100:", first)
    print("root, pipe 1200:", last)
    as_described = as_described and last == USUAL
raise SystemExit(not as_described)
P

uname -sr
python3 pipes.py || { echo "CHANGED: not what the head of this script says"; exit 1; }
echo "as described"
