"""Nodes that know no bank: a register behind the service lin-kv, and a list that n1 holds.

n1 answers once the others have seen its list. `python -S -E tiny_kv.py lin-kv|txn|forgets`.
`forgets` loses what was appended first, when it is asked for the fifth time.
"""

import json
import sys

KIND = sys.argv[1]


class Node:
    def __init__(self):
        self.name, self.asked, self.number = "", {}, 0
        self.list, self.times, self.names = [], 0, []
        self.waiting = []  # answers: for how many others each waits, to whom it goes, what it says

    def say(self, dest, **body):
        sys.stdout.write(json.dumps({"src": self.name, "dest": dest, "body": body}) + "\n")
        sys.stdout.flush()

    def take(self, message):
        body, source = message["body"], message["src"]
        kind, answer = body["type"], {"in_reply_to": body.get("msg_id")}
        if kind == "init":
            self.name, self.names = body["node_id"], body["node_ids"]
            self.say(source, type="init_ok", **answer)
        elif source == "lin-kv":
            asker, asked = self.asked.pop(body["in_reply_to"])
            self.say(asker, **{**body, "in_reply_to": asked["msg_id"]})
        elif kind in ("read", "write", "cas"):
            self.number += 1
            self.asked[self.number] = source, body
            self.say("lin-kv", **{**body, "msg_id": self.number})
        elif kind == "txn" and self.name == "n1":
            self.times += 1
            if KIND == "forgets" and self.times == 5:
                self.list.pop(0)
            done = []
            for what, key, value in body["txn"]:
                if what == "append":
                    self.list.append(value)
                done.append([what, key, list(self.list) if what == "r" else value])
            self.waiting.append([len(self.names) - 1, source, {"txn": done, **answer}])
            for name in self.names[1:]:
                self.say(name, type="copy", list=self.list, number=len(self.waiting) - 1)
        elif kind == "copy":
            self.list = body["list"]
            self.say(source, type="copied", number=body["number"])
        elif kind == "copied":
            waits = self.waiting[body["number"]]
            waits[0] -= 1
            if waits[0] == 0:
                self.say(waits[1], type="txn_ok", **waits[2])
        else:
            self.say(source, type="error", code=11, text="ask n1", leader="n1", **answer)


if __name__ == "__main__":
    node = Node()
    for line in sys.stdin:
        node.take(json.loads(line))
