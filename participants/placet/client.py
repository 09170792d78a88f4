"""The initiator's client: transactions are started, looked at and waited for through it."""

# ruff: noqa: ASYNC109 - timeouts here are parts of a plan, or bound repeats

import asyncio
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from placet.background import Background
from placet.branches import Branches
from placet.coordinator import Coordinator
from placet.directory import Directory
from placet.driven import DrivenTcc
from placet.duration import Duration, duration_ms
from placet.joined import JoinedTransaction
from placet.nesting import Place, Propagation, place
from placet.own import OwnTransaction
from placet.participant_call import ParticipantCaller
from placet.planned import optional_ms
from placet.run import wait_until_finished
from placet.saga import Saga
from placet.settings import Settings
from placet.tcc import TccBlock
from placet_contract.ids import GID_PATTERN, matches_gid
from placet_contract.transactions import BeginRequest, TransactionView
from placet_contract.vocabulary import Pattern

if TYPE_CHECKING:
    from placet.sync import SyncClient

TCC_TIMEOUT = timedelta(seconds=30)


class Client:
    """Starts transactions at one coordinator.

    It opens connections at its first call, in the event loop that runs then, and belongs to that loop until closed.
    Make one per process and close it at the end: `async with Client() as placet`, or `aclose()`.

    Args:
        url: the coordinator's base URL; `PLACET_URL` if left out.
        token: its bearer token; `PLACET_TOKEN` if left out.
        settings: in place of the environment.

    Attributes:
        coordinator: the coordinator's single calls, for inspection.
    """

    def __init__(self, url: str | None = None, *, token: str | None = None, settings: Settings | None = None) -> None:
        self._settings = settings = settings or Settings()
        if token is None and settings.token is not None:
            token = settings.token.get_secret_value()
        self._url = url or settings.url
        self._token = token
        self.coordinator = Coordinator(self._url, token=token, use_tcp=settings.transport == "auto")
        self._background = Background()
        self._directory = Directory(self.coordinator, use_tcp=settings.transport == "auto")
        self._caller = ParticipantCaller(self._directory)
        self._twin: SyncClient | None = None
        self._twin_lock = threading.Lock()

    @property
    def sync(self) -> "SyncClient":
        """The twin for threads without an event loop, with connections of its own; closed with this client."""
        from placet.sync import SyncClient  # noqa: PLC0415 - the twin imports this module

        with self._twin_lock:  # two threads that ask first get one twin
            if self._twin is None:
                self._twin = SyncClient(self._url, token=self._token, settings=self._settings)
            return self._twin

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Waits a few seconds for decisions on their way, then closes all connections."""
        await self._background.aclose()
        await self._directory.aclose()
        await self._caller.aclose()
        await self.coordinator.aclose()
        with self._twin_lock:
            twin, self._twin = self._twin, None
        if twin is not None:
            await asyncio.to_thread(twin.close)

    def tcc(
        self,
        name: str,
        *,
        timeout: Duration = TCC_TIMEOUT,
        gid: str | None = None,
        key: str | None = None,
        propagation: Propagation = "join",
    ) -> TccBlock:
        """Returns a block whose transaction commits when it is left cleanly, and aborts on an exception.

        Nothing is sent before the first `tx.call`; a block without a call sends nothing at all. Inside a TCC try the
        block joins the transaction of that branch; inside any other operation of a branch it has an outcome of its
        own, and a gid by which a repeat of that operation begins the same transaction.

        Args:
            name: what the transaction is for; shown and searched by operators.
            timeout: counted from the first call; then the coordinator aborts.
            gid: idempotency key; minted if left out.
            key: a business key to search by, such as an order number; not unique.
            propagation: inside a branch: `join` as above, `new` always begins anew with no tie but the stored parent,
                `forbid` refuses.

        Raises:
            NestingForbidden: `forbid`, inside a branch.
            ValueError: a bad gid or timeout, or a gid given for a transaction that joins.
        """
        milliseconds = duration_ms(timeout, "timeout")
        where = place(propagation, _checked(gid), may_join=True)
        if where.joins and where.branch is not None:
            joined = JoinedTransaction(self.coordinator, where.branch)
            return TccBlock(joined, Branches(joined, self._caller, where.branch_ids()))
        request = _tcc_request(where, name, key, milliseconds)
        own = OwnTransaction(self.coordinator, self._background, request, milliseconds / 1_000, where.traceparent)
        return TccBlock(own, Branches(own, self._caller, where.branch_ids()))

    def tcc_driven(
        self, name: str, *, timeout: Duration = TCC_TIMEOUT, gid: str | None = None, key: str | None = None
    ) -> DrivenTcc:
        """Returns a TCC to be planned, whose tries the coordinator calls, too: one request in all.

        Inside a branch it has an outcome of its own, as a saga has. Arguments as in `tcc`.
        """
        milliseconds = duration_ms(timeout, "timeout")
        where = place("join", _checked(gid), may_join=False)
        request = _tcc_request(where, name, key, milliseconds, drive=True)
        return DrivenTcc(self.coordinator, request, milliseconds / 1_000)

    def saga(self, name: str, *, gid: str, key: str | None = None, timeout: Duration | None = None) -> Saga:
        """Returns a saga to be planned.

        Args:
            name: what the saga is for.
            gid: idempotency key: the same gid is the same saga, however often it is submitted.
            key: a business key to search by.
            timeout: then it aborts, unless its pivot was sent; never if left out.
        """
        request = BeginRequest(
            pattern=Pattern.SAGA,
            gid=_checked(gid),
            name=name,
            key=key,
            parent=place("join", gid, may_join=False).parent,
            timeout_ms=optional_ms(timeout, "timeout"),
        )
        return Saga(self.coordinator, request)

    async def transaction(self, gid: str) -> TransactionView:
        """Returns a transaction with its branches, attempts and timeline; raises as `Coordinator.get`."""
        return await self.coordinator.get(gid)

    async def wait(self, gid: str, timeout: Duration = 30.0) -> TransactionView:
        """Waits until a transaction is finished, committed or aborted, and returns it. Repeatable.

        Raises:
            OutcomeUnknown: it is not finished in time, or the coordinator does not answer.
            TransactionNotFound: the coordinator knows no such gid.
        """
        return await wait_until_finished(self.coordinator, gid, duration_ms(timeout, "timeout") / 1_000)


def _checked(gid: str | None) -> str | None:
    if gid is not None and not matches_gid(gid):
        raise ValueError(f"gid {gid!r} must match {GID_PATTERN}")
    return gid


def _tcc_request(
    where: Place, name: str, key: str | None, timeout_ms: int, *, drive: bool | None = None
) -> BeginRequest:
    return BeginRequest(
        pattern=Pattern.TCC,
        gid=where.gid,
        name=name,
        key=key,
        parent=where.parent,
        timeout_ms=timeout_ms,
        drive=drive,
    )
