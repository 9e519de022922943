"""A shim that is a bank of its own, and all that a shim can do wrong. It asks no replica.

`python -S -E tiny_shim.py [BEHAVIOUR]`.
"""

import json
import os
import sys
import time

BEHAVIOUR = sys.argv[1] if len(sys.argv) > 1 else "good"


class Shim:
    can = (
        "transfer",
        "read",
        "state",
        "leader",
    )

    def __init__(self):
        self.balances, self.answers, self.executed, self.names = {}, {}, 0, []

    def say(self, **answer):
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()

    def take(self, asked):
        number, kind = asked["id"], asked["type"]
        if kind == "hello":
            self.names = asked["nodes"]
            self.balances = dict(asked["accounts"])
            self.hello(number)
        elif kind == "transfer":
            self.transfer(number, asked)
        elif kind == "read":
            self.say(id=number, value=self.balances[asked["account"]])
        elif kind == "state":
            self.say(id=number, balances=self.balances, executed=self.executed)
        elif kind == "leader":
            self.say(id=number, leader=self.names[1])
        elif kind == "restarted":
            sys.stderr.write(f"restarted {asked['node']}\n")

    def hello(self, number):
        sys.stderr.write(f"peers {os.environ['PAXBANK_PEERS']}\n")
        self.say(id=number, can=list(self.can))

    def transfer(self, number, asked):
        key = asked["client"], asked["timestamp"]
        if key not in self.answers:
            moves = self.balances[asked["from"]] >= asked["amount"]
            if moves:
                self.balances[asked["from"]] -= asked["amount"]
                self.balances[asked["to"]] += asked["amount"]
            self.executed += 1
            self.answers[key] = "success" if moves else "failed"
        self.say(id=number, result=self.answers[key], slot=self.executed)

    def run(self):
        for line in sys.stdin:
            self.take(json.loads(line))


class EndsAtOnce(Shim):
    def run(self):
        sys.stderr.write("no route to anybody\n")
        sys.exit(3)


class EndsLater(Shim):
    def transfer(self, number, asked):
        sys.stderr.write("boom\n")
        os._exit(4)


class Talks(Shim):
    def hello(self, number):
        sys.stdout.write("ready to go\n")
        sys.stdout.flush()


class TalksLater(Shim):
    def transfer(self, number, asked):
        sys.stdout.write("[1, 2]\n")
        sys.stdout.flush()


class Closes(Shim):
    def hello(self, number):
        os.close(1)
        time.sleep(60)


class CannotTransfer(Shim):
    can = ("read",)


class Mistypes(Shim):
    can = (
        "transfer",
        "raed",
    )


class NoCan(Shim):
    def hello(self, number):
        self.say(id=number)


class NoReads(Shim):
    can = ("transfer",)


class AnswersNobody(Shim):
    def transfer(self, number, asked):
        self.say(id=777, result="success")
        super().transfer(number, asked)


class AnswersAsTrue(Shim):
    """Python takes true for 1; and whatever else an answer has, its `id` says what it answers."""

    def hello(self, number):
        self.say(id=number == 1, can=["nothing"])
        super().hello(number)

    def transfer(self, number, asked):
        self.names_of_others = {"in_reply_to": 1, "msg_id": 1, "type": "error", "code": 12}
        super().transfer(number, asked)

    def say(self, **answer):
        super().say(**{**answer, **getattr(self, "names_of_others", {})})


class Refuses(Shim):
    """The first replica asked never does anything, the second leaves it open, the third acts."""

    def transfer(self, number, asked):
        sys.stderr.write(f"asked {asked['dest']}\n")
        if asked["dest"] == "n1":
            self.say(id=number, error="does not lead", definite=True, leader="n3")
        elif asked["dest"] == "n3":
            super().transfer(number, asked)


KINDS = {
    "ends": EndsAtOnce,
    "ends-later": EndsLater,
    "talks": Talks,
    "talks-later": TalksLater,
    "closes": Closes,
    "cannot-transfer": CannotTransfer,
    "mistypes": Mistypes,
    "no-can": NoCan,
    "no-reads": NoReads,
    "answers-nobody": AnswersNobody,
    "answers-as-true": AnswersAsTrue,
    "refuses": Refuses,
}

if __name__ == "__main__":
    KINDS.get(BEHAVIOUR, Shim)().run()
