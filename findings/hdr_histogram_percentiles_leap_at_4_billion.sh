#!/usr/bin/env bash
# hdrhistogram 0.10.8 (PyPI, 2026-10) and hdr-histogram-js 3.0.1 (npm), seen 2026-11-28.
#
# One would guess: the compressed V2 format is there to be read by every port. What Python wrote
#   JavaScript reads with the same count and the same percentiles, or says that it cannot; the values
#   reach up to 2^53 on both sides, so a count of some billions is nothing special.
# What happens: JavaScript keeps each bucket in 32 bits unless told otherwise, in reading as well as
#   in recording, and what goes over is cut off without a word. Three workers with 1.5 billion
#   requests of 1 ms each are merged with 0.5 billion of 90 ms: 5 billion, a median of 1 ms. Read
#   back by JavaScript it is 0.7 billion with a median of 90 ms and six times the mean. Merged in
#   JavaScript itself the total is right, 5 billion, and every percentile is 0, the 100th too,
#   beside a maximum of 90 ms; the mean is an exception. The builder's option of 64 bits is right,
#   but what it encodes is once more read in 32, for the size of a bucket is not in the format.
# Who meets it: results of soak tests, or of many clients merged over days, with one bucket that takes
#   nearly all; pages and notebooks that decode in the browser what a harness in Python, Java or
#   Rust has written. Below 2^32 to the bucket nothing shows it.
set -euo pipefail
command -v node >/dev/null || { echo "node is needed"; exit 2; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check hdrhistogram==0.10.8 2>pip.log ||
    { cat pip.log; exit 1; }
npm install --silent --no-audit --no-fund hdr-histogram-js@3.0.1 >npm.txt 2>&1 ||
    { cat npm.txt; exit 1; }

cat >write.py <<'P'
from hdrh.histogram import HdrHistogram

total = HdrHistogram(1, 3_600_000_000, 3)  # microseconds
for _ in range(3):
    worker = HdrHistogram(1, 3_600_000_000, 3)
    worker.record_value(1_000, 1_500_000_000)
    total.add(worker)
total.record_value(90_000, 500_000_000)
with open("total.b64", "wb") as file:
    file.write(total.encode())
again = HdrHistogram.decode(total.encode())
print("Python, written and read:", again.get_total_count(), "p25 p50 p75 p99 =",
      *[again.get_value_at_percentile(p) for p in (25, 50, 75, 99)],
      "mean =", round(again.get_mean_value()))
P
cat >read.js <<'J'
const hdr = require("hdr-histogram-js");
const encoded = require("fs").readFileSync("total.b64", "utf8");

function show(what, histogram) {
  const values = [25, 50, 75, 99].map((p) => histogram.getValueAtPercentile(p)).join(" ");
  let mean;
  try { mean = Math.round(histogram.mean); } catch (error) { mean = error.message; }
  console.log(`${what}: ${histogram.totalCount} p25 p50 p75 p99 = ${values} mean = ${mean}`);
}

function merged(options) {
  const total = hdr.build(options);
  for (let i = 0; i < 3; i++) {
    const worker = hdr.build(options);
    worker.recordValueWithCount(1000, 1500000000);
    total.add(worker);
  }
  total.recordValueWithCount(90000, 500000000);
  return total;
}

show("JavaScript reads Python's", hdr.decodeFromCompressedBase64(encoded));
show("  with 64 bits", hdr.decodeFromCompressedBase64(encoded, 64));
const own = merged({});
show("JavaScript merges itself", own);
console.log(`  summary: p99 = ${own.summary.p99}, max = ${own.summary.max}`);
const wide = merged({ bitBucketSize: 64 });
show("  with 64 bits", wide);
show("  and reads that again", hdr.decodeFromCompressedBase64(hdr.encodeIntoCompressedBase64(wide)));
J
venv/bin/pip list --disable-pip-version-check 2>/dev/null | grep hdrhistogram
node -p '"hdr-histogram-js " + require("./node_modules/hdr-histogram-js/package.json").version'
{ venv/bin/python write.py; node read.js; } | tee seen.txt
diff seen.txt - <<'E' || { echo "CHANGED: not what the head of this script says"; exit 1; }
Python, written and read: 5000000000 p25 p50 p75 p99 = 1000 1000 1000 90047 mean = 9902
JavaScript reads Python's: 705032704 p25 p50 p75 p99 = 1000 90047 90047 90047 mean = 64129
  with 64 bits: 5000000000 p25 p50 p75 p99 = 1000 1000 1000 90047 mean = 9902
JavaScript merges itself: 5000000000 p25 p50 p75 p99 = 0 0 0 0 mean = Index Out Of Bounds Exception
  summary: p99 = 0, max = 90000
  with 64 bits: 5000000000 p25 p50 p75 p99 = 1000 1000 1000 90047 mean = 9902
  and reads that again: 705032704 p25 p50 p75 p99 = 1000 90047 90047 90047 mean = 64129
E
echo "as described"
