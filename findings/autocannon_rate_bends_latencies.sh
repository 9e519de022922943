#!/usr/bin/env bash
# autocannon 9.0.0 (npm, 2026-11, load generator for HTTP), seen 2026-11-28.
#
# One would guess: with a fixed rate (`--overallRate`, `--connectionRate`) latencies are corrected
#   for coordinated omission, as its documentation says: where an answer takes longer than the time
#   between two requests of its connection, the latencies of those that it held up are added. An
#   answer within that time is recorded as it is, and nothing is below what the server takes.
# What happens: the time between two requests counts as 1 ms, whatever the rate, so every answer is
#   recorded again for each millisecond that it took, down to 1 ms. A server that takes 200 ms for
#   each request, asked by every connection twice a second, is never late; 60 answers become 12,000
#   records, the median 103 ms and the 1st percentile 3 ms, half of what a fixed rate without the
#   correction, or no fixed rate, says. And the other way: of 100 requests a second one in ten takes
#   400 ms and the others 2 ms; the median is some 180 ms instead of 4, as one slow answer has the
#   weight of 200 quick ones. Only the maximum is right.
# Who meets it: whoever asks a service for a fixed rate, which is what one is told to do, to compare
#   two stores or check a promised median. The slow one of two looks half as slow, the one with rare
#   pauses at an election or a snapshot looks slow throughout. `--ignoreCoordinatedOmission`, which
#   its documentation advises against, gives the latencies as they were.
set -euo pipefail
command -v node >/dev/null || { echo "node is needed"; exit 2; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
npm install --silent --no-audit --no-fund autocannon@9.0.0 >npm.txt 2>&1 || { cat npm.txt; exit 1; }

cat >rates.mjs <<'J'
import { createServer } from "node:http";
import autocannon from "autocannon";

/** Tell what a run says of a server that answers the n-th request after delay(n) milliseconds. */
async function run(name, delay, options) {
  let asked = 0, fastest = Infinity;
  const server = createServer((request, response) => {
    const start = performance.now();
    setTimeout(() => {
      fastest = Math.min(fastest, performance.now() - start);
      response.end("ok");
    }, delay(++asked));
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const { latency, requests } = await autocannon({
    url: `http://127.0.0.1:${server.address().port}`, connections: 10, duration: 3, ...options,
  });
  server.closeAllConnections();
  server.close();
  console.error(name, requests.total, "answers,", latency.totalCount, "records,",
    { fastest: Math.round(fastest), p1: latency.p1, median: latency.p50, p99: latency.p99 });
  const many = latency.totalCount > requests.total ? "more records than" : "as many records as";
  return { fastest, many, ...latency };
}

const slow = () => 200;
const stalls = (n) => (n % 10 ? 2 : 400);
for (const [name, delay, rate] of [["slow", slow, 20], ["stalls", stalls, 100]]) {
  for (const ignoreCoordinatedOmission of [true, false]) {
    const title = `${name}, ${ignoreCoordinatedOmission ? "not " : ""}corrected:`;
    const told = await run(title, delay, { overallRate: rate, ignoreCoordinatedOmission });
    console.log(title, told.many, "answers,", delay === slow
      ? `below the fastest: p1 ${told.p1 < told.fastest / 10}, ` +
        `median ${told.p50 < told.fastest}`
      : `median above 50 ms: ${told.p50 > 50}`);
  }
}
J
grep -m 1 '"version"' node_modules/autocannon/package.json
node rates.mjs | tee seen.txt
diff seen.txt - <<'E' || { echo "CHANGED: not what the head of this script says"; exit 1; }
slow, not corrected: as many records as answers, below the fastest: p1 false, median false
slow, corrected: more records than answers, below the fastest: p1 true, median true
stalls, not corrected: as many records as answers, median above 50 ms: false
stalls, corrected: more records than answers, median above 50 ms: true
E
echo "as described"
