"""Clients that ask and are gone before they are answered: what they asked for happens all the same, whole."""

import json
import socket
from typing import Any

from acceptance.processes import Server, until

CLIENTS = 25


def ask_and_leave(server: Server, path: str, body: Any) -> None:
    """Send a whole request, and cut the connection at once."""
    payload = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(payload)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(head.encode() + payload)


def test_decision_of_a_client_that_left_is_carried_out(servers, participant, sqlite_url):
    """A commit whose client has gone is written and confirmed; a begin leaves a transaction with all its branches."""
    server = servers(sqlite_url).run()
    branches = [{"branch_id": name, "target": f"{participant.url}/{name}"} for name in ("debit", "credit")]
    gids = [f"t-{number}" for number in range(CLIENTS)]
    for gid in gids:
        body = {"pattern": "tcc", "gid": gid, "branches": branches}
        ask_and_leave(server, "/v1/transactions", body)
    for gid in gids:
        until(f"{gid} is there", lambda gid=gid: _is_there(server, gid))
        ask_and_leave(server, f"/v1/transactions/{gid}/commit", {})
    for gid in gids:
        view = server.settled(gid, "committed")
        assert [branch["status"] for branch in view["branches"]] == ["confirmed", "confirmed"]
    assert len(participant.calls) == 2 * CLIENTS


def _is_there(server: Server, gid: str) -> bool:
    try:
        server.transaction(gid)
    except AssertionError:
        return False
    return True
