"""Network namespaces, one a replica: a small program that makes them and leads into them.

Run as `python -I -S gate.py`, standard library alone, in one of two ways:

`gate.py keep [[PORT, …], …]` makes as many namespaces as there are lists, listens on these ports in
each, and hands all of it to the harness on the socket that is its standard input; then, for each
byte that it reads, it hands out a few fresh sockets of the namespace with that number.
`gate.py enter N WORD…` joins the N namespaces at descriptor 3 and above and becomes that command.

No privilege is needed where the kernel lets a user have user namespaces. root needs none of those,
and is root inside as well, so that programs that change their user find everything as it was.
"""

import array
import ctypes
import errno
import fcntl
import json
import os
import socket
import struct
import sys

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
A_FEW = 8  # sockets at a time
BACKLOG = 128
FIRST_FD = 3


def main() -> None:
    if sys.argv[1] == "enter":
        enter(int(sys.argv[2]), sys.argv[3:])
    keep(socket.socket(fileno=0), json.loads(sys.argv[2]))


def keep(harness: socket.socket, ports: list[list[int]]) -> None:
    """Until the harness is gone."""
    namespaces = []
    try:
        users = _own_users()
        for listed in ports:
            _check(_libc().unshare(CLONE_NEWNET), "unshare")
            _bring_up()
            listening = [_listening(port) for port in listed]
            namespaces.append(os.open("/proc/self/ns/net", os.O_RDONLY))
            entry = [namespaces[-1], *([] if users is None else [users])]
            _hand(harness, b"+", [*entry, *(sock.fileno() for sock in listening)])
            for sock in listening:
                sock.close()
    except OSError as error:
        harness.sendall(
            f"-{error.filename or error.strerror or error}: {error.strerror}\n".encode()
        )
        return
    while asked := harness.recv(1):
        _check(_libc().setns(namespaces[asked[0]], CLONE_NEWNET), "setns")
        fresh = [_socket() for _ in range(A_FEW)]
        _hand(harness, b"+", [sock.fileno() for sock in fresh])
        for sock in fresh:
            sock.close()


def enter(many: int, words: list[str]) -> None:
    """Become this command inside: in a network, and as its users where there are two namespaces.

    Open descriptors prove nothing: newer versions of libffi keep one of their own.
    """
    network, *own_users = range(FIRST_FD, FIRST_FD + many)
    try:
        for users in own_users:
            _check(_libc().setns(users, CLONE_NEWUSER), "setns")
            os.close(users)
        _check(_libc().setns(network, CLONE_NEWNET), "setns")
        os.close(network)
    except OSError as error:
        _leave(f"its namespace cannot be joined ({error.filename}: {error.strerror})")
    try:
        os.execvp(words[0], words)
    except OSError as error:
        is_there = error.errno in (errno.EACCES, errno.ENOEXEC)
        _leave(f"{words[0]} {'is no executable' if is_there else 'is not there'}")


def _leave(told: str) -> None:
    """End the process, as a shell does for a command that is not there."""
    os.write(2, f"{told}\n".encode())
    os._exit(127)


def _own_users() -> "int | None":
    """A user namespace in which nothing but the network is new; None where none is needed."""
    user, group = os.geteuid(), os.getegid()
    if user == 0 and _libc().unshare(CLONE_NEWNET) == 0:
        return None
    _check(_libc().unshare(CLONE_NEWUSER), "unshare")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as stream:
            stream.write(text)
    return os.open("/proc/self/ns/user", os.O_RDONLY)


def _bring_up() -> None:
    """A new namespace has a loopback interface that is down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        asked = struct.pack("16sH22x", b"lo", 0)
        (flags,) = struct.unpack_from("16xH", fcntl.ioctl(sock, SIOCGIFFLAGS, asked))
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | IFF_UP))


def _socket() -> socket.socket:
    """For both kinds of addresses, where the kernel has both: `localhost` may be either."""
    try:
        sock = socket.socket(socket.AF_INET6)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        return sock
    except OSError:
        return socket.socket(socket.AF_INET)


def _listening(port: int) -> socket.socket:
    sock = _socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("", port))
    sock.listen(BACKLOG)
    return sock


def _hand(harness: socket.socket, word: bytes, descriptors: list[int]) -> None:
    rights = socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors)
    harness.sendmsg([word], [rights])


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(returned: int, what: str) -> None:
    if returned != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


if __name__ == "__main__":
    main()
