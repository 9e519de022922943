"""A node that throws what it catches to the next one: what a router is measured with.

Run as `python -I -S ball.py`. It answers `init`, then looks at nothing any more: each line that it
reads is one ball, each ball is the same line to the next node. So it costs next to nothing.
"""

import json
import os


def main() -> None:
    """Until its standard input ends."""
    data = b""
    while b"\n" not in data:
        data += os.read(0, 65536)
    first, rest = data.split(b"\n", 1)
    body = json.loads(first)["body"]
    name, names = body["node_id"], body["node_ids"]
    following = names[(names.index(name) + 1) % len(names)]
    answer = {"type": "init_ok", "in_reply_to": body["msg_id"]}
    os.write(1, json.dumps({"src": name, "dest": "c0", "body": answer}).encode() + b"\n")
    text = '{"src": "%s", "dest": "%s", "body": {"type": "ball", "msg_id": 1, "text": "%s"}}\n'
    ball = (text % (name, following, "x" * 60)).encode()
    data = rest or os.read(0, 65536)
    while data:
        os.write(1, ball * data.count(b"\n"))
        data = os.read(0, 65536)


if __name__ == "__main__":
    main()
