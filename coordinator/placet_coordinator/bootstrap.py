"""The only wiring module: from settings to a coordinator that drives transactions."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog

from placet_contract.limits import REPLY_BYTES_MAX
from placet_coordinator.api.app import create_app
from placet_coordinator.api.entrance import Entrance, HotLane
from placet_coordinator.config import Settings
from placet_coordinator.dispatch.directory import Directory
from placet_coordinator.dispatch.endpoint import Endpoints
from placet_coordinator.dispatch.participants import RpcParticipants
from placet_coordinator.dispatch.policy import TargetPolicy
from placet_coordinator.engine.admission import CommandLimits
from placet_coordinator.engine.cancellation import cancel_until_ended
from placet_coordinator.engine.chance import SystemChance
from placet_coordinator.engine.commands import Commands
from placet_coordinator.engine.driver import Driver, DriverLimits
from placet_coordinator.engine.flusher import JournalLimits
from placet_coordinator.engine.ownership import Ownership
from placet_coordinator.engine.recovery import Recovery, RecoveryLimits
from placet_coordinator.engine.waiting import EndWatch
from placet_coordinator.observability.metrics import Metrics
from placet_coordinator.observability.watch import Watch
from placet_coordinator.ports.store import SchemaMissing, SchemaOutdated, Store, StoreError
from placet_coordinator.store.factory import store_for
from placet_migrations import redacted, upgrade
from placet_rpc import HttpClient, HttpLimits
from placet_rpc.frames import CODEC_HTTP
from placet_rpc.tcp import HttpCalls, TcpClient, TcpLimits, TcpServer, server_tls

_log = structlog.get_logger("placet.bootstrap")

LAST_WRITES_TIMEOUT = timedelta(seconds=10)
"""How long a stopping node waits for its last writes; what is not written by then is done again by its next life."""


@dataclass(frozen=True)
class Node:
    """A coordinator that runs in this process.

    Attributes:
        app: the ASGI application; its `lane` may be served without ASGI (`placet_coordinator.api.entrance.HotLane`).
        commands: the same commands without HTTP.
        store: the store that it writes to.
        driver: its open transactions.
        ownership: its identity, lease and clock.
    """

    app: Entrance
    commands: Commands
    store: Store
    driver: Driver
    ownership: Ownership
    ends: EndWatch

    def drain(self) -> None:
        """Say "not ready", take no new transactions, and answer whoever waits for an end with the status as it is."""
        self.app.health.draining = True
        self.commands.drain()
        self.ends.stop()
        self.driver.release_waiters()


@asynccontextmanager
async def running(settings: Settings, *, migrate: bool = False) -> AsyncIterator[Node]:
    """Run a coordinator for as long as the block lasts; it serves calls as soon as the block begins.

    An empty database gets its schema. On leaving, the last writes are made durable and the lease is released, so that
    other nodes take over without waiting.

    Args:
        settings: everything that may be configured.
        migrate: bring an older schema up to date instead of refusing it.

    Raises:
        StoreError: the database can't be reached, or its schema is not ours; the message names the remedy.
        ValueError: the database URL is not one of ours.
        DriverMissing: the database's driver is not installed.
    """
    async with AsyncExitStack() as stack:
        store = await _opened(settings.database_url.get_secret_value(), migrate=migrate)
        stack.push_async_callback(store.close)
        policy = TargetPolicy.parse(settings.allowed_targets)
        http_limits = HttpLimits(max_connections=settings.participant_concurrency, max_reply_bytes=REPLY_BYTES_MAX)
        http = await stack.enter_async_context(HttpClient(limits=http_limits, allow=policy.allows))
        tcp_limits = TcpLimits(max_message_bytes=REPLY_BYTES_MAX)
        tcp = await stack.enter_async_context(TcpClient(limits=tcp_limits, allow=policy.allows, app="placet"))
        node = await stack.enter_async_context(_driving(settings, store, policy, http, tcp))
        yield node


@asynccontextmanager
async def serving_tcp(node: Node, settings: Settings) -> AsyncIterator[Callable[[], Coroutine[Any, Any, None]]]:
    """Serve the node's calls over the RPC's TCP transport, too, if the settings allow it.

    Yields:
        What drains and closes it: for a server that drains HTTP at the same time. It is called on leaving, too.

    Raises:
        OSError: the port can't be listened on, or a certificate's file can't be read.
    """
    if not settings.serves_tcp:
        yield _nothing
        return
    tls = None
    if settings.tcp_certificate:
        tls = server_tls(certificate=Path(settings.tcp_certificate), key=Path(settings.tcp_key))
    calls = HttpCalls(node.app, routes=HotLane(node.app.lane).routes)
    server = TcpServer({CODEC_HTTP: calls}, tls=tls, app="placet", instance_id=settings.node_name)
    await server.start(settings.host, settings.tcp_port)
    node.app.health.tcp_url = settings.tcp_url(server.port)

    async def stop() -> None:
        node.app.health.tcp_url = None
        await server.aclose(linger=timedelta(), grace=settings.drain)

    try:
        yield stop
    finally:
        await stop()


async def _nothing() -> None:
    """Stop what was not started."""


@asynccontextmanager
async def _driving(
    settings: Settings, store: Store, policy: TargetPolicy, http: HttpClient, tcp: TcpClient
) -> AsyncIterator[Node]:
    metrics, chance = Metrics(store.writer_process_id), SystemChance()
    watch = Watch(metrics)
    ownership = Ownership(
        store=store,
        chance=chance,
        observer=watch,
        node_id=settings.node_name,
        base_url=settings.base_url,
        lease=settings.lease,
    )
    directory = Directory(store, ownership, watch)
    driver = Driver(
        store=store,
        participants=RpcParticipants(Endpoints(http, tcp, directory), ownership, settings.participant_concurrency),
        owner=ownership,
        clock=ownership,
        chance=chance,
        observer=watch,
        limits=DriverLimits(),
        journal_limits=JournalLimits(),
    )
    recovery = Recovery(
        driver=driver,
        store=store,
        ownership=ownership,
        observer=watch,
        limits=RecoveryLimits(retention=settings.retention, open_transactions_max=settings.open_transactions_max),
    )
    ownership.lost, ownership.gained = driver.drop_all, recovery.sweep
    ends = EndWatch(store, driver.journal)
    commands = Commands(
        driver=driver,
        store=store,
        owner=ownership,
        clock=ownership,
        chance=chance,
        ends=ends,
        limits=CommandLimits(
            open_transactions_max=settings.open_transactions_max,
            journal_begins_max=settings.journal_begins_max,
            journal_writes_max=settings.journal_queue_max,
            branches_max=settings.branches_max,
        ),
        check_targets=policy.check_branches,
    )
    app = create_app(
        commands=commands,
        store=store,
        owner=ownership,
        clock=ownership,
        policy=policy,
        metrics=metrics,
        retention=settings.retention,
        services_changed=directory.look_again,
        tokens=settings.tokens,
    )
    node = Node(app, commands, store, driver, ownership, ends)
    await ownership.start()
    await directory.refresh()
    async with _at_work(node, directory, recovery):
        yield node


@asynccontextmanager
async def _at_work(node: Node, directory: Directory, recovery: Recovery) -> AsyncIterator[None]:
    """Run the loops behind a node; a defect that ends one of them ends the block, for half a node drives nothing."""
    driver, ownership = node.driver, node.ownership
    async with asyncio.TaskGroup() as group:
        journal = group.create_task(driver.journal.run())
        loops = [group.create_task(each.run()) for each in (ownership, directory, recovery)]
        try:
            await recovery.sweep()
            yield
        finally:
            node.drain()
            await cancel_until_ended(loops)
            driver.journal.stop()
            await asyncio.wait([journal], timeout=LAST_WRITES_TIMEOUT.total_seconds())
            driver.stop()
            driver.drop_all()
            journal.cancel()
            with suppress(StoreError):  # the lease ends by itself
                await ownership.release()


async def _opened(url: str, *, migrate: bool) -> Store:
    store = store_for(url, is_serving=True)
    try:
        await store.open()
        return store
    except SchemaMissing:
        await store.close()
        _log.info("the database is empty: making the schema", database=redacted(url))
    except SchemaOutdated as outdated:
        await store.close()
        if not migrate:
            raise
        _log.info("bringing the schema up to date", database=redacted(url), found=str(outdated))
    # Alembic is synchronous. Several nodes may do this at once: the upgrade takes a lock of its own.
    await asyncio.to_thread(upgrade, url)
    store = store_for(url, is_serving=True)
    await store.open()
    return store
