"""From a begin or register request to branches of a plan: defaults filled in, every rule of wire.md checked."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from urllib.parse import urlsplit

from placet_contract import headers as header_names
from placet_contract import limits
from placet_contract.ids import matches_branch_id
from placet_contract.transactions import BeginRequest, BranchRequest
from placet_contract.vocabulary import Operation, Pattern, Status
from placet_coordinator.core.documents import size_bytes
from placet_coordinator.core.order import check_order
from placet_coordinator.core.rule import RuleBroken
from placet_coordinator.core.transaction import UNTOUCHED, Branch, Retry, Transaction

_MUST_NAME = {
    Pattern.TCC: (Operation.CONFIRM, Operation.CANCEL),
    Pattern.SAGA: (Operation.ACTION,),
}
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_.])?|[0-9a-f:.]*:[0-9a-f:.]*")
"""A name, an IPv4 address, or an IPv6 address without a zone, as `urlsplit` gives them: what can be connected to."""


def planned(
    request: BeginRequest,
    gid: str,
    now_ms: int,
    *,
    branches_max: int = limits.BRANCHES_MAX,
    traceparent: str | None = None,
) -> Transaction:
    """Return the transaction that the request begins.

    Raises:
        RuleBroken: with the request's field, the rule, and the limit where there is one. Nothing has happened.
    """
    pattern = request.pattern
    if pattern not in _MUST_NAME:
        raise RuleBroken("pattern", f"this server drives {' and '.join(_MUST_NAME)}; {pattern} is not one of them")
    drive = bool(request.drive)
    if drive and pattern is not Pattern.TCC:
        raise RuleBroken("drive", "only a tcc can be driven; a saga always is")
    asked = request.branches or []
    if not asked and (drive or pattern is Pattern.SAGA):
        raise RuleBroken("branches", "a saga and a driven tcc need at least one branch")
    branches = plan_branches(asked, pattern, drive=drive, branches_max=branches_max)
    if pattern is Pattern.SAGA:
        check_order(branches)
    default_timeout_ms = limits.TCC_TIMEOUT_MS if pattern is Pattern.TCC else None
    return Transaction(
        gid=gid,
        pattern=pattern,
        status=Status.ACTIVE,
        created_at_ms=now_ms,
        name=request.name,
        key=request.key,
        parent=request.parent,
        timeout_ms=default_timeout_ms if request.timeout_ms is None else request.timeout_ms,
        drive=drive,
        traceparent=traceparent,
        begun_count=len(branches),
        branches=branches,
        progress=(UNTOUCHED,) * len(branches),
    )


def plan_branches(
    asked: Sequence[BranchRequest], pattern: Pattern | None, *, drive: bool, branches_max: int = limits.BRANCHES_MAX
) -> tuple[Branch, ...]:
    """Return the branches of one request, in its order.

    Raises:
        RuleBroken: as `planned`.
    """
    if len(asked) > branches_max:
        raise RuleBroken("branches", f"a transaction has at most {branches_max} branches", branches_max)
    seen: set[str] = set()
    branches = []
    for index, request in enumerate(asked):
        where = f"branches[{index}]"
        if request.branch_id in seen:
            raise RuleBroken(f"{where}.branch_id", f"branch_id {request.branch_id} stands twice in one request")
        seen.add(request.branch_id)
        previous = asked[index - 1].branch_id if index else None
        branches.append(_branch(request, pattern, previous, drive=drive, where=where))
    return tuple(branches)


def check_room(transaction: Transaction, added: Sequence[Branch], *, branches_max: int) -> None:
    """Check that a transaction has room for more branches; those of its own are no more.

    Raises:
        RuleBroken: as `planned`.
    """
    known = {branch.branch_id for branch in transaction.branches}
    fresh = [branch for branch in added if branch.branch_id not in known]
    if len(known) + len(fresh) > branches_max:
        raise RuleBroken("branches", "a transaction has at most this many branches", branches_max)
    if fresh and size_bytes((*transaction.branches, *fresh)) > limits.PLAN_BYTES_MAX:
        rule = "all branches of a transaction have at most this many bytes, payloads included; send addresses of data"
        raise RuleBroken("branches", rule, limits.PLAN_BYTES_MAX)


def _branch(
    request: BranchRequest, pattern: Pattern | None, previous: str | None, *, drive: bool, where: str
) -> Branch:
    is_saga = pattern is Pattern.SAGA
    after: tuple[str, ...] = ()
    if is_saga:
        after = tuple(request.after) if request.after is not None else ((previous,) if previous else ())
    elif request.after is not None or request.pivot is not None or request.compensate is not None:
        field = next(name for name in ("after", "pivot", "compensate") if getattr(request, name) is not None)
        raise RuleBroken(f"{where}.{field}", f"{field} belongs to the steps of a saga")
    target = request.target
    if isinstance(target, str):
        check_target(target, f"{where}.target")
    else:
        _check_target_object(target, pattern, drive=drive, where=f"{where}.target")
    if request.headers:
        _check_headers(request.headers, f"{where}.headers")
    return Branch(
        branch_id=request.branch_id,
        target=target,
        timeout_ms=limits.CALL_TIMEOUT_MS if request.timeout_ms is None else request.timeout_ms,
        retry=_retry(request, is_saga=is_saga, where=where),
        payload=request.payload,
        headers=request.headers or {},
        envelope=bool(request.envelope),
        after=after,
        pivot=bool(request.pivot),
        compensate=request.compensate is not False,
    )


_DEFAULT_RETRY = Retry(first_ms=limits.RETRY_FIRST_MS, cap_ms=limits.RETRY_CAP_MS)
_DEFAULT_SAGA_RETRY = Retry(
    first_ms=limits.RETRY_FIRST_MS, cap_ms=limits.RETRY_CAP_MS, for_ms=limits.ACTION_RETRY_FOR_MS
)


def _retry(request: BranchRequest, *, is_saga: bool, where: str) -> Retry:
    default = _DEFAULT_SAGA_RETRY if is_saga else _DEFAULT_RETRY
    asked = request.retry
    if asked is None:
        return default
    first_ms = default.first_ms if asked.first_ms is None else asked.first_ms
    cap_ms = max(default.cap_ms, first_ms) if asked.cap_ms is None else asked.cap_ms
    if cap_ms < first_ms:
        raise RuleBroken(f"{where}.retry.cap_ms", f"cap_ms must not be below first_ms ({first_ms})", first_ms)
    return Retry(
        first_ms=first_ms,
        cap_ms=cap_ms,
        for_ms=default.for_ms if asked.for_ms is None else asked.for_ms,
        max_attempts=asked.max_attempts,
    )


def _check_target_object(target: Mapping[Operation, str], pattern: Pattern | None, *, drive: bool, where: str) -> None:
    owed = _MUST_NAME.get(pattern, ()) if pattern else ()
    for operation in (*owed, *((Operation.TRY,) if drive else ())):
        if operation not in target:
            raise RuleBroken(where, f"an object target of this pattern must name {operation}")
    for operation, url in target.items():
        check_url(url, f"{where}.{operation}")


def check_target(target: str, where: str) -> None:
    """Check that a target is `service/action` or an absolute URL.

    Raises:
        RuleBroken: it is neither.
    """
    if "://" in target:
        check_url(target, where)
        return
    service, slash, action = target.partition("/")
    if not slash or not matches_branch_id(service) or not matches_branch_id(action):
        raise RuleBroken(
            where, "a target is service/action (each 1-64 of A-Z a-z 0-9 _ - .) or an absolute http(s) URL"
        )


def check_url(url: str, where: str) -> None:
    """Check that a URL is absolute http(s), without userinfo, query, fragment, or a character that splits a request.

    Raises:
        RuleBroken: it is not.
    """
    broken = _rule_broken_by(url)
    if broken is not None:
        raise RuleBroken(where, broken)


@lru_cache(maxsize=4_096)
def _rule_broken_by(url: str) -> str | None:
    """Return the rule that a URL breaks; kept, for the same few targets come with every transaction."""
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return "a URL holds printable ASCII without spaces or backslashes; encode the rest"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        return f"not a URL: {error}"
    if parts.scheme not in ("http", "https") or not host:
        return "a URL is absolute and of scheme http or https"
    if port == 0 or not _HOST.fullmatch(host):
        return "a URL's host is a name or an address, its port 1-65535"
    if "@" in parts.netloc or "?" in url or "#" in url:
        return "a target's URL has no userinfo, query or fragment"
    return None


def check_tcp_url(url: str, where: str) -> None:
    """Check that a URL is of an endpoint of the TCP transport: `tcp://host:port` or `tcps://host:port`.

    Raises:
        RuleBroken: it is not.
    """
    scheme, _, rest = url.partition("://")
    check_url(f"http://{rest}", where)
    parts = urlsplit(url)
    if scheme not in ("tcp", "tcps") or not parts.port or parts.path:
        raise RuleBroken(where, "an endpoint is tcp://host:port or tcps://host:port, and nothing after the port")


def _check_headers(headers: Mapping[str, str], where: str) -> None:
    if len(headers) > limits.HEADERS_PER_BRANCH_MAX:
        raise RuleBroken(where, "too many headers", limits.HEADERS_PER_BRANCH_MAX)
    for name, value in headers.items():
        lower = name.lower()
        if not name or not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
            raise RuleBroken(where, "a header's name holds letters, digits, - and _")
        if lower in header_names.RESERVED or lower.startswith(header_names.RESERVED_PREFIX):
            raise RuleBroken(f"{where}.{name}", "this header is set by the coordinator on each call")
        if len(value) > limits.HEADER_VALUE_LENGTH_MAX or not value.isascii() or not value.isprintable():
            raise RuleBroken(f"{where}.{name}", "a header's value is printable ASCII", limits.HEADER_VALUE_LENGTH_MAX)
