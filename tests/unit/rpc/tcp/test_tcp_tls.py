"""TLS and mutual TLS with certificates made for the test by openssl."""

import ssl
from pathlib import Path

import pytest

from certificates import URI
from placet_rpc import ConnectFailed, Safety
from placet_rpc.tcp import client_tls, server_tls


def server_context(folder: Path, clients: str | None = None) -> ssl.SSLContext:
    authority = folder / f"{clients}.pem" if clients else None
    return server_tls(certificate=folder / "server.pem", key=folder / "server.key", clients=authority)


async def test_calls_travel_over_tls(certificates, hot, serve_tcp, make_tcp_client):
    """Small and long bodies arrive over TLS; the application sees https."""
    server = await serve_tcp(tls=server_context(certificates))
    client = make_tcp_client(tls=client_tls(authority=certificates / "authority.pem"))
    for body in (b"x", b"x" * 3_000_000):
        assert (await client.request("POST", f"{server.url}/echo", body=body)).body == body
    assert client.counters.connections_opened == 1
    assert next(iter(server.connections)).transport.get_extra_info("ssl_object").selected_alpn_protocol() == "placet/1"


async def test_a_server_of_another_authority_is_not_trusted(certificates, serve_tcp, make_tcp_client):
    """A certificate that does not chain to the trusted authority fails the connect: NOT_SENT."""
    server = await serve_tcp(tls=server_context(certificates))
    client = make_tcp_client(tls=client_tls(authority=certificates / "stranger.pem"))
    with pytest.raises(ConnectFailed, match="certificate verify failed") as failed:
        await client.request("POST", f"{server.url}/echo")
    assert failed.value.safety is Safety.NOT_SENT


async def test_mutual_tls_names_the_client(certificates, hot, serve_tcp, make_tcp_client):
    """The server checks the client's certificate, and may admit by the URI in it."""
    seen = []

    def admit(_hello, uris):
        seen.append(uris)
        return "" if URI in uris else "not on the list"

    server = await serve_tcp(tls=server_context(certificates, clients="authority"), admit=admit)
    trusted = certificates / "authority.pem"
    own = {"certificate": certificates / "client.pem", "key": certificates / "client.key"}
    client = make_tcp_client(tls=client_tls(authority=trusted, **own))
    assert (await client.request("POST", f"{server.url}/echo", body=b"x")).body == b"x"
    assert seen == [(URI,)]


@pytest.mark.parametrize("own", [None, "stranger"])
async def test_mutual_tls_refuses_whoever_has_no_certificate(own, certificates, hot, serve_tcp, make_tcp_client):
    """Without a certificate of the authority no request gets through: NOT_SENT."""
    server = await serve_tcp(tls=server_context(certificates, clients="authority"))
    pair = {"certificate": certificates / f"{own}.pem", "key": certificates / f"{own}.key"} if own else {}
    client = make_tcp_client(tls=client_tls(authority=certificates / "authority.pem", **pair))
    with pytest.raises(ConnectFailed) as failed:
        await client.request("POST", f"{server.url}/echo")
    assert failed.value.safety is Safety.NOT_SENT
    assert hot.bodies == []


async def test_plain_text_to_a_tls_port_is_a_failed_connect(certificates, serve_tcp, tcp_client):
    """A client that forgot TLS learns that there is no HELLO."""
    server = await serve_tcp(tls=server_context(certificates))
    with pytest.raises(ConnectFailed):
        await tcp_client.request("POST", f"tcp://127.0.0.1:{server.port}/echo")


async def test_new_certificates_are_taken_while_running(certificates, hot, serve_tcp, make_tcp_client):
    """A server whose files have changed loads them into its context: connections from then on see the new ones."""
    context = server_tls(certificate=certificates / "stranger.pem", key=certificates / "stranger.key")
    server = await serve_tcp(tls=context)
    tls = client_tls(authority=certificates / "authority.pem")
    with pytest.raises(ConnectFailed, match="certificate verify failed"):
        await make_tcp_client(tls=tls).request("POST", f"{server.url}/echo")
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    assert (await make_tcp_client(tls=tls).request("POST", f"{server.url}/echo", body=b"x")).body == b"x"
