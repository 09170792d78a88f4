"""The sync twins: the same objects, driven by one background event loop in a thread of its own."""

import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar, overload

from placet.client import TCC_TIMEOUT, Client
from placet.driven import DrivenTcc
from placet.duration import Duration
from placet.loop_thread import LoopThread
from placet.nesting import Propagation
from placet.planned import Target
from placet.run import Run, TransactionResult
from placet.saga import SUBMIT_TIMEOUT, Retry, Saga
from placet.settings import Settings
from placet.tcc import Tcc, TccBlock
from placet_contract.transactions import TransactionView

T = TypeVar("T")


class SyncTcc:
    """A TCC transaction inside its block; see `Tcc`."""

    def __init__(self, transaction: Tcc, thread: LoopThread) -> None:
        self._transaction = transaction
        self._thread = thread

    @property
    def gid(self) -> str:
        """The global transaction."""
        return self._transaction.gid

    @property
    def node(self) -> str | None:
        """The coordinator's node that began it."""
        return self._transaction.node

    @property
    def joined(self) -> bool:
        """True if this block takes part in the transaction of the branch it runs in."""
        return self._transaction.joined

    @overload
    def call(
        self,
        target: str,
        payload: Any = None,
        *,
        returns: type[T],
        branch_id: str | None = None,
        timeout: Duration | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> T: ...
    @overload
    def call(
        self,
        target: str,
        payload: Any = None,
        *,
        returns: None = None,
        branch_id: str | None = None,
        timeout: Duration | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any: ...
    def call(self, target: str, payload: Any = None, **options: Any) -> Any:
        """As `Tcc.call`, with the same arguments and errors."""
        return self._thread.run(self._transaction.call(target, payload, **options))


class SyncTccBlock:
    """`with placet.sync.tcc(...) as tx`; see `TccBlock`."""

    def __init__(self, block: TccBlock, thread: LoopThread) -> None:
        self._block = block
        self._thread = thread

    def __enter__(self) -> SyncTcc:
        return SyncTcc(self._thread.run(self._block.__aenter__()), self._thread)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._thread.run(self._block.__aexit__(kind, error, traceback))


class SyncRun:
    """A submitted transaction; see `Run`."""

    def __init__(self, run: Run, thread: LoopThread) -> None:
        self._run = run
        self._thread = thread
        self.gid = run.gid
        self.node = run.node

    def __str__(self) -> str:
        return self.gid

    def result(self, timeout: Duration = 30.0) -> TransactionResult:
        """As `Run.result`."""
        return self._thread.run(self._run.result(timeout))


class SyncSaga:
    """A saga being planned; see `Saga`."""

    def __init__(self, saga: Saga, thread: LoopThread) -> None:
        self._saga = saga
        self._thread = thread

    @property
    def gid(self) -> str:
        """The gid."""
        return self._saga.gid

    def step(
        self,
        target: Target,
        payload: Any = None,
        *,
        after: Sequence[str] | None = None,
        branch_id: str | None = None,
        retry: Retry | None = None,
        timeout: Duration | None = None,
        pivot: bool | None = None,
        compensate: bool | None = None,
        headers: Mapping[str, str] | None = None,
        envelope: bool | None = None,
    ) -> str:
        """As `Saga.step`."""
        return self._saga.step(
            target,
            payload,
            after=after,
            branch_id=branch_id,
            retry=retry,
            timeout=timeout,
            pivot=pivot,
            compensate=compensate,
            headers=headers,
            envelope=envelope,
        )

    def submit(self, *, timeout: Duration = SUBMIT_TIMEOUT) -> SyncRun:
        """As `Saga.submit`."""
        return SyncRun(self._thread.run(self._saga.submit(timeout=timeout)), self._thread)


class SyncDrivenTcc:
    """A driven TCC being planned; see `DrivenTcc`."""

    def __init__(self, driven: DrivenTcc, thread: LoopThread) -> None:
        self._driven = driven
        self._thread = thread

    @property
    def gid(self) -> str:
        """The gid."""
        return self._driven.gid

    def branch(
        self,
        target: Target,
        payload: Any = None,
        *,
        branch_id: str | None = None,
        timeout: Duration | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Self:
        """As `DrivenTcc.branch`."""
        self._driven.branch(target, payload, branch_id=branch_id, timeout=timeout, headers=headers)
        return self

    def submit(self) -> SyncRun:
        """As `DrivenTcc.submit`."""
        return SyncRun(self._thread.run(self._driven.submit()), self._thread)

    def run(self) -> TransactionResult:
        """As `DrivenTcc.run`."""
        return self._thread.run(self._driven.run())


class _Driver(NamedTuple):
    client: Client
    thread: LoopThread


class SyncClient:
    """The client for threads without an event loop; safe to share between threads.

    Arguments as for `Client`. Close it at the end: `with SyncClient() as placet`, or `close()`. A forked child, of a
    server that loads the application first, starts connections and a thread of its own at its first call.
    """

    def __init__(self, url: str | None = None, *, token: str | None = None, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self._url, self._token = url, token
        # A child keeps its ancestors' entries, unused: collected, they would meddle with what the parent still uses.
        self._by_process: dict[int, _Driver] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """As `Client.aclose`; then the background thread ends."""
        driver = self._by_process.get(os.getpid())
        if driver is not None:
            driver.thread.close(driver.client.aclose())
            self._by_process.pop(os.getpid(), None)

    def tcc(
        self,
        name: str,
        *,
        timeout: Duration = TCC_TIMEOUT,
        gid: str | None = None,
        key: str | None = None,
        propagation: Propagation = "join",
    ) -> SyncTccBlock:
        """As `Client.tcc`, for `with`."""
        client, thread = self._driver()
        return SyncTccBlock(client.tcc(name, timeout=timeout, gid=gid, key=key, propagation=propagation), thread)

    def tcc_driven(
        self, name: str, *, timeout: Duration = TCC_TIMEOUT, gid: str | None = None, key: str | None = None
    ) -> SyncDrivenTcc:
        """As `Client.tcc_driven`."""
        client, thread = self._driver()
        return SyncDrivenTcc(client.tcc_driven(name, timeout=timeout, gid=gid, key=key), thread)

    def saga(self, name: str, *, gid: str, key: str | None = None, timeout: Duration | None = None) -> SyncSaga:
        """As `Client.saga`."""
        client, thread = self._driver()
        return SyncSaga(client.saga(name, gid=gid, key=key, timeout=timeout), thread)

    def transaction(self, gid: str) -> TransactionView:
        """As `Client.transaction`."""
        client, thread = self._driver()
        return thread.run(client.transaction(gid))

    def wait(self, gid: str, timeout: Duration = 30.0) -> TransactionView:
        """As `Client.wait`."""
        client, thread = self._driver()
        return thread.run(client.wait(gid, timeout))

    def _driver(self) -> _Driver:
        process = os.getpid()
        driver = self._by_process.get(process)
        if driver is None:
            # Of threads that come here together one wins; what the others made has neither thread nor connection.
            made = _Driver(Client(self._url, token=self._token, settings=self._settings), LoopThread())
            driver = self._by_process.setdefault(process, made)
        return driver
