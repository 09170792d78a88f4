"""What the coordinator's HTTP answers mean: a value, or one of the typed errors."""

from datetime import timedelta
from typing import TypeVar

import msgspec

from placet.errors import (
    Conflict,
    ContentDiffers,
    CoordinatorError,
    CoordinatorOverloaded,
    CoordinatorRefused,
    CoordinatorUnavailable,
    TransactionNotFound,
)
from placet_contract import problems
from placet_contract.problems import Problem
from placet_contract.transactions import TransactionReply
from placet_rpc import Reply

RETRY_AFTER_DEFAULT = timedelta(seconds=1)
RETRY_AFTER_MAX = timedelta(seconds=60)
_OVERLOADED_STATUS = 503

T = TypeVar("T")

_decode_problem = msgspec.json.Decoder(Problem).decode
_decode_transaction = msgspec.json.Decoder(TransactionReply).decode
_REFUSALS: dict[str, type[CoordinatorRefused]] = {
    problems.NOT_FOUND: TransactionNotFound,
    problems.CONFLICT: Conflict,
    problems.CONTENT_DIFFERS: ContentDiffers,
}
_TRANSIENT = frozenset({problems.UNAVAILABLE, problems.INTERNAL})


def transaction_of(reply: Reply, gid: str | None) -> TransactionReply:
    """Returns what a 2xx says of a transaction.

    Raises:
        CoordinatorUnavailable: it is not the coordinator's, or about another gid.
    """
    try:
        said = _decode_transaction(reply.body)
    except msgspec.MsgspecError as error:
        raise _not_ours(reply) from error
    if gid is not None and said.gid != gid:
        raise _not_ours(reply)
    return said


def value_of(reply: Reply, kind: type[T]) -> T:
    """Returns a 2xx's body as a struct; raises `CoordinatorUnavailable` if it is none of the coordinator's."""
    try:
        return msgspec.json.decode(reply.body, type=kind)
    except msgspec.MsgspecError as error:
        raise _not_ours(reply) from error


def failure_of(reply: Reply) -> CoordinatorError:
    """Returns what an answer other than 2xx says. Only a problem of a known type is the coordinator's word."""
    try:
        said = _decode_problem(reply.body)
    except msgspec.MsgspecError:
        return _not_ours(reply)
    slug = problems.slug_of(said.type)
    if reply.status == _OVERLOADED_STATUS and slug == problems.OVERLOADED:
        wait = _retry_after(reply)
        return CoordinatorOverloaded(f"the coordinator is overloaded: repeat after {wait}", retry_after=wait)
    if reply.status >= 500 or slug in _TRANSIENT:  # noqa: PLR2004 - RFC 9110's server errors
        return CoordinatorUnavailable(f"the coordinator answers {reply.status}: {said.title}", maybe_written=True)
    if not said.type.startswith(problems.TYPE_BASE):
        return _not_ours(reply)
    return _REFUSALS.get(slug, CoordinatorRefused)(said)


def _not_ours(reply: Reply) -> CoordinatorUnavailable:
    return CoordinatorUnavailable(
        f"HTTP {reply.status} with a body that is not the coordinator's: is there a proxy, and is PLACET_URL right?",
        maybe_written=True,
    )


def _retry_after(reply: Reply) -> timedelta:
    text = reply.header("retry-after") or ""
    if not text.isdecimal():  # the date form needs a clock in agreement with the server's
        return RETRY_AFTER_DEFAULT
    return min(timedelta(seconds=min(int(text), 3_600)), RETRY_AFTER_MAX)
