"""A replicated bank in one file: Raft behind the line protocol. Standard library only.

    python run.py testsets/tour.csv --replicas 'python3 docs/examples/bank.py'

One JSON object a line, in on standard input, out on standard output. Every replica keeps a log of
requests in the folder PAXBANK_DATA; what a majority has is committed, what is committed is executed
in order. A leader is elected for a term, and has every entry that was committed before.
"""

import json
import os
import random
import select
import sys
import time

HEARTBEAT = 0.04  # seconds
ELECTION = (0.15, 0.3)  # a follower that hears nothing for so long stands for leader
NOOP = {"type": "noop"}


class Disk:
    """Lines of a file: what was promised, and every entry in the order of its writing."""

    def __init__(self, folder):
        self.term, self.vote, self.entries = 0, None, []
        self.stream = open(os.path.join(folder, "log.jsonl"), "a+b")  # noqa: SIM115
        self.stream.seek(0)
        written = self.stream.read()
        whole = written.rfind(b"\n") + 1  # nothing was answered for the rest of a line
        for line in written[:whole].splitlines():
            self.replay(json.loads(line))
        self.stream.truncate(whole)

    def replay(self, told):
        if "term" in told:
            self.term, self.vote = told["term"], told["vote"]
        else:
            del self.entries[told["at"] - 1 :]
            self.entries += told["entries"]

    def promise(self, term, vote):
        self.write({"term": term, "vote": vote})

    def put(self, at, entries):
        """These entries from slot `at` on; whatever stood there or behind is gone."""
        if entries:
            self.write({"at": at, "entries": entries})

    def write(self, told):
        self.replay(told)
        self.stream.write(json.dumps(told).encode() + b"\n")
        self.stream.flush()  # survives SIGKILL; a loss of power would need fsync


class Bank:
    """What the log does when it is executed."""

    def __init__(self, accounts):
        self.balances = dict(accounts)
        self.answers = {}  # by client: its last timestamp, and what that gave

    def execute(self, entry):
        request = entry["request"]
        if request["type"] == "noop":
            return None
        client, timestamp = request["client"], request["timestamp"]
        known = self.answers.get(client, (-1, None))
        if timestamp > known[0]:
            known = self.answers[client] = timestamp, self.apply(request)
        return known[1] if known[0] == timestamp else None

    def apply(self, request):
        if request["type"] == "read":
            return self.balances[request["account"]]
        source, to, amount = request["from"], request["to"], request["amount"]
        if self.balances[source] < amount:
            return "failed"
        self.balances[source] -= amount
        self.balances[to] += amount
        return "success"


