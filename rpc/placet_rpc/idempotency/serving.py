"""The server's filter: before a request with a key is run, the store is asked whether it was."""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar
from uuid import uuid4

import msgspec

from placet_rpc import outcome
from placet_rpc.clock import SYSTEM_CLOCK, Clock
from placet_rpc.codecs import find_codecs
from placet_rpc.codecs.builtin import to_builtins
from placet_rpc.errors import CallRepeated, KeyReused, OutcomeLost
from placet_rpc.idempotency.store import (
    CALLER_LENGTH_MAX,
    FINGERPRINT_BYTES,
    KEY_LENGTH_MAX,
    Found,
    Request,
    RequestStore,
    RequestsUnavailable,
    State,
    StoredAnswer,
)
from placet_rpc.served_call import Answer, Proceed, ServedCall

_Result = TypeVar("_Result")

_log = logging.getLogger("placet_rpc.idempotency")

KNOWN = timedelta(days=1)
RUNNING = timedelta(seconds=30)
RETRY_AFTER = timedelta(milliseconds=200)
MAX_ANSWER_BYTES = 65_536
PURGE_LIMIT = 500
SAVE_ATTEMPTS = 6
SAVE_FIRST_SECONDS = 0.2

_EXECUTED = frozenset({outcome.OK, outcome.RAISED, outcome.FAULT})


