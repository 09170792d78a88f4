"""Who is let through: by token, by certificate, by the rules of the list."""

import pytest

from placet_rpc.client import Client
from placet_rpc.context import CallContext
from placet_rpc.errors import CallRefused, Safety
from placet_rpc.governance.access import ANYONE, LOCAL, MAX_RULES, Access, AccessList, AccessRule
from placet_rpc.governance.authentication import Authentication, CertificateProver, Signing, TokenProver
from placet_rpc.governance.tokens import TokenSigner, TokenVerifier
from placet_rpc.inproc import InprocRoute
from placet_rpc.server import Server
from unit.rpc.governance.echo import Echo, EchoHere, Filtered

SECRET = "a secret of thirty-two bytes or so, for tests"


def context(*identity, is_local=False):
    return CallContext(identity=identity, is_local=is_local)


def tokens(**options):
    return TokenProver(TokenVerifier({"k1": SECRET}, **options))


def signing(app="order", secret=SECRET):
    return Signing(TokenSigner(app, key_id="k1", secret=secret))


def client_of(*filters, client_filters=()):
    """A client of a server with filters, in one process: what travels is the same as over a wire."""
    server = Server(filters=filters, app="echo")
    server.expose(Echo)(EchoHere())
    return Client(Filtered(InprocRoute(server), *client_filters), app="said to be order")


def test_the_first_rule_that_names_the_method_decides():
    """An earlier rule goes before a later one, however exact that is."""
    rules = AccessList(
        [
            AccessRule("stock/1.reserve", ("app:order",)),
            AccessRule("stock/*", ("app:order", "app:report", "spiffe://example.org/*")),
            AccessRule("*.drop", ()),
        ],
        otherwise_allowed=False,
    )
    assert rules.admits("stock/1.reserve", context("app:order"))
    assert not rules.admits("stock/1.reserve", context("app:report"))
    assert rules.admits("stock/2.peek", context("app:report"))
    assert rules.admits("stock/2.peek", context("x", "spiffe://example.org/a/b"))
    assert not rules.admits("stock/2.peek", context("spiffe://example.com/a"))
    assert not rules.admits("pay/1.drop", context("app:order"))
    assert not rules.admits("pay/1.peek", context("app:order"))


def test_identities_are_compared_as_a_whole():
    """Neither a part of a name nor a character with a meaning elsewhere opens anything."""
    rules = AccessList([AccessRule("a/1.b", ("app:order", "urn:x?y[z]*"))])
    assert not rules.admits("a/1.b", context("app:order2", "xapp:order", "app:orde"))
    assert rules.admits("a/1.b", context("urn:x?y[z]"))
    assert not rules.admits("a/1.b", context("urn:xAyz"))


def test_local_and_anyone_ask_for_no_proof():
    """`local` is where the connection comes from, `*` is everybody."""
    rules = AccessList([AccessRule("a/1.near", (LOCAL,)), AccessRule("a/1.open", (ANYONE,))])
    assert rules.admits("a/1.near", context(is_local=True))
    assert not rules.admits("a/1.near", context("local"))
    assert rules.admits("a/1.open", context())


def test_introspection_is_for_this_machine_until_a_rule_says_otherwise():
    """Every list ends with that rule, even one that lets everybody through."""
    rules = AccessList([])
    name = "placet.introspection/1.stats"
    assert not rules.admits(name, context("app:ops"))
    assert rules.admits(name, context(is_local=True))
    rules.replace([AccessRule("placet.introspection/*", ("app:ops",))])
    assert rules.admits(name, context("app:ops"))
    assert not rules.admits(name, context(is_local=True))


def test_rules_have_a_limit_and_a_refused_list_changes_nothing():
    """Too many rules are an error, and the list that was there goes on."""
    rules = AccessList([AccessRule("a/1.b", ("app:order",))])
    with pytest.raises(ValueError, match="more than 1000"):
        rules.replace([AccessRule("*")] * (MAX_RULES + 1))
    assert not rules.admits("a/1.b", context())


async def test_a_signed_call_is_known_by_its_application_and_no_other_name():
    """What a token proves takes the place of what the caller says."""
    client = client_of(Authentication([tokens()]), client_filters=[signing()])
    assert await client.reference(Echo).who() == ["order", "app:order"]


@pytest.mark.parametrize("client_filters", [[], [signing(secret=SECRET + "x")]], ids=["without", "wrong"])
async def test_without_a_good_token_nothing_runs(client_filters):
    """A missing token and a wrong one are refused, for good."""
    client = client_of(Authentication([tokens()]), client_filters=client_filters)
    with pytest.raises(CallRefused) as caught:
        await client.reference(Echo).who()
    assert (caught.value.reason, caught.value.safety) == ("unauthenticated", Safety.NOT_EXECUTED)
    assert caught.value.push_back_ms == -1


async def test_where_proof_is_optional_a_name_alone_is_worth_nothing():
    """A caller without proof comes through as nobody; a wrong proof is refused all the same."""
    optional = Authentication([tokens()], required=False)
    assert await client_of(optional).reference(Echo).who() == [""]
    with pytest.raises(CallRefused, match="signed with another key"):
        await client_of(optional, client_filters=[signing(secret=SECRET + "x")]).reference(Echo).who()


async def test_each_attempt_of_a_call_has_a_token_of_its_own():
    """A call that is sent again is no replay."""

    class Twice:
        async def invoke(self, call, proceed):
            await proceed(call)
            return await proceed(call)

    client = client_of(Authentication([tokens()]), client_filters=[Twice(), signing()])
    assert await client.reference(Echo).say("x") == "x"


async def test_a_certificate_proves_the_application_it_is_mapped_to():
    """TLS has checked it; what remains is whose it is."""
    uri = "spiffe://example.org/order"
    prover = CertificateProver({uri: "order"})

    class Call:
        context = CallContext(identity=("spiffe://example.org/x", uri))

    proof = prover.proof_of(Call)
    assert (proof.app, proof.identity) == ("order", ("spiffe://example.org/x", uri, "app:order"))
    Call.context = CallContext(identity=("spiffe://example.org/x",))
    assert prover.proof_of(Call) is None


async def test_the_list_refuses_by_proven_identity():
    """One application is let through and the other is told what to look at."""
    filters = (Authentication([tokens()]), Access(AccessList([AccessRule("echo/1.say", ("app:order",))])))
    assert await client_of(*filters, client_filters=[signing()]).reference(Echo).say("x") == "x"
    with pytest.raises(CallRefused, match=r"echo/1.say is not for app:report: see the server's access list") as caught:
        await client_of(*filters, client_filters=[signing("report")]).reference(Echo).say("x")
    assert caught.value.reason == "forbidden"


def test_an_authentication_needs_a_way_to_prove():
    """A list of provers that is empty by mistake is noticed at the start."""
    with pytest.raises(ValueError, match="nobody through"):
        Authentication([])
