"""Tokens that prove which application makes a request: one per request, signed, short-lived, and good once.

    1:KEY_ID:APP:EXPIRES_AT_MS:SESSION:NUMBER:MAC

The MAC is HMAC-SHA256 over the rest, the method and the instance that the request goes to, so a token that was read
on its way opens neither another method nor, where the signer knew it, another instance. It does not cover arguments:
who can change requests on their way is kept out by TLS.
"""

import hmac
import re
from collections import OrderedDict
from collections.abc import Mapping
from datetime import timedelta
from secrets import token_hex

from placet_rpc.clock import SYSTEM_CLOCK, Clock

LIFETIME = timedelta(seconds=30)
SKEW = timedelta(seconds=5)
MAX_SESSIONS = 65_536
REPLAY_WINDOW = 4_096
SECRET_BYTES_MIN = 32
_VERSION = "1"
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_PARTS = 7
_TOKEN_CHARACTERS_MAX = 512


class TokenRefused(Exception):
    """A token proves nothing; the text says why, and never holds the token."""


def secret_key(text: str | bytes) -> bytes:
    """Returns a key's bytes.

    Raises:
        ValueError: it is so short that it could be guessed.
    """
    secret = text.encode() if isinstance(text, str) else text
    if len(secret) < SECRET_BYTES_MIN:
        raise ValueError(f"a secret needs {SECRET_BYTES_MIN} bytes: make one with `openssl rand -base64 32`")
    return secret


def _mac(secret: bytes, claim: str, method: str, instance: str) -> str:
    # A zero byte can't stand in any of the parts, so no two requests have the same text to sign.
    return hmac.digest(secret, f"{claim}\0{method}\0{instance}".encode(), "sha256").hex()


class TokenSigner:
    """Makes an application's tokens.

    Args:
        app: the application.
        key_id: which of the server's keys signs.
        secret: the key, at least `SECRET_BYTES_MIN` bytes.
        lifetime: how long a token is good; it has to cover what a request waits before it is sent.
        clock: where time comes from.

    Raises:
        ValueError: the names have other characters than `A-Z a-z 0-9 _ . -`, or the secret is short.
    """

    def __init__(
        self,
        app: str,
        *,
        key_id: str,
        secret: str | bytes,
        lifetime: timedelta = LIFETIME,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        for name in (app, key_id):
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} can't stand in a token: 1-64 of A-Z a-z 0-9 _ . -")
        self.app = app
        self._secret = secret_key(secret)
        self._before = f"{_VERSION}:{key_id}:{app}:"
        self._session = token_hex(8)
        self._number = 0
        self._lifetime_ms = lifetime // timedelta(milliseconds=1)
        self._wall = clock.wall

    def token(self, method: str, instance: str = "") -> str:
        """Makes a token for one request.

        Args:
            method: with its service, such as `stock/1.reserve`.
            instance: that the request goes to, where it is known.
        """
        self._number += 1
        expires_at_ms = int(self._wall() * 1000) + self._lifetime_ms
        claim = f"{self._before}{expires_at_ms}:{self._session}:{self._number}"
        return f"{claim}:{_mac(self._secret, claim, method, instance)}"


class _Session:
    """The numbers that one signer has used: the highest, and which of those just below it."""

    __slots__ = ("forget_at_ms", "highest", "used")

    def __init__(self) -> None:
        self.highest = 0
        self.used = 0  # bit n: number `highest - n` was seen
        self.forget_at_ms = 0

    def take(self, number: int) -> bool:
        """Notes a number; False if it was seen, or is so old that nobody knows."""
        ahead = number - self.highest
        if ahead > 0:
            self.used = (self.used << min(ahead, REPLAY_WINDOW) | 1) & _WINDOW_MASK
            self.highest = number
            return True
        if -ahead >= REPLAY_WINDOW or self.used >> -ahead & 1:
            return False
        self.used |= 1 << -ahead
        return True