class Idempotency:
    """Runs each keyed request once, and gives its answer to all its repeats; a `ServerFilter`.

    A keyed request is run to its end even if its caller leaves: the repeat will want the answer. What the method raised
    is an answer too, a fault included: it ran, and would not run differently by being asked again.

    Args:
        store: where requests are kept.
        known: how long a key is known; callers must not repeat a request later than that.
        running: how long after its last sign of life a process counts as dead, and what it ran as lost.
        retry_after: told to repeats that come while the first is being run.
        max_answer_bytes: longer answers are not kept; a repeat is told that it ran.
        clock: where time comes from.
    """

    def __init__(
        self,
        store: RequestStore,
        *,
        known: timedelta = KNOWN,
        running: timedelta = RUNNING,
        retry_after: timedelta = RETRY_AFTER,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if known <= running:
            raise ValueError("a key must be known for longer than a process takes to count as dead")
        self._store = store
        self._known_ms, self._running_ms, self._retry_after_ms = (
            value // timedelta(milliseconds=1) for value in (known, running, retry_after)
        )
        self._keep_seconds = running.total_seconds() / 3
        self._max_answer_bytes = max_answer_bytes
        self._clock = clock
        self._runner = uuid4().hex
        self._tasks: set[asyncio.Task[Any]] = set()
        self._keeper: asyncio.Task[None] | None = None

    async def answer(self, call: ServedCall, proceed: Proceed) -> Answer:
        """Answers a call; one without a key passes."""
        context = call.context
        if not context.idempotency_key:
            return await proceed(call)
        rule = _broken_rule(context.caller, context.idempotency_key)
        if rule:
            return call.refused(outcome.UNFIT, "idempotency_key", rule)
        try:
            fingerprint = _fingerprint(call)
        except ValueError:
            return await proceed(call)  # the arguments don't fit: nothing will run, and the refusal says why
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep(), name="requests of an idempotency store")
        request = Request(context.caller, context.idempotency_key, fingerprint, self._runner)
        return await asyncio.shield(self._hold(self._answer(request, call, proceed)))

    async def aclose(self) -> None:
        """Stops what is still being run; its repeats are told that its outcome is lost."""
        tasks = [*self._tasks, *([self._keeper] if self._keeper is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(self, request: Request, call: ServedCall, proceed: Proceed) -> Answer:
        try:
            found = await self._store.begin(
                request,
                running_ms=self._running_ms,
                keep_ms=self._known_ms,
                again=call.method.options.idempotent,
            )
        except RequestsUnavailable as error:
            detail = f"requests with a key can't be looked up now: {error}"
            return call.refused(outcome.UNAVAILABLE, "unavailable", detail, retry_after_ms=self._retry_after_ms)
        if found.state is State.MINE:
            return await self._run(request, call, proceed)
        return self._known(call, found)

    async def _run(self, request: Request, call: ServedCall, proceed: Proceed) -> Answer:
        try:
            answer = await proceed(call)
        except BaseException:
            await self._note(self._store.lose(request))
            raise
        if answer.status not in _EXECUTED:
            await self._note(self._store.forget(request))
            return answer
        body = answer.body if len(answer.body) <= self._max_answer_bytes else None
        await self._save(request, StoredAnswer(answer.status, call.codec.name, body))
        return answer

    async def _save(self, request: Request, answer: StoredAnswer) -> None:
        """Keeps an answer before it is given. While the store is down it is given all the same, and kept later."""
        try:
            await self._store.finish(request, answer)
        except RequestsUnavailable:
            self._hold(self._save_later(request, answer))

    async def _save_later(self, request: Request, answer: StoredAnswer) -> None:
        for attempt in range(SAVE_ATTEMPTS):
            await self._clock.sleep(SAVE_FIRST_SECONDS * 2**attempt)
            try:
                await self._store.finish(request, answer)
            except RequestsUnavailable:
                continue
            return
        _log.error("an answer to %s could not be kept: repeats of that request will hear it is lost", request.caller)

    def _hold(self, work: Coroutine[Any, Any, _Result]) -> asyncio.Task[_Result]:
        """Runs something to its end, whoever leaves."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited has it; nobody may be left to ask

    async def _note(self, noting: Awaitable[None]) -> None:
        try:
            await noting
        except RequestsUnavailable as error:
            _log.warning("the end of a request could not be noted, and will be known after its time: %s", error)

    def _known(self, call: ServedCall, found: Found) -> Answer:
        """Makes the answer to a request whose key is known."""
        if not found.is_same:
            detail = "this idempotency key belongs to a request with another method or other arguments: take a new one"
            return call.refused(outcome.UNFIT, KeyReused.code, detail)
        if found.state is State.RUNNING:
            detail = "the first request with this idempotency key is still running"
            return call.refused(outcome.ONGOING, "ongoing", detail, retry_after_ms=self._retry_after_ms)
        if found.state is State.LOST:
            detail = "the process that ran the first request with this idempotency key was stopped in the middle"
            return call.refused(outcome.TAKEN_BEFORE, OutcomeLost.code, detail)
        answer = found.answer
        if answer is None or answer.body is None:
            detail = f"it ran; its answer was longer than max_answer_bytes ({self._max_answer_bytes}) and not kept"
            return call.refused(outcome.TAKEN_BEFORE, CallRepeated.code, detail)
        return Answer(answer.status, _in_codec_of(call, answer.status, answer.codec, answer.body))

    async def _keep(self) -> None:
        """Shows that this process lives, and removes what is old."""
        while True:
            await self._clock.sleep(self._keep_seconds)
            await self._note(self._store.keep(self._runner, running_ms=self._running_ms))
            await self._note(self._purge())

    async def _purge(self) -> None:
        await self._store.purge(PURGE_LIMIT)


def _broken_rule(caller: str, key: str) -> str:
    for what, text, length in (("caller", caller, CALLER_LENGTH_MAX), ("idempotency key", key, KEY_LENGTH_MAX)):
        # MariaDB and MySQL compare without the spaces at the end, so no store may be given any.
        if len(text) > length or not text.isascii() or text.strip() != text or not (text.isprintable() or not text):
            return f"the {what} of a keyed request has up to {length} printable ASCII characters, no space at the ends"
    return ""


# Members and sets in one order, and defaults spelt out.
_encode = msgspec.msgpack.Encoder(order="deterministic", enc_hook=to_builtins).encode


def _fingerprint(call: ServedCall) -> bytes:
    """Returns what equal requests have in common, whatever codec and order of members they came in.

    Raises:
        ValueError: the arguments don't fit.
    """
    arguments = call.method.coding(call.codec).decode_arguments(call.body)
    body = _encode([getattr(arguments, name) for name in call.method.names])
    return hashlib.blake2b(f"{call.name}\0".encode() + body, digest_size=FINGERPRINT_BYTES).digest()


def _in_codec_of(call: ServedCall, status: int, name: str, body: bytes) -> bytes:
    """Returns the body of an answer in the codec of its repeat, which may have come over another transport."""
    if name == call.codec.name:
        return body
    (codec,) = find_codecs([name])
    if status == outcome.OK:
        result = call.method.coding(codec).decode_result(body)
        return call.method.coding(call.codec).encode_result(result)
    return call.codec.encoder(outcome.Raised)(codec.decoder(outcome.Raised)(body))
