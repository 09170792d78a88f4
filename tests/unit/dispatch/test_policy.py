"""Which hosts may be called: judged by the text at the edge, and by every address that a name resolves to."""

import ipaddress
import socket

import pytest

from placet_contract.vocabulary import Operation, Outcome
from placet_coordinator.core.rule import RuleBroken
from placet_coordinator.dispatch.policy import ACCEPTED_KEPT_MAX, TargetPolicy
from unit.dispatch.conftest import a_branch
from unit.rpc.conftest import reply


def accepts(policy: TargetPolicy, url: str) -> bool:
    """Say whether the edge lets a URL through."""
    try:
        policy.check(url, "target")
    except RuleBroken:
        return False
    return True


def allows(policy: TargetPolicy, host: str, *addresses: str) -> bool:
    """Say whether a connection to a name that resolved to these may be made."""
    return policy.allows(host, [ipaddress.ip_address(each) for each in addresses])


LOOPBACK = TargetPolicy.parse("loopback")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:7001/debit",
        "http://127.9.9.9/",
        "https://localhost/x",
        "http://LOCALHOST:80",
        "http://localhost.:80",
        "http://bank.localhost:8000/x",
        "http://[::1]:9",
        "http://[::ffff:127.0.0.1]/",
    ],
)
def test_loopback_is_the_default_and_is_let_through(url):
    """What is this machine by its text may be called out of the box."""
    assert accepts(LOOPBACK, url)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/",
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://0.0.0.0/",
        "http://[::]/",
        "http://[fe80::1%25eth0]/",
        "http://[::ffff:10.0.0.1]/",
        "http://[64:ff9b::a00:1]/",
        "http://localhost.example.org/",
        "http://notlocalhost/",
        "http://127.0.0.1.example.org/",
        "http://127.0.0.1@example.org/",
        "http://localhost:80@example.org:80/",
    ],
)
def test_everything_else_is_refused_by_default(url):
    """The refusal names the host, the list, and how to change it."""
    with pytest.raises(RuleBroken) as broken:
        LOOPBACK.check(url, "branches[0].target")
    assert broken.value.field == "branches[0].target"
    assert "PLACET_ALLOWED_TARGETS" in broken.value.rule


@pytest.mark.parametrize(
    "host", ["2130706433", "127.1", "0x7f000001", "0177.0.0.1", "0x7f.1", "017700000001", "127.0.0.1.", "127.000.0.1"]
)
def test_other_spellings_of_loopback_are_no_way_around_a_list(host):
    """Resolvers read them as 127.0.0.1: a policy without loopback refuses them, by text or by address."""
    policy = TargetPolicy.parse("example.org,10.0.0.0/8")
    assert not accepts(policy, f"http://{host}/") or not allows(policy, host, "127.0.0.1")
    assert not allows(policy, host, "127.0.0.1")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "::1",
        "::ffff:127.0.0.1",
        "0.0.0.0",
        "::",
        "169.254.169.254",
        "fe80::1",
        "224.0.0.1",
        "255.255.255.255",
        "fd00:ec2::254",
        "64:ff9b::127.0.0.1",
        "2002:7f00:1::",
        "::127.0.0.1",
        "fe80::5efe:7f00:1",
    ],
)
def test_listed_name_may_not_lead_to_this_machine_or_to_link_local(address):
    """Whoever rules a listed name's zone does not rule what the coordinator's own network would answer."""
    policy = TargetPolicy.parse("bank.example.org,*.shop.example.org")
    assert accepts(policy, "http://bank.example.org/")
    assert not allows(policy, "bank.example.org", address)
    assert not allows(policy, "a.shop.example.org", address)
    assert not allows(policy, "bank.example.org", "93.184.216.34", address)
    assert allows(policy, "bank.example.org", "93.184.216.34", "2606:2800:220:1::1")


def test_name_that_is_not_listed_may_lead_nowhere():
    """With loopback alone a name has to be this machine's by its text, and by all of its addresses."""
    assert allows(LOOPBACK, "bank.localhost", "127.0.0.1", "::1")
    assert not allows(LOOPBACK, "bank.localhost", "127.0.0.1", "10.0.0.1")
    assert not allows(LOOPBACK, "localhost", "93.184.216.34")
    assert not allows(LOOPBACK, "localhost")


def test_name_is_judged_by_its_addresses_where_networks_are_listed():
    """A name may be any that leads into a listed network, and nowhere else."""
    policy = TargetPolicy.parse("10.0.0.0/8")
    assert accepts(policy, "http://bank.internal:8000/")
    assert allows(policy, "bank.internal", "10.1.2.3")
    assert not allows(policy, "bank.internal", "10.1.2.3", "11.1.2.3")
    assert not accepts(policy, "http://11.1.2.3/")
    assert accepts(policy, "http://[::ffff:10.1.2.3]/")