_WINDOW_MASK = (1 << REPLAY_WINDOW) - 1


class TokenVerifier:
    """Checks tokens, each once. Its memory grows with the number of signers, not with that of requests.

    As in IPsec's anti-replay (RFC 4303, 3.4.3), a signer numbers its tokens and a window of `REPLAY_WINDOW` numbers is
    kept per signer, until the last of its tokens has expired. After a restart the window is empty: with
    `bound_only` a token from before is refused nevertheless, if the instance has a new id then.

    Args:
        secrets: by key id; two while a key is being replaced.
        instance: this one's id; tokens for another are refused.
        bound_only: refuse tokens that name no instance, as they might be replayed at another one.
        lifetime: tokens that are good for longer are refused: they would have to be remembered as long.
        skew: how far clocks may differ.
        max_sessions: signers at a time; further ones are refused.
        clock: where time comes from.
    """

    def __init__(
        self,
        secrets: Mapping[str, str | bytes],
        *,
        instance: str = "",
        bound_only: bool = False,
        lifetime: timedelta = LIFETIME,
        skew: timedelta = SKEW,
        max_sessions: int = MAX_SESSIONS,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._secrets = {key_id: secret_key(secret) for key_id, secret in secrets.items()}
        self._instances = (instance,) if bound_only else (instance, "") if instance else ("",)
        self._lifetime_ms = lifetime // timedelta(milliseconds=1)
        self._skew_ms = skew // timedelta(milliseconds=1)
        self._max_sessions = max_sessions
        self._sessions: OrderedDict[tuple[str, str, str], _Session] = OrderedDict()
        self._wall = clock.wall

    def app_of(self, token: str, method: str) -> str:
        """Returns the application that a token proves; the token is used up.

        Raises:
            TokenRefused: it proves nothing.
        """
        parts = token.split(":") if len(token) <= _TOKEN_CHARACTERS_MAX else []
        if len(parts) != _PARTS or parts[0] != _VERSION:
            raise TokenRefused("it has not the form of a token: does the caller's version of placet make others?")
        _, key_id, app, expires_at, session, number, mac = parts
        self._check_mac(token[: -len(mac) - 1], key_id, mac, method)
        # What follows is signed, so it is what a signer wrote.
        expires_at_ms, now_ms = int(expires_at), int(self._wall() * 1000)
        if expires_at_ms + self._skew_ms < now_ms:
            raise TokenRefused("it has expired: compare the clocks of both machines")
        if expires_at_ms - self._skew_ms - self._lifetime_ms > now_ms:
            raise TokenRefused("it is good for longer than this server takes: compare the clocks, and both lifetimes")
        if not self._session((key_id, app, session), now_ms).take(int(number)):
            raise TokenRefused("it was used before, or is far behind its signer's other tokens")
        return app

    def _check_mac(self, claim: str, key_id: str, mac: str, method: str) -> None:
        secret = self._secrets.get(key_id)
        if secret is None:
            raise TokenRefused("its key is not known here")
        given = mac.encode(errors="replace")
        for instance in self._instances:
            if hmac.compare_digest(_mac(secret, claim, method, instance).encode(), given):
                return
        raise TokenRefused("it was signed with another key, for another method or for another instance")

    def _session(self, key: tuple[str, str, str], now_ms: int) -> _Session:
        session = self._sessions.get(key)
        if session is None:
            while self._sessions and next(iter(self._sessions.values())).forget_at_ms < now_ms:
                self._sessions.popitem(last=False)
            if len(self._sessions) >= self._max_sessions:
                raise TokenRefused(f"max_sessions ({self._max_sessions}) signers are known, and none may be forgotten")
            session = self._sessions[key] = _Session()
        # All tokens of the session made until now expire by then, so after it the window says nothing of use.
        session.forget_at_ms = now_ms + self._lifetime_ms + 2 * self._skew_ms + 1
        self._sessions.move_to_end(key)
        return session
