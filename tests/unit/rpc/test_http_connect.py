"""Opening connections: policy on resolved addresses, one lookup, TLS checks, time limits."""

import asyncio
import ipaddress
import socket
import ssl
import subprocess
import threading
from datetime import timedelta

import pytest

from placet_rpc import CallTimeout, ConnectFailed, HttpLimits, Safety, TargetRefused
from unit.rpc.conftest import reply, until


async def answering(serve, **options):
    """A server that answers every request."""

    async def script(peer):
        while True:
            server.requests.append(await peer.request())
            await peer.send(reply())

    server = await serve(script, **options)
    return server


@pytest.fixture
def names(monkeypatch):
    """A resolver of the test's own: host -> addresses. Counts its lookups."""
    table, asked = {}, []

    def getaddrinfo(host, port, *_, **__):
        asked.append(host)
        if host not in table:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in table[host]]

    monkeypatch.setattr("placet_rpc.http.connect.socket.getaddrinfo", getaddrinfo)
    table["asked"] = asked
    return table


def loopback_only(_host, addresses):
    return all(address.is_loopback for address in addresses)


async def test_the_policy_sees_every_resolved_address_and_one_bad_one_refuses(serve, make_client, names):
    """A name with a good and a bad answer is refused: which one gets used is the resolver's whim."""
    server = await answering(serve)
    names["good.test"], names["mixed.test"] = ["127.0.0.1"], ["127.0.0.1", "10.0.0.1"]
    client = make_client(allow=loopback_only)
    assert (await client.request("POST", f"http://good.test:{server.port}")).status == 200
    with pytest.raises(TargetRefused) as caught:
        await client.request("POST", f"http://mixed.test:{server.port}")
    assert caught.value.safety is Safety.NOT_SENT
    assert "10.0.0.1" in str(caught.value)
    assert server.connections == 1


@pytest.mark.parametrize("host", ["10.1.2.3", "169.254.169.254", "[::ffff:10.0.0.1]", "[fd00::1]", "[64:ff9b::a00:1]"])
async def test_literals_are_asked_about_too(host, make_client):
    """An address written into the URL passes the same policy, a mapped one as what it maps to."""
    seen = []

    def policy(_host, addresses):
        seen.extend(addresses)
        return False

    with pytest.raises(TargetRefused):
        await make_client(allow=policy).request("POST", f"http://{host}/")
    plain = "10.0.0.1" if "ffff" in host else host.strip("[]")
    assert seen == [ipaddress.ip_address(plain)]


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "127.1"])
async def test_odd_spellings_of_an_address_reach_the_policy_as_the_address(host, make_client):
    """Resolvers take these for loopback (measured); a policy on the text would not."""
    seen = []

    def policy(_host, addresses):
        seen.extend(addresses)
        return False

    with pytest.raises(TargetRefused):
        await make_client(allow=policy).request("POST", f"http://{host}:1/")
    assert seen == [ipaddress.ip_address("127.0.0.1")]


async def test_the_connection_goes_to_the_address_that_was_checked(serve, make_client, names):
    """One lookup per connect: a name that changes its answer after the check changes nothing (DNS rebinding)."""
    server = await answering(serve)
    names["turncoat.test"] = ["127.0.0.1"]

    def policy(_host, addresses):
        names["turncoat.test"] = ["10.0.0.1"]
        return loopback_only(_host, addresses)

    answer = await make_client(allow=policy).request("POST", f"http://turncoat.test:{server.port}/x")
    assert (answer.status, names["asked"]) == (200, ["turncoat.test"])
    assert f"host: turncoat.test:{server.port}\r\n".encode() in server.requests[0]


async def test_a_policy_that_raises_refuses_the_call(make_client):
    """A fault in the policy is reported to the loop and never lets a call through."""
    faults = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context["exception"]))

    def policy(_host, _addresses):
        raise ZeroDivisionError

    with pytest.raises(ConnectFailed) as caught:
        await make_client(allow=policy).request("POST", "http://127.0.0.1:1/")
    assert caught.value.safety is Safety.NOT_SENT
    assert [type(fault) for fault in faults] == [ZeroDivisionError]


async def test_an_address_that_refuses_gives_way_to_the_next(serve, make_client, names):
    """All answers of the name are tried in order."""
    server = await answering(serve)
    names["two.test"] = ["127.0.0.2", "127.0.0.1"]
    assert (await make_client().request("POST", f"http://two.test:{server.port}")).status == 200


async def test_an_unknown_name_is_not_sent(make_client, names):
    """A lookup that fails is a failed connect."""
    with pytest.raises(ConnectFailed) as caught:
        await make_client().request("POST", "http://nobody.test/")
    assert caught.value.safety is Safety.NOT_SENT


@pytest.mark.parametrize("host", ["a..test", "x" * 70 + ".test"])
async def test_a_name_that_no_resolver_takes_is_not_sent(host, make_client):
    """An empty or overlong label fails in the lookup's encoder, and is a failed connect like any other."""
    with pytest.raises(ConnectFailed) as caught:
        await make_client().request("POST", f"http://{host}/")
    assert caught.value.safety is Safety.NOT_SENT