def test_port_of_an_entry_binds_the_url():
    """`host:port` lets that port through alone; the scheme's own port counts where none is written."""
    policy = TargetPolicy.parse("bank.example.org:8443,127.0.0.1:7001,[::1]:7002,shop.example.org:443")
    assert accepts(policy, "https://bank.example.org:8443/")
    assert not accepts(policy, "https://bank.example.org/")
    assert accepts(policy, "http://127.0.0.1:7001/")
    assert not accepts(policy, "http://127.0.0.1:7002/")
    assert accepts(policy, "http://[::1]:7002/")
    assert accepts(policy, "https://shop.example.org/")
    assert not accepts(policy, "http://shop.example.org/")


def test_address_with_a_port_opens_no_name():
    """A name would get around the port: where it leads is known at connect, and there the port is not."""
    policy = TargetPolicy.parse("10.0.0.5:8000")
    assert accepts(policy, "http://10.0.0.5:8000/")
    assert allows(policy, "10.0.0.5", "10.0.0.5")
    assert not accepts(policy, "http://bank.internal:9000/")
    assert not allows(TargetPolicy.parse("10.0.0.5:8000,11.0.0.0/8"), "bank.internal", "10.0.0.5")


def test_suffix_stands_for_names_below_it():
    """`*.suffix` is neither the suffix itself nor a name that merely ends so."""
    policy = TargetPolicy.parse("*.example.org")
    assert accepts(policy, "http://a.example.org/")
    assert accepts(policy, "http://A.B.EXAMPLE.ORG/")
    assert not accepts(policy, "http://example.org/")
    assert not accepts(policy, "http://badexample.org/")


@pytest.mark.parametrize("entry", ["*", "a*b.example.org", "http://x", "user@host", "x/y", "host?x", "a:b:c", "*.*.x"])
def test_entry_that_is_none_of_the_forms_is_refused(entry):
    """The operator is told which one, at start."""
    with pytest.raises(ValueError, match="allowed targets"):
        TargetPolicy.parse(f"loopback,{entry}")


def test_empty_list_lets_nothing_through():
    """An operator may forbid every URL."""
    assert not accepts(TargetPolicy.parse(""), "http://127.0.0.1/")


def test_verdict_that_is_kept_is_that_of_one_authority():
    """What was accepted once is not asked again, and never lends its verdict to another host or port."""
    policy = TargetPolicy.parse("127.0.0.1:7001")
    for number in range(2 * ACCEPTED_KEPT_MAX):
        accepts(policy, f"http://127.0.0.1:7001/{number}")
    assert not accepts(policy, "http://127.0.0.1:7003/")
    branches = [a_branch("http://127.0.0.1:7001/debit"), a_branch({Operation.CONFIRM: "http://127.0.0.1:7003/x"})]
    with pytest.raises(RuleBroken) as broken:
        policy.check_branches(branches)
    assert broken.value.field == "branches[1].target.confirm"


def test_kept_verdicts_are_limited():
    """Clients can't make the coordinator remember ever more hosts."""
    for number in range(2 * ACCEPTED_KEPT_MAX):
        assert accepts(LOOPBACK, f"http://n{number}.localhost:80/")
    assert len(LOOPBACK._accepted) <= ACCEPTED_KEPT_MAX


def test_services_names_are_no_urls():
    """A target `service/action` is checked where its instances are announced."""
    TargetPolicy.parse("").check_branches([a_branch("bank/debit")])


async def test_address_is_checked_at_the_connection_itself(make_dispatch, serve, monkeypatch):
    """A name that passed the edge, and by now leads to an address that is not allowed, is not called."""
    asked = []

    async def script(peer):
        asked.append(await peer.request())
        await peer.send(reply())

    server = await serve(script)

    def rebound(host, port, **_options):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebound)
    dispatch = await make_dispatch(allowed="bank.example.org")
    end = await dispatch.call(f"http://bank.example.org:{server.port}/debit")
    assert (end.verdict.outcome, end.sent) == (Outcome.UNKNOWN, False)
    assert "not allowed" in end.verdict.detail
    assert not asked


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0x7f000001"])
async def test_spelling_of_loopback_that_only_a_resolver_reads_is_judged_by_its_address(make_dispatch, serve, host):
    """The system's resolver turns it into 127.0.0.1, and that is what the policy is asked about."""

    async def script(peer):
        await peer.request()
        await peer.send(reply())

    server = await serve(script)
    refused = await (await make_dispatch(allowed="10.0.0.0/8")).call(f"http://{host}:{server.port}/x")
    allowed = await (await make_dispatch()).call(f"http://{host}:{server.port}/x")
    assert (refused.sent, allowed.verdict.outcome) == (False, Outcome.DONE)
