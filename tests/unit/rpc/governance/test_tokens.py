"""What a token proves, and all the ways in which it proves nothing."""

import random
from datetime import timedelta

import pytest

from placet_rpc.governance.tokens import REPLAY_WINDOW, TokenRefused, TokenSigner, TokenVerifier
from virtual_time import VirtualClock

SECRET = "a secret of thirty-two bytes or so, for tests"
METHOD = "stock/1.reserve"


@pytest.fixture
def clock():
    """Time that both sides share."""
    return VirtualClock()


def signer(clock, app="order", secret=SECRET, **options):
    return TokenSigner(app, key_id="k1", secret=secret, clock=clock, **options)


def verifier(clock, **options):
    return TokenVerifier({"k1": SECRET}, clock=clock, **options)


def test_a_token_proves_the_application_once(clock):
    """The second use of the same token is a replay."""
    checks, token = verifier(clock), signer(clock).token(METHOD)
    assert checks.app_of(token, METHOD) == "order"
    with pytest.raises(TokenRefused, match="used before"):
        checks.app_of(token, METHOD)


def test_a_token_opens_no_other_method(clock):
    """What was signed for one method is refused at another."""
    with pytest.raises(TokenRefused, match="another method"):
        verifier(clock).app_of(signer(clock).token(METHOD), "stock/1.drop")


def test_a_token_for_one_instance_is_refused_at_another(clock):
    """A bound token is good at its instance alone; one that names none is good at any, unless those are refused."""
    here = verifier(clock, instance="a")
    assert here.app_of(signer(clock).token(METHOD, "a"), METHOD) == "order"
    assert here.app_of(signer(clock).token(METHOD), METHOD) == "order"
    strict = verifier(clock, instance="a", bound_only=True)
    for checks, instance in ((here, "b"), (strict, "")):
        with pytest.raises(TokenRefused, match="another instance"):
            checks.app_of(signer(clock).token(METHOD, instance), METHOD)


def test_a_token_expires_and_none_is_good_for_longer_than_the_server_takes(clock):
    """Both ends of a token's life are checked, give or take the skew."""
    checks = verifier(clock, lifetime=timedelta(seconds=30), skew=timedelta(seconds=5))
    late, longer = signer(clock).token(METHOD), signer(clock, lifetime=timedelta(seconds=60)).token(METHOD)
    with pytest.raises(TokenRefused, match="longer than this server takes"):
        checks.app_of(longer, METHOD)
    clock.turn(34)
    assert checks.app_of(late, METHOD) == "order"
    clock.turn(2)
    with pytest.raises(TokenRefused, match="expired"):
        checks.app_of(signer(clock, lifetime=timedelta(seconds=-6)).token(METHOD), METHOD)


@pytest.mark.parametrize("place", range(7))
def test_a_token_that_was_changed_anywhere_is_refused(clock, place):
    """Each part is covered by the signature."""
    parts = signer(clock).token(METHOD).split(":")
    parts[place] = ("0" if parts[place][0] != "0" else "1") + parts[place][1:]
    with pytest.raises(TokenRefused):
        verifier(clock).app_of(":".join(parts), METHOD)


@pytest.mark.parametrize("text", ["", "x", ":" * 6, "1:k1:order:1:2:3:é", "1:" * 400, "1:k1:order:x:y:z:"])
def test_nonsense_is_refused_as_a_token(clock, text):
    """No text is more than a refusal."""
    with pytest.raises(TokenRefused):
        verifier(clock).app_of(text, METHOD)


def test_a_refusal_never_shows_the_token(clock):
    """Texts of refusals may be logged."""
    token = signer(clock, secret=SECRET + "other").token(METHOD)
    with pytest.raises(TokenRefused) as caught:
        verifier(clock).app_of(token, METHOD)
    assert token.rpartition(":")[2] not in str(caught.value)


def test_tokens_may_arrive_in_any_order_within_the_window(clock):
    """Each is taken once, whatever the order in which the network brings them."""
    made = signer(clock)
    tokens = [made.token(METHOD) for _ in range(REPLAY_WINDOW)]
    random.Random(3).shuffle(tokens)
    checks = verifier(clock)
    assert {checks.app_of(token, METHOD) for token in tokens} == {"order"}
    for token in tokens:
        with pytest.raises(TokenRefused):
            checks.app_of(token, METHOD)


def test_a_token_far_behind_the_others_is_refused(clock):
    """What the window no longer covers might be a replay, so it counts as one."""
    made, checks = signer(clock), verifier(clock)
    old = made.token(METHOD)
    for _ in range(REPLAY_WINDOW):
        checks.app_of(made.token(METHOD), METHOD)
    with pytest.raises(TokenRefused, match="far behind"):
        checks.app_of(old, METHOD)


def test_signers_are_forgotten_once_their_tokens_have_expired(clock):
    """The limit of signers is one of signers at a time; a signer that comes too many is refused, not a known one."""
    checks = verifier(clock, max_sessions=2)
    known = [signer(clock) for _ in range(2)]
    tokens = [one.token(METHOD) for one in known]
    for token in tokens:
        checks.app_of(token, METHOD)
    with pytest.raises(TokenRefused, match="max_sessions"):
        checks.app_of(signer(clock).token(METHOD), METHOD)
    checks.app_of(known[0].token(METHOD), METHOD)
    clock.turn(41)
    assert checks.app_of(signer(clock).token(METHOD), METHOD) == "order"
    for token in tokens:  # a session may be forgotten only when this holds without it
        with pytest.raises(TokenRefused, match="expired"):
            checks.app_of(token, METHOD)


def test_a_key_is_replaced_without_an_interruption(clock):
    """While both keys are known, tokens of both are taken."""
    checks = TokenVerifier({"k1": SECRET, "k2": SECRET + "new"}, clock=clock)
    new = TokenSigner("order", key_id="k2", secret=SECRET + "new", clock=clock)
    assert checks.app_of(new.token(METHOD), METHOD) == checks.app_of(signer(clock).token(METHOD), METHOD) == "order"
    with pytest.raises(TokenRefused, match="not known"):
        verifier(clock).app_of(new.token(METHOD), METHOD)


def test_short_secrets_and_strange_names_are_refused_at_once(clock):
    """A secret that could be guessed, or a name that would break the form, never signs."""
    with pytest.raises(ValueError, match="openssl rand"):
        signer(clock, secret="short")
    with pytest.raises(ValueError, match="openssl rand"):
        TokenVerifier({"k1": "short"})
    with pytest.raises(ValueError, match="can't stand in a token"):
        signer(clock, app="a:b")
