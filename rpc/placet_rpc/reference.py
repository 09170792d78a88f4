"""One reference to a service: for each of its methods the chain that calls take now."""

from collections import OrderedDict
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from placet_rpc.context import OPTIONS, CallOptions
from placet_rpc.contract import MethodSpec, ServiceSpec
from placet_rpc.errors import CallTimeout, Safety
from placet_rpc.filters import Proceed
from placet_rpc.invocation import Invocation
from placet_rpc.settings import MILLISECOND, Settings, checked, of_method

if TYPE_CHECKING:
    from placet_rpc.chain import Chains

OVERRIDDEN_MAX = 64
"""Chains of one reference for settings of single calls that are kept."""
_FIRST_WORD_SHARE = 0.5
"""Of a call's time, for a registry to say its first word of the service."""


class Plan:
    """The chains of all methods of one reference.

    Attributes:
        chains: by method.
        timeouts_ms: by method.
    """

    __slots__ = ("chains", "timeouts_ms")

    def __init__(self) -> None:
        self.chains: dict[str, Proceed] = {}
        self.timeouts_ms: dict[str, int] = {}


class Reference:
    """The chains of one service with the settings of one `Client.reference`; satisfies `Invoker`.

    Attributes:
        service: the service.
        timeouts_ms: of calls that say none, by method.
    """

    def __init__(
        self, chains: "Chains", service: ServiceSpec, settings: Settings, methods: Mapping[str, Settings]
    ) -> None:
        self.service = service
        self.timeouts_ms: dict[str, int] = {}
        self._chains = chains
        self._settings, self._methods = settings, methods
        self._instances = chains.instances_of(service.key)
        self._is_known = False
        self._overridden: OrderedDict[tuple[str, tuple[tuple[str, Any], ...]], Proceed] = OrderedDict()
        self._proceed: dict[str, Proceed] = {}
        self.put_in(self.plan_all())

    def plan_all(self) -> Plan:
        """Builds the chains of all methods, and leaves those that are in use as they are."""
        plan = Plan()
        for method in self.service.methods.values():
            settings = self._settings_of(method, Settings())
            plan.chains[method.name] = self._chains.build(self.service, method, settings)
            plan.timeouts_ms[method.name] = settings["timeout"] // MILLISECOND
        return plan

    def put_in(self, plan: Plan) -> None:
        """Uses other chains from the next call on."""
        self._proceed = plan.chains
        self.timeouts_ms.update(plan.timeouts_ms)
        self._overridden.clear()

    def invoke(self, call: Invocation) -> Coroutine[Any, Any, Any]:
        """Makes the call."""
        options = OPTIONS.get()
        if options is None or not options.settings:
            proceed = self._proceed[call.method.name]
        else:
            proceed = self._for_call(call.method, options)
        if self._is_known or self._note_known():
            return proceed(call)
        return self._first(call, proceed)

    def _note_known(self) -> bool:
        self._is_known = self._instances.is_known
        return self._is_known

    async def _first(self, call: Invocation, proceed: Proceed) -> Any:
        """Waits for the registry's first word, for a part of the call's time."""
        began_at = self._chains.clock.monotonic()
        await self._instances.ready(call.timeout_ms * _FIRST_WORD_SHARE / 1000)
        call.timeout_ms -= int((self._chains.clock.monotonic() - began_at) * 1000)
        if call.timeout_ms <= 0:
            raise CallTimeout("the registry said nothing in the call's time", safety=Safety.NOT_SENT)
        return await proceed(call)

    def _settings_of(self, method: MethodSpec, of_call: Settings) -> Settings:
        of_caller = self._methods.get(method.name, Settings())
        return self._chains.settings_of(method, self.service, self._settings, of_method(method), of_caller, of_call)

    def _for_call(self, method: MethodSpec, options: CallOptions) -> Proceed:
        key = (method.name, options.settings)
        proceed = self._overridden.get(key)
        if proceed is None:
            settings = self._settings_of(method, checked(dict(options.settings), "call_options"))
            proceed = self._overridden[key] = self._chains.build(self.service, method, settings)
            if len(self._overridden) > OVERRIDDEN_MAX:
                self._overridden.popitem(last=False)
        return proceed
