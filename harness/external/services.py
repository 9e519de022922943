"""What nodes written for Maelstrom's protocol may ask beside each other: `lin-kv` is served.

The others are named, so that who asks them is told that they are not here (error 1).
"""

from typing import Any

from harness.external.speaking.dialect import (
    KEY_DOES_NOT_EXIST,
    MALFORMED,
    NOT_SUPPORTED,
    PRECONDITION_FAILED,
)

LIN_KV = "lin-kv"
ABSENT = ("seq-kv", "lww-kv", "lin-tso")
NODE_NOT_FOUND = 1


class LinKvService:
    """A linearizable store: one request after the other, each done at once."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}  # by the key as JSON would compare it

    def __call__(self, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to one request."""
        answer = self._answer(body)
        return {**answer, "in_reply_to": body.get("msg_id")}

    def _answer(self, body: dict[str, Any]) -> dict[str, Any]:
        kind = body.get("type")
        if kind not in ("read", "write", "cas"):
            return _error(NOT_SUPPORTED, f"{LIN_KV} knows read, write and cas")
        if "key" not in body:
            return _error(MALFORMED, "a key is missing")
        key = repr(body["key"])
        if kind == "write":
            self._values[key] = body.get("value")
            return {"type": "write_ok"}
        if key not in self._values:
            if kind == "cas" and body.get("create_if_not_exists") is True:
                self._values[key] = body.get("to")
                return {"type": "cas_ok"}
            return _error(KEY_DOES_NOT_EXIST, "key does not exist")
        held = self._values[key]
        if kind == "read":
            return {"type": "read_ok", "value": held}
        if held != body.get("from"):
            return _error(PRECONDITION_FAILED, f"expected {body.get('from')!r}, had {held!r}")
        self._values[key] = body.get("to")
        return {"type": "cas_ok"}


def absent(body: dict[str, Any]) -> dict[str, Any]:
    """The answer of a service that is not here."""
    told = f"this service is not here, expected {LIN_KV}"
    return {**_error(NODE_NOT_FOUND, told), "in_reply_to": body.get("msg_id")}


def _error(code: int, text: str) -> dict[str, Any]:
    return {"type": "error", "code": code, "text": text}
