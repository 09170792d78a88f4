"""`placet doctor`: looks at everything that a coordinator needs, and says what to do about what is wrong."""

import asyncio
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx2
import typer

from placet_coordinator import native
from placet_coordinator.cli.remote import DEFAULT_URL
from placet_coordinator.config import DEFAULT_DATABASE_URL, Settings, SettingsRefused, load_settings
from placet_coordinator.observability.metrics import build_version
from placet_coordinator.ports.store import SchemaMissing, StoreError, StoreInUse
from placet_coordinator.store.factory import DriverMissing, store_for

CLOCK_SKEW_MS_ADVISED = 2_000
LOOK_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `remedy` is what to do where it is not good."""

    good: bool
    what: str
    remedy: str = ""


def _well(what: str, remedy: str = "") -> Finding:
    return Finding(good=True, what=what, remedy=remedy)


def _bad(what: str, remedy: str) -> Finding:
    return Finding(good=False, what=what, remedy=remedy)


def examine(*, database_url: str | None = None) -> int:
    """Print the findings; return 0 if all is well, else 1."""
    findings = list(_findings(database_url))
    for finding in findings:
        mark = typer.style("ok ", fg="green") if finding.good else typer.style("BAD", fg="red")
        typer.echo(f"{mark} {finding.what}")
        if finding.remedy:
            typer.echo(f"    {finding.remedy}")
    return 0 if all(finding.good for finding in findings) else 1


def _findings(database_url: str | None) -> Iterator[Finding]:
    yield _well(f"placet {build_version()}, Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}")
    yield _well(f"runs: {native.described()}")
    try:
        settings = load_settings(database_url=database_url)
    except SettingsRefused as refused:
        yield _bad("settings", str(refused))
        return
    yield _well(f"settings: node {settings.node_name}, {settings.base_url}, calls {settings.allowed_targets}")
    if settings.database_url.get_secret_value() == DEFAULT_DATABASE_URL:
        yield _well("PLACET_DATABASE_URL is not set: the state is kept in ./placet.db")
    yield from asyncio.run(_of_store(settings))
    yield _of_server()


async def _of_store(settings: Settings) -> list[Finding]:
    shown = settings.shown_database_url
    try:
        store = store_for(settings.database_url.get_secret_value())
    except (ValueError, DriverMissing) as error:
        return [_bad(f"database {shown}", str(error))]
    try:
        async with asyncio.timeout(LOOK_TIMEOUT_S):
            await store.open()
            now_ms = await store.ping()
            attention = sum(count for *_, count in await store.count_attention())
            open_count = sum(count for _, _, count, _ in await store.count_open())
    except StoreInUse:
        return [_well(f"database {shown}: in use by a running coordinator, as it should be with SQLite")]
    except SchemaMissing:
        return [_well(f"database {shown}: empty; `placet server` makes the schema at its first start")]
    except TimeoutError:
        return [_bad(f"database {shown}", f"gave no answer within {LOOK_TIMEOUT_S:g} s: is it up?")]
    except StoreError as error:
        return [_bad(f"database {shown}", str(error))]
    finally:
        await store.close()
    findings = [_well(f"database {shown}: reached, schema as needed, {open_count} open transactions")]
    if attention:
        findings.append(_bad(f"{attention} transactions need a human", "look: placet tx list --attention"))
    skew_ms = abs(time.time_ns() // 1_000_000 - now_ms)
    if skew_ms > CLOCK_SKEW_MS_ADVISED:
        remedy = "Placet goes by the database's clock, so nothing breaks; people reading logs will wonder: run NTP"
        findings.append(_well(f"this machine's clock and the database's differ by {skew_ms} ms", remedy))
    return findings


def _of_server() -> Finding:
    url = os.environ.get("PLACET_URL", DEFAULT_URL).rstrip("/")
    try:
        answer = httpx2.get(f"{url}/readyz", timeout=LOOK_TIMEOUT_S, trust_env=False)
    except httpx2.TransportError:
        return _well(f"no coordinator answers at {url}", "if one should: placet server, or set PLACET_URL")
    if answer.is_success:
        return _well(f"a coordinator serves at {url}")
    return _bad(f"the coordinator at {url} is not ready", answer.text)
