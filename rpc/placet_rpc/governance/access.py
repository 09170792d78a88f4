"""Who may call what: an ordered list of rules, the first that names the method decides."""

import re
from collections.abc import Iterable
from fnmatch import translate

import msgspec

from placet_rpc import outcome
from placet_rpc.context import CallContext
from placet_rpc.served_call import Answer, Proceed, ServedCall

ANYONE = "*"
LOCAL = "local"
"""Whoever calls from this machine, by a connection of its own."""
MAX_RULES = 1_000
_CACHED = 4_096


class AccessRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One rule.

    Attributes:
        methods: pattern of methods with service and version, `*` for any characters: `stock/1.reserve`, `stock/*`.
        allow: identities that may call them, with `*`: `app:order`, `spiffe://example.org/*`; `local`; `*` for anyone.
            Empty: nobody.
    """

    methods: str
    allow: tuple[str, ...] = ()


OWN_RULES = (AccessRule("placet.introspection/*", (LOCAL,)),)
"""The last rules of every list: what a server tells of itself is for its own machine, until a rule says otherwise."""


class _Allowed:
    """A rule's identities, compiled."""

    def __init__(self, rule: AccessRule) -> None:
        self.anyone = ANYONE in rule.allow
        self.local = LOCAL in rule.allow
        self._exact = frozenset(name for name in rule.allow if "*" not in name and name != LOCAL)
        self._pattern = re.compile("|".join(_expression(name) for name in rule.allow if "*" in name) or r"(?!)")

    def admits(self, context: CallContext) -> bool:
        return (
            self.anyone
            or (self.local and context.is_local)
            or not self._exact.isdisjoint(context.identity)
            or any(self._pattern.fullmatch(name) for name in context.identity)
        )


def _expression(pattern: str) -> str:
    # Only `*` has a meaning: `?` and `[` stand in URIs.
    return translate(re.sub(r"([?\[])", r"[\1]", pattern))


class AccessList:
    """The rules of a server; they may be replaced while it runs.

    Args:
        rules: the first whose `methods` fit decides.
        otherwise_allowed: what no rule names is for anyone; False: for nobody.

    Attributes:
        rules: those that hold, without `OWN_RULES`.

    Raises:
        ValueError: there are more than `MAX_RULES`.
    """

    def __init__(self, rules: Iterable[AccessRule] = (), *, otherwise_allowed: bool = True) -> None:
        self._otherwise = _Allowed(AccessRule(ANYONE, (ANYONE,) if otherwise_allowed else ()))
        self.replace(rules)

    def replace(self, rules: Iterable[AccessRule]) -> None:
        """Puts other rules in place of all there are; calls that were let through already go on.

        Raises:
            ValueError: there are more than `MAX_RULES`; the old ones stay.
        """
        given = tuple(rules)
        if len(given) > MAX_RULES:
            raise ValueError(f"{len(given)} rules are more than {MAX_RULES}: name services by patterns")
        self.rules = given
        self._rules = [(re.compile(_expression(rule.methods)), _Allowed(rule)) for rule in (*given, *OWN_RULES)]
        self._by_method: dict[str, _Allowed] = {}

    def admits(self, method: str, context: CallContext) -> bool:
        """True if a caller may call a method, such as `stock/1.reserve`."""
        allowed = self._by_method.get(method)
        if allowed is None:
            found = (allowed for pattern, allowed in self._rules if pattern.fullmatch(method))
            allowed = next(found, self._otherwise)
            if len(self._by_method) < _CACHED:
                self._by_method[method] = allowed
        return allowed.admits(context)


class Access:
    """Refuses calls that the list does not allow; a `ServerFilter`. It stands after `Authentication`.

    Args:
        rules: the list.
    """

    def __init__(self, rules: AccessList) -> None:
        self.rules = rules

    async def answer(self, call: ServedCall, proceed: Proceed) -> Answer:
        """Looks at who calls what."""
        name = call.name
        if self.rules.admits(name, call.context):
            return await proceed(call)
        who = ", ".join(call.context.identity) or "a caller without proof of who it is"
        return call.refused(outcome.FORBIDDEN, "forbidden", f"{name} is not for {who}: see the server's access list")

    async def aclose(self) -> None:
        """Holds nothing."""
