"""A process that uses the sync client as prefork servers and scripts do: `sync_child.py fork|interrupt URL`."""

import os
import sys
import traceback
from typing import NoReturn

import pytest

from placet.sync import SyncClient, SyncTcc


def order(placet: SyncClient, name: str) -> None:
    with placet.tcc(name) as tx:
        tx.call("shop/hold")


def fork(placet: SyncClient) -> None:
    """Uses one client before the fork, in the child, and in the parent afterwards."""
    order(placet, "before")
    with placet.tcc("parents") as tx:
        tx.call("shop/hold")
        child = os.fork()
        if child == 0:
            in_child(placet, tx)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        tx.call("shop/hold")


def in_child(placet: SyncClient, parents: SyncTcc) -> NoReturn:
    try:
        order(placet, "child")
        with pytest.raises(RuntimeError, match="process that was forked"):
            parents.call("shop/hold")
        placet.close()
    except BaseException:  # noqa: BLE001 - the parent learns of it by the exit code
        traceback.print_exc()
        os._exit(1)
    os._exit(0)  # leaving by the stack would leave the parent's block, too


def interrupt(placet: SyncClient) -> None:
    """Waits in a call until SIGINT comes."""
    order(placet, "interrupted")


if __name__ == "__main__":
    with SyncClient(sys.argv[2]) as client:
        {"fork": fork, "interrupt": interrupt}[sys.argv[1]](client)