class Replica:
    def __init__(self, name, names, accounts):
        self.name, self.names = name, names
        self.disk, self.bank = Disk(os.environ.get("PAXBANK_DATA", ".")), Bank(accounts)
        self.role, self.leader = "backup", None
        self.committed = self.executed = 0
        self.results = {}  # by slot
        self.votes, self.views = set(), []
        self.matched, self.next = {}, {}  # of a leader, by peer: what it has; what it gets next
        self.waiting = {}  # of a leader, by slot: who asked
        self.rest()

    # ---- saying ----

    def say(self, to, **body):
        message = {"src": self.name, "dest": to, "body": body}
        sys.stdout.write(json.dumps(message) + "\n")

    def answer(self, asked, **body):
        self.say(asked["src"], in_reply_to=asked["body"].get("msg_id"), **body)

    def others(self):
        return [name for name in self.names if name != self.name]

    def is_majority(self, count):
        return 2 * count > len(self.names)

    def term_at(self, slot):
        return self.disk.entries[slot - 1]["term"] if slot > 0 else 0

    @property
    def last(self):
        return len(self.disk.entries)

    # ---- time ----

    def rest(self):
        """Whoever leads is there: wait for the next word of it."""
        self.due = time.monotonic() + random.uniform(*ELECTION)

    def tick(self):
        if time.monotonic() < self.due:
            return
        if self.role == "leader":
            self.spread()
        else:
            self.stand()

    def stand(self):
        self.role, self.leader, self.votes = "candidate", None, {self.name}
        self.disk.promise(self.disk.term + 1, self.name)
        self.rest()
        for peer in self.others():
            self.say(peer, type="vote", term=self.disk.term, last=self.last,
                     last_term=self.term_at(self.last))  # fmt: skip
        self.count_votes()

    def count_votes(self):
        if self.role == "candidate" and self.is_majority(len(self.votes)):
            self.role, self.leader = "leader", self.name
            self.matched = dict.fromkeys(self.others(), 0)
            self.next = dict.fromkeys(self.others(), self.last + 1)
            self.views.append(
                {
                    "ballot": [self.disk.term, self.name],
                    "first_slot": self.last + 1,
                    "last_slot": self.last + 1,
                    "text": f"{len(self.votes)} votes",
                }
            )
            self.append(NOOP)  # entries of earlier terms are committed with one of its own
            self.say("clients", type="leader", ballot=[self.disk.term, self.name])

    def step_down(self):
        """Whether what waits is ever committed is for others to decide."""
        self.role, self.leader = "backup", None
        waiting, self.waiting = self.waiting, {}
        for asked in waiting.values():
            self.answer(asked, type="error", code=0, text="leads no more")

    # ---- the leader ----

    def append(self, request):
        self.disk.put(self.last + 1, [{"term": self.disk.term, "request": request}])
        self.spread()

    def spread(self):
        """Everybody gets what it lacks; nothing is news too, the leader is there."""
        self.due = time.monotonic() + HEARTBEAT
        for peer in self.others():
            first = self.next[peer]
            self.say(peer, type="append", term=self.disk.term, before=first - 1,
                     before_term=self.term_at(first - 1), committed=self.committed,
                     entries=self.disk.entries[first - 1 : first + 99])  # fmt: skip
        self.commit()

    def commit(self):
        """What a majority has is committed, once the last of it is of this term."""
        held = sorted([self.last, *self.matched.values()])
        upto = held[(len(held) - 1) // 2]
        if upto > self.committed and self.term_at(upto) == self.disk.term:
            self.committed = upto
            self.execute()

    def execute(self):
        while self.executed < min(self.committed, self.last):
            self.executed += 1
            entry = self.disk.entries[self.executed - 1]
            result = self.results[self.executed] = self.bank.execute(entry)
            asked = self.waiting.pop(self.executed, None)
            if asked is None or result is None:
                continue
            where = {"slot": self.executed, "ballot": [entry["term"], self.name]}
            if asked["body"]["type"] == "read":
                self.answer(asked, type="read_ok", value=result, leader=self.name, **where)
            else:
                self.answer(asked, type="transfer_ok", result=result, leader=self.name, **where)

    # ---- what others say ----

    def take(self, message):
        body = message["body"]
        if "term" in body:
            if body["term"] > self.disk.term:
                self.disk.promise(body["term"], None)
                self.step_down()
            elif body["term"] < self.disk.term and body["type"] in ("vote", "append"):
                self.say(message["src"], type="behind", term=self.disk.term)
                return
            elif body["term"] < self.disk.term:
                return
        getattr(self, f"on_{body['type']}", self.on_unknown)(message, body)

    def on_behind(self, message, body):
        pass  # the higher term says it all

    def on_vote(self, message, body):
        theirs, mine = (body["last_term"], body["last"]), (self.term_at(self.last), self.last)
        if self.disk.vote in (None, message["src"]) and theirs >= mine:
            self.disk.promise(self.disk.term, message["src"])
            self.rest()
            self.say(message["src"], type="voted", term=self.disk.term)

    def on_voted(self, message, body):
        self.votes.add(message["src"])
        self.count_votes()

    def on_append(self, message, body):
        self.role, self.leader = "backup", message["src"]
        self.rest()
        before, entries = body["before"], body["entries"]
        if before > self.last or self.term_at(before) != body["before_term"]:
            self.say(message["src"], type="appended", term=self.disk.term, upto=None,
                     last=min(self.last, before - 1))  # fmt: skip
            return
        for at, entry in enumerate(entries, before + 1):
            if at > self.last or self.term_at(at) != entry["term"]:
                self.disk.put(at, entries[at - before - 1 :])
                break
        upto = before + len(entries)
        self.say(message["src"], type="appended", term=self.disk.term, upto=upto)
        self.committed = max(self.committed, min(body["committed"], upto))
        self.execute()

    def on_appended(self, message, body):
        peer = message["src"]
        if self.role != "leader":
            return
        if body["upto"] is None:
            self.next[peer] = max(1, min(self.next[peer] - 1, body["last"] + 1))
            return
        self.matched[peer] = max(self.matched[peer], body["upto"])
        self.next[peer] = self.matched[peer] + 1
        self.commit()

    # ---- what clients and the harness ask ----

    def on_transfer(self, message, body):
        if self.role != "leader":
            hint = {"leader": self.leader} if self.leader else {}
            self.answer(message, type="error", code=11, text="does not lead", **hint)
            return
        self.waiting[self.last + 1] = message
        self.append({key: value for key, value in body.items() if key != "msg_id"})

    on_read = on_transfer

    def on_state(self, message, body):
        leads = {"ballot": [self.disk.term, self.leader]} if self.leader else {}
        self.answer(message, type="state_ok", balances=self.bank.balances, role=self.role,
                    executed=self.executed, committed=self.committed, **leads)  # fmt: skip

    def on_log(self, message, body):
        first = max(1, body["first_slot"])
        entries = [self.told(slot) for slot in range(first, min(self.last, first + 999) + 1)]
        more = {"next_slot": first + 1000} if self.last >= first + 1000 else {}
        self.answer(message, type="log_ok", entries=entries, **more)

    def told(self, slot):
        entry = self.disk.entries[slot - 1]
        status = "E" if slot <= self.executed else "C" if slot <= self.committed else "A"
        told = {"slot": slot, "status": status, **entry["request"]}
        result = self.results.get(slot)
        return told if result is None else {**told, "result": result}

    def on_views(self, message, body):
        self.answer(message, type="views_ok", views=self.views)

    def on_unknown(self, message, body):
        self.answer(message, type="error", code=10, text=f"knows no {body['type']}")


def main():
    replica, data = None, b""
    while True:
        wait = None if replica is None else max(0.0, replica.due - time.monotonic())
        if select.select([0], [], [], wait)[0]:
            read = os.read(0, 65536)
            if not read:
                return
            *whole, data = (data + read).split(b"\n")
            for message in map(json.loads, whole):
                body = message["body"]
                if body["type"] == "init":
                    replica = Replica(body["node_id"], body["node_ids"], body["accounts"])
                    replica.answer(message, type="init_ok")
                else:
                    replica.take(message)
        if replica is not None:
            replica.tick()
        sys.stdout.flush()


if __name__ == "__main__":
    main()
