"""A program that answers clients by dialling them, and its shim: both do next to nothing.

`tiny_dialler.py replica PORT [CLIENTS]` answers a transfer by a line to the port of clients, which
is in its source unless it is told; `tiny_dialler.py shim` listens there and asks.
"""

import json
import os
import socket
import sys

CLIENTS = "127.0.0.1:6000"


def dial(address):
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)))


def replica(port, clients):
    listening = socket.create_server(("127.0.0.1", port))
    while True:
        with listening.accept()[0] as asking:
            for line in asking.makefile():
                with dial(clients) as answering:
                    answering.sendall(line.encode())


def shim():
    host, port = os.environ["PAXBANK_CLIENTS"].rsplit(":", 1)
    listening = socket.create_server((host, int(port)))
    for asked in map(json.loads, sys.stdin):
        answer = {"id": asked["id"], "result": "success"}
        if asked["type"] == "hello":
            addresses = asked["addresses"]
            answer = {"id": asked["id"], "can": ["transfer"]}
            assert asked["clients"] == os.environ["PAXBANK_CLIENTS"]
        else:
            with dial(addresses[asked["dest"]]) as asking:
                asking.sendall(b"do it\n")
                with listening.accept()[0] as told:
                    assert told.makefile().readline() == "do it\n"
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1] == "shim":
        shim()
    else:
        replica(int(sys.argv[2]), (sys.argv[3:] or [CLIENTS])[0])
