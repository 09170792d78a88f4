"""`placet rpc`: services and instances, one call by hand, statistics, who calls whom."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from placet_coordinator.cli.remote import Remote, fail

if TYPE_CHECKING:
    from placet_rpc.inspection import Visitor

USAGE_EXIT = 2
TIMEOUT = "10s"

rpc = typer.Typer(help="Look at services of the built-in RPC, and call them.", no_args_is_help=True)

_Result = TypeVar("_Result")


class Output(StrEnum):
    """How a command prints."""

    TABLE = "table"
    JSON = "json"


class GraphOutput(StrEnum):
    """How a graph is printed."""

    TABLE = "table"
    MERMAID = "mermaid"
    DOT = "dot"
    JSON = "json"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="table for people, json for programs.")]
Endpoint = Annotated[str, typer.Argument(help="Where it listens: tcp://host:port, or http://host/path.")]
TimeoutOption = Annotated[str, typer.Option(help="Of each call: 500ms, 10s.")]
PlainText = Annotated[bool, typer.Option("--plain-text", help="Allow tcp:// to other machines, without TLS.")]


@rpc.command("list")
def list_services(
    services: Annotated[list[str] | None, typer.Argument(help="Only these, such as stock/1.")] = None,
    *,
    registry: Annotated[
        str | None, typer.Option(help="redis://…, zookeeper://…, static:… [the coordinator at PLACET_URL]")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """List services, their instances, and how each is reached."""
    from placet_coordinator.cli import rpc_shown  # noqa: PLC0415 - loads rich

    found = _of_coordinator(services or []) if registry is None else _of_registry(registry, services or [])
    rpc_shown.instances(found, as_json=output is Output.JSON)


@rpc.command("call")
def call_method(
    target: Endpoint,
    method: Annotated[str, typer.Argument(help="service/version/method, such as stock/1/reserve.")],
    *,
    args: Annotated[str, typer.Option(help="The parameters by name, as a JSON object.")] = "{}",
    timeout: TimeoutOption = TIMEOUT,
    plain_text: PlainText = False,
) -> None:
    """Call one method once, and print its result as JSON. Exit code 1 if there is none."""
    from placet_coordinator.cli import shown  # noqa: PLC0415 - loads rich
    from placet_rpc.inspection import call_by_hand  # noqa: PLC0415 - loads the RPC

    arguments = _object(args)
    result = _visit(target, lambda visitor: call_by_hand(visitor, method, arguments), timeout, plain_text=plain_text)
    shown.as_json(_plain(result))


@rpc.command()
def stats(
    endpoint: Endpoint,
    *,
    output: OutputOption = Output.TABLE,
    timeout: TimeoutOption = TIMEOUT,
    plain_text: PlainText = False,
) -> None:
    """Show what a server has counted, per caller and method."""
    from placet_coordinator.cli import rpc_shown  # noqa: PLC0415 - loads rich
    from placet_rpc.inspection import statistics_of  # noqa: PLC0415 - loads the RPC

    rows = _visit(endpoint, statistics_of, timeout, plain_text=plain_text)
    rpc_shown.statistics(rows, as_json=output is Output.JSON)


@rpc.command()
def graph(
    endpoints: Annotated[list[str], typer.Argument(help="Servers that are asked; more of them see more.")],
    *,
    layer: Annotated[
        list[str] | None,
        typer.Option(help="Applications of one layer, after commas; once for each, from the top, where calls begin."),
    ] = None,
    output: Annotated[GraphOutput, typer.Option("--output", "-o", help="How it is printed.")] = GraphOutput.TABLE,
    timeout: TimeoutOption = TIMEOUT,
    plain_text: PlainText = False,
) -> None:
    """Show who calls whom. Exit code 1 if calls go in a circle, or upwards through the layers."""
    from placet_coordinator.cli import rpc_shown  # noqa: PLC0415 - loads rich
    from placet_rpc.inspection import call_graph_of  # noqa: PLC0415 - loads the RPC

    found = _visit_all(endpoints, call_graph_of, timeout, plain_text=plain_text)
    layers = [[name.strip() for name in names.split(",")] for names in layer or []]
    try:
        upwards = found.against_layers(layers)
    except ValueError as error:
        fail(str(error), code=USAGE_EXIT)
    rpc_shown.graph(found, upwards, str(output))
    if found.cycles() or upwards:
        raise typer.Exit(1)


def _of_coordinator(services: list[str]) -> list[Any]:
    from placet_rpc.inspection import ListedInstance  # noqa: PLC0415 - loads the RPC

    listed: list[Any] = []
    with Remote() as remote:
        for name in services or [item["service"] for item in remote.get("/v1/services")["items"]]:
            # As the coordinator's registry announces it: names there have no slash.
            view = remote.get(f"/v1/services/{name.replace('/', '.v', 1)}")
            for instance in view["instances"]:
                urls = tuple(url for url in (instance.get("tcp_url"), instance["base_url"]) if url)
                listed.append(
                    ListedInstance(
                        service=view["service"],
                        instance_id=instance["instance_id"],
                        urls=urls,
                        lease_until=instance["lease_until"],
                    )
                )
    return listed


def _of_registry(registry: str, services: list[str]) -> list[Any]:
    from placet_rpc.inspection import list_instances  # noqa: PLC0415 - loads the RPC
    from placet_rpc.registry.registry import RegistryRefused, RegistryUnavailable  # noqa: PLC0415 - loads the RPC

    try:
        return asyncio.run(list_instances(registry, services, token=os.environ.get("PLACET_TOKEN", "")))
    except RegistryUnavailable as error:
        fail(f"the registry does not answer: {error}. Is it running, and is this its address?")
    except RegistryRefused as error:
        fail(f"the registry refuses: {error}")
    except (ValueError, ImportError, OSError) as error:
        fail(str(error), code=USAGE_EXIT)


def _visit(endpoint: str, ask: "Callable[[Visitor], Awaitable[_Result]]", timeout: str, *, plain_text: bool) -> _Result:
    return _visit_all([endpoint], lambda visitors: ask(visitors[0]), timeout, plain_text=plain_text)


def _visit_all(
    endpoints: list[str], ask: "Callable[[list[Visitor]], Awaitable[_Result]]", timeout: str, *, plain_text: bool
) -> _Result:
    """Ask servers; whatever keeps the answer away ends the command with a sentence."""
    from placet_rpc.errors import RemoteFault, RpcError  # noqa: PLC0415 - loads the RPC
    from placet_rpc.inspection import Visitor, remedy_for, signer_of  # noqa: PLC0415 - loads the RPC

    limit = _time(timeout)

    async def visit() -> _Result:
        key = os.environ.get("PLACET_RPC_KEY", "")
        signer = signer_of(key) if key else None
        visitors = [Visitor(url, timeout=limit, signer=signer, plain_text=plain_text) for url in endpoints]
        try:
            return await ask(visitors)
        finally:
            for visitor in visitors:
                await visitor.aclose()

    try:
        return asyncio.run(visit())
    except RemoteFault as error:
        if not error.told:
            fail(f"{error}; {remedy_for(error)}")
        fail(f"the method says no: {error.kind}({', '.join(json.dumps(_plain(one)) for one in error.told)})")
    except RpcError as error:
        remedy = remedy_for(error)
        fail(f"{error}; {remedy}" if remedy else str(error))
    except (ValueError, TypeError) as error:
        fail(str(error), code=USAGE_EXIT)


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        fail(f"--args is no JSON: {error}", code=USAGE_EXIT)
    if not isinstance(found, dict):
        fail("""--args is a JSON object of the parameters by name: --args '{"sku": "A1"}'""", code=USAGE_EXIT)
    return found


def _plain(value: Any) -> Any:
    import msgspec  # noqa: PLC0415 - for what JSON has no word for, such as bytes

    return msgspec.to_builtins(value)


def _time(text: str) -> timedelta:
    from placet_coordinator.config import parse_time  # noqa: PLC0415 - loads pydantic

    try:
        limit = parse_time(text)
    except ValueError as error:
        fail(str(error), code=USAGE_EXIT)
    if limit < timedelta(milliseconds=1):
        fail("--timeout is at least 1ms", code=USAGE_EXIT)
    return limit
