"""Calls with the same ordering key reach the same instance and run there one at a time, in the order of their caller.

    client = Client(registry=url, seams=Seams(ordering=(OrderedCalls(),)))

    transports = Transports(app="stock")
    directory = open_directory(url, probe=transports.probe)
    ownership = Ownership(directory, instance_id, Peers(transports.connect), services=["stock/1"])
    server = Server(registry=url, instance_id=instance_id, filters=[OrderedServing(ownership)])

**The promise.** Calls of one client with one key run in the order in which they were made; calls of all clients with
one key run one at a time. A call that failed is never run later than one that was made after it.

**Who owns a key.** Of the instances that the registry lists, the one with the highest hash of its id and the key
(rendezvous). So a change of instances moves only the keys of those that come or go.

**When the owner changes**, by a new instance, one that leaves or one that dies, the new owner runs nothing of the key
before the old one has let go of it: it asks, and the old one finishes the call that it runs, refuses what waits and
everything that comes later, and answers. If it can't be asked, the new owner waits until the old one's lease must be
over, or until it hears that the old one has left in peace. Meanwhile callers wait, as long as their calls have time;
what they are told is NOT_EXECUTED.

**What it costs.** An owner that has died is waited for: its keys stand still until the registry has dropped it and its
lease is over. Order is kept rather than service; what needs no order has no key.

**What it can't see.** An instance that is cut off from the registry and from the new owner, but not from a client with
an old view, still runs that client's calls after its lease, unless it is told to stop then (`Ownership(strict=True)`),
which in turn stops all keyed calls when the registry is down.
"""

from placet_rpc.ordering.calling import OrderedCalls
from placet_rpc.ordering.ownership import Ownership
from placet_rpc.ordering.serving import OrderedServing

__all__ = ["OrderedCalls", "OrderedServing", "Ownership"]
