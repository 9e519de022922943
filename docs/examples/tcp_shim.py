"""The client of tcp_bank.py with another face: questions on standard input, answers on standard
output, one JSON object a line. It repeats nothing and decides nothing.
"""

import contextlib
import json
import socket
import sys
import threading

CAN = ["transfer", "read", "state", "log", "views"]
writing = threading.Lock()


def say(**answer):
    with writing:
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


class Peer:
    """One replica: a connection that is opened when it is needed."""

    def __init__(self, address):
        host, _, port = address.rpartition(":")
        self.address, self.socket, self.asked = (host, int(port)), None, set()

    def ask(self, number, question):
        try:
            if self.socket is None:
                self.socket = socket.create_connection(self.address, timeout=1)
                self.socket.settimeout(None)
                threading.Thread(target=self.hear, args=(self.socket,), daemon=True).start()
        except OSError as error:
            say(id=number, error=str(error), definite=True)  # nobody has got it
            return
        self.asked.add(number)
        body = {**question, "msg_id": number}
        line = json.dumps({"src": "shim", "dest": question["dest"], "body": body}) + "\n"
        with contextlib.suppress(OSError):  # `hear` says so
            self.socket.sendall(line.encode())

    def hear(self, sock):
        try:
            for line in sock.makefile():
                self.tell(json.loads(line)["body"])
        except OSError:
            pass
        self.socket, lost, self.asked = None, self.asked, set()
        sock.close()
        for number in lost:
            say(id=number, error="the connection is lost")  # done or not: nobody knows

    def tell(self, body):
        number = body.pop("in_reply_to")
        self.asked.discard(number)
        if body.pop("type") == "error":
            leader = {"leader": body["leader"]} if "leader" in body else {}
            say(id=number, error=body["text"], definite=body["code"] == 11, **leader)
        else:
            say(id=number, **body)


peers = {}
for asked in map(json.loads, sys.stdin):
    number, kind = asked.pop("id"), asked["type"]
    if kind == "hello":
        peers = {name: Peer(address) for name, address in asked["addresses"].items()}
        say(id=number, can=CAN)
    elif kind in CAN:
        peers[asked["dest"]].ask(number, asked)