async def test_a_hanging_lookup_holds_one_thread_per_origin_and_ends_in_time(make_client, monkeypatch):
    """A dead name server costs its callers their connect timeout, and other origins nothing."""
    hang, lookups = threading.Event(), []

    def getaddrinfo(host, *_, **__):
        lookups.append(host)
        hang.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr("placet_rpc.http.connect.socket.getaddrinfo", getaddrinfo)
    client = make_client(limits=HttpLimits(connect_timeout=timedelta(milliseconds=60)))
    target = client.target("http://slow.test/")
    try:
        outcomes = await asyncio.gather(
            *(target.call(b"", timeout_ms=5_000) for _ in range(40)), return_exceptions=True
        )
        assert {type(outcome) for outcome in outcomes} == {ConnectFailed}
        assert lookups == ["slow.test"]
    finally:
        hang.set()


async def test_one_callers_timeout_does_not_end_the_lookup_that_another_waits_for(serve, make_client, monkeypatch):
    """A shared lookup belongs to all who wait for it."""
    found, lookups = threading.Event(), []
    server = await answering(serve)

    def getaddrinfo(host, port, *_, **__):
        lookups.append(host)
        found.wait(30)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr("placet_rpc.http.connect.socket.getaddrinfo", getaddrinfo)
    client = make_client(limits=HttpLimits(connect_timeout=timedelta(milliseconds=400)))
    target = client.target(f"http://slow.test:{server.port}/")
    try:
        first = target.call(b"", timeout_ms=5_000)
        await asyncio.sleep(0.2)  # so that the first's time is up before the second's
        second = target.call(b"", timeout_ms=5_000)
        with pytest.raises(ConnectFailed):
            await first
    finally:
        found.set()
    assert (await second).status == 200
    assert lookups == ["slow.test"]


async def test_a_failed_attempt_ends_no_call_that_another_attempt_can_serve(serve, make_client, monkeypatch):
    """When a freed connection has served one of two waiting calls, one of the two attempts may fail for nothing."""
    lookup, gate, answers = threading.Event(), asyncio.Semaphore(0), iter([True, False, True])

    async def script(peer):
        while True:
            await peer.request()
            await gate.acquire()
            await peer.send(reply())

    def getaddrinfo(_host, port, *_, **__):
        lookup.wait(30)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr("placet_rpc.http.connect.socket.getaddrinfo", getaddrinfo)
    server = await serve(script)
    client = make_client(allow=lambda *_: next(answers))
    target = client.target(f"http://slow.test:{server.port}/")
    lookup.set()
    first = target.call(b"", timeout_ms=5_000)
    await until(lambda: client.in_flight)
    lookup.clear()
    try:
        second, third = target.call(b"", timeout_ms=5_000), target.call(b"", timeout_ms=5_000)
        gate.release()
        await first  # and its connection goes to the second, while two attempts wait for the lookup
    finally:
        lookup.set()
    await until(lambda: server.connections == 2 or third.done())
    gate.release()
    gate.release()
    assert [(await call).status for call in (second, third)] == [200, 200]


async def test_a_handshake_that_hangs_ends_at_the_connect_timeout(serve, make_client):
    """A peer that accepts and says nothing is a failed connect, not a sent call."""

    async def script(peer):
        await peer.gone()

    server = await serve(script)
    client = make_client(limits=HttpLimits(connect_timeout=timedelta(milliseconds=80)))
    with pytest.raises(ConnectFailed) as caught:
        await client.request("POST", server.url.replace("http:", "https:"))
    assert caught.value.safety is Safety.NOT_SENT
    with pytest.raises(CallTimeout) as caught:
        await client.request("POST", server.url.replace("http:", "https:"), timeout=timedelta(milliseconds=30))
    assert caught.value.safety is Safety.NOT_SENT


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for bank.test."""
    folder = tmp_path_factory.mktemp("tls")
    key, chain = folder / "key.pem", folder / "chain.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=bank.test"
    names = ["-addext", "subjectAltName=DNS:bank.test", "-keyout", key, "-out", chain]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    return key, chain


@pytest.fixture
async def tls_server(serve, certificate):
    """A server with that certificate."""
    key, chain = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return await answering(serve, ssl=context)


async def test_tls_checks_the_certificate_and_the_name(tls_server, certificate, make_client, names):
    """A trusted certificate serves its own name; another name, or an unknown issuer, is refused before sending."""
    names["bank.test"] = names["other.test"] = ["127.0.0.1"]
    trusting = make_client(tls=ssl.create_default_context(cafile=certificate[1]))
    for _ in range(2):
        assert (await trusting.request("POST", f"https://bank.test:{tls_server.port}/", body=b"{}")).status == 200
    assert f"host: bank.test:{tls_server.port}\r\n".encode() in tls_server.requests[0]
    for client, host in ((trusting, "other.test"), (make_client(), "bank.test")):
        with pytest.raises(ConnectFailed) as caught:
            await client.request("POST", f"https://{host}:{tls_server.port}/", body=b"{}")
        assert caught.value.safety is Safety.NOT_SENT
    assert len(tls_server.requests) == 2


async def test_a_tls_body_that_only_the_close_delimits_is_lost(serve, certificate, make_client, names):
    """Over TLS a cut looks like an end here, so such a body is not believed."""
    key, chain = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)

    async def script(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")

    server = await serve(script, ssl=context)
    names["bank.test"] = ["127.0.0.1"]
    client = make_client(tls=ssl.create_default_context(cafile=chain))
    with pytest.raises(Exception, match="connection_lost, unknown"):
        await client.request("POST", f"https://bank.test:{server.port}/")
