"""A process that takes a lock and says what becomes of it, to be stopped or killed by a test.

python -m conformance.locks.holder KIND URL SPACE TTL_MS
"""

import asyncio
import sys
from datetime import timedelta

from conformance.locks.kinds import KINDS
from placet_rpc.locks.lock import Locks
from placet_rpc.locks.store import LockLost


def say(what):
    """One line for the test."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


async def hold(name, url, space, ttl_ms):
    """Takes the lock `m`, holds it until it is lost, then tries to go on."""
    kind = KINDS[name][0](url)
    kind.space = space
    store = await kind.open()
    lease = await Locks(store, who="process").acquire("m", timedelta(milliseconds=int(ttl_ms)))
    lease.on_lost(lambda: say("told"))
    say(lease.token)
    await lease.wait_over()
    try:
        await lease.renew()
        say("renewed")
    except LockLost:
        say("lost")
    # What a program does that ignores the news: the store itself must refuse it.
    say(await store.extend("m", lease.holder, lease.token, int(ttl_ms)))
    await lease.release()
    await kind.close(store)


if __name__ == "__main__":
    asyncio.run(hold(*sys.argv[1:]))
