"""The client that a request finds: one per application, made in its lifespan or at the first request."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Request

from placet.client import Client
from placet.settings import Settings

_STATE = "placet_client"

# Clients of lifespans that do not say which application they are of; a loop serves its own alone.
_running: list[tuple[asyncio.AbstractEventLoop, Client]] = []


@asynccontextmanager
async def running_client(app: FastAPI | None = None, settings: Settings | None = None) -> AsyncIterator[Client]:
    """Yields a client that the `Placet` parameters of the application's endpoints get.

    Args:
        app: the application; left out, those of this event loop that have no client of their own get it.
        settings: in place of the environment.
    """
    async with Client(settings=settings) as client:
        place = (asyncio.get_running_loop(), client)
        _running.append(place)
        if app is not None:
            setattr(app.state, _STATE, client)
        try:
            yield client
        finally:
            _running.remove(place)
            if app is not None and getattr(app.state, _STATE, None) is client:
                delattr(app.state, _STATE)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """The lifespan of an application that only initiates: `FastAPI(lifespan=lifespan)`."""
    async with running_client(app):
        yield


async def _client_of(request: Request) -> Client:
    state = request.app.state
    client: Client | None = getattr(state, _STATE, None)
    if client is None:
        loop = asyncio.get_running_loop()
        client = next((running for place, running in reversed(_running) if place is loop), None)
    if client is None:
        # Without a lifespan of ours; its connections live as long as the process.
        client = Client()
        setattr(state, _STATE, client)
    return client


Placet = Annotated[Client, Depends(_client_of)]
"""The client, as a parameter of an endpoint; `placet.sync` is its twin for `def` endpoints."""
