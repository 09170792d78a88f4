"""Settings of the server, from `PLACET_*` variables; nothing below this module reads any.

Relations between limits are checked here, once, at start: each broken one is one message with its remedy.
"""

import ipaddress
import re
import socket
from datetime import timedelta
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from placet_contract import limits
from placet_contract.ids import matches_branch_id
from placet_coordinator.dispatch.policy import TargetPolicy

DEFAULT_DATABASE_URL = "sqlite:///./placet.db"
TOKEN_LENGTH_ADVISED = 16
"""A shorter token can be guessed: the server says so at start."""
LEASE_MIN = timedelta(seconds=2)

_SECONDS = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?")
_UNITS = {"ms": 0.001, None: 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}


class SettingsRefused(Exception):
    """The settings can't be used; each line of the message names a variable, the rule and the remedy."""


class Settings(BaseSettings):
    """Everything that may be configured. A time is a number of seconds, or one with ms, s, m, h or d: `10s`, `7d`.

    Attributes:
        database_url: postgresql://…, mysql://… or sqlite:///…; holds a password, so it is shown masked only.
        allowed_targets: hosts that may be called; see `TargetPolicy`.
        server_tokens: bearer tokens, comma-separated, any of which opens the API; needed off loopback.
        tcp_port: where the same calls are served over the RPC's TCP transport; 0 takes a free port, -1 serves none.
        tcp_certificate, tcp_key: files with the certificate and key of the TCP transport; needed off loopback.
        node_id: this coordinator's name; one that stays the same over restarts takes its transactions up at once.
        public_url: where other nodes and clients reach this one, if not at host and port.
        lease: how long this node's ownership lasts without renewal.
        retention: how long a finished transaction is remembered.
        branches_max: branches of one transaction.
        participant_concurrency: calls in flight at one participant.
        participant_connections_max: connections in all; see `placet_rpc.HttpLimits`.
        open_transactions_max: open transactions in memory; beyond it begins are shed.
        journal_begins_max: writes on their way beyond which begins are shed.
        journal_queue_max: writes on their way beyond which everything is shed.
        drain: how long a stopping server waits for requests under way.
    """

    model_config = SettingsConfigDict(env_prefix="PLACET_", extra="ignore", frozen=True)

    database_url: SecretStr = SecretStr(DEFAULT_DATABASE_URL)
    host: str = "127.0.0.1"
    port: int = Field(default=8470, ge=0, le=65_535)
    public_url: str = ""
    allowed_targets: str = "loopback"
    tcp_port: int = Field(default=0, ge=-1, le=65_535)
    tcp_certificate: str = ""
    tcp_key: str = ""
    server_tokens: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    node_id: str = ""
    lease: timedelta = timedelta(seconds=10)
    retention: timedelta = timedelta(milliseconds=limits.RETENTION_MS)
    branches_max: int = Field(default=limits.BRANCHES_MAX, ge=1, le=10_000)
    participant_concurrency: int = Field(default=128, ge=1, le=10_000)
    open_transactions_max: int = Field(default=100_000, ge=1)
    journal_begins_max: int = Field(default=8_192, ge=1)
    journal_queue_max: int = Field(default=16_384, ge=1)
    drain: timedelta = timedelta(seconds=10)
    log_format: Literal["auto", "console", "json"] = "auto"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("lease", "retention", "drain", mode="before")
    @classmethod
    def _read_time(cls, value: Any) -> Any:
        return parse_time(value) if isinstance(value, str) else value

    @field_validator("server_tokens", mode="before")
    @classmethod
    def _split_tokens(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part for part in (each.strip() for each in value.split(",")) if part)
        return value

    @field_validator("server_tokens")
    @classmethod
    def _check_tokens(cls, tokens: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for token in tokens:
            text = token.get_secret_value()
            if not text.isascii() or not text.isprintable() or " " in text:
                raise ValueError(
                    "a token holds visible ASCII characters; "
                    "make one: python -c 'import secrets; print(secrets.token_urlsafe())'"
                )
        return tokens

    @field_validator("allowed_targets")
    @classmethod
    def _check_targets(cls, text: str) -> str:
        TargetPolicy.parse(text)
        return text

    @field_validator("node_id")
    @classmethod
    def _check_node_id(cls, text: str) -> str:
        if text and not matches_branch_id(text):
            raise ValueError("a node's name is 1-64 of A-Z a-z 0-9 _ - .")
        return text

    @model_validator(mode="after")
    def _check_relations(self) -> Self:
        broken = [message for is_broken, message in self._relations() if is_broken]
        if broken:
            raise ValueError("\n".join(broken))
        return self

    def _relations(self) -> list[tuple[bool, str]]:
        return [
            (
                not is_loopback(self.host) and not self.server_tokens,
                f"PLACET_HOST: {self.host} is reachable from outside: set PLACET_SERVER_TOKENS, or bind 127.0.0.1",
            ),
            (
                self.lease < LEASE_MIN,
                f"PLACET_LEASE: at least {LEASE_MIN.total_seconds():g}s, for it is renewed five times before it ends",
            ),
            (
                self.retention < 10 * self.lease,
                "PLACET_RETENTION: at least ten times PLACET_LEASE, or answers are forgotten before they are asked for",
            ),
            (
                self.retention > timedelta(milliseconds=limits.TIME_MS_MAX),
                "PLACET_RETENTION: at most 365d, the longest time on the wire",
            ),
            (
                self.journal_begins_max > self.journal_queue_max,
                "PLACET_JOURNAL_BEGINS_MAX: at most PLACET_JOURNAL_QUEUE_MAX, or begins take the decisions' places",
            ),
            (self.drain < timedelta(0), "PLACET_DRAIN: not negative"),
            (
                bool(self.tcp_certificate) != bool(self.tcp_key),
                "PLACET_TCP_CERTIFICATE, PLACET_TCP_KEY: a certificate needs its key, and a key its certificate",
            ),
        ]

    @property
    def node_name(self) -> str:
        """The node's id: as configured, else host name and port, which a restart keeps."""
        if self.node_id:
            return self.node_id
        host = re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname())
        return f"{host[:58]}-{self.port}"

    @property
    def base_url(self) -> str:
        """Where this node is reached."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.public_url or f"http://{host}:{self.port}"

    @property
    def serves_tcp(self) -> bool:
        """Whether the TCP transport is served: not off loopback without TLS, where anybody could read along."""
        return self.tcp_port >= 0 and (is_loopback(self.host) or bool(self.tcp_certificate))

    def tcp_url(self, port: int) -> str:
        """Where the TCP transport is reached, at the same host as the HTTP API."""
        host = urlsplit(self.base_url).netloc.rpartition(":")[0] or urlsplit(self.base_url).netloc
        return f"{'tcps' if self.tcp_certificate else 'tcp'}://{host}:{port}"

    @property
    def shown_database_url(self) -> str:
        """The database's URL without its password and options."""
        return masked(self.database_url.get_secret_value())

    @property
    def tokens(self) -> tuple[str, ...]:
        """The bearer tokens; never to be shown."""
        return tuple(token.get_secret_value() for token in self.server_tokens)


def load_settings(**given: Any) -> Settings:
    """Read the settings from the environment; arguments that are not None take precedence.

    Raises:
        SettingsRefused: some can't be used.
    """
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as refused:
        raise SettingsRefused("\n".join(_message(error) for error in refused.errors())) from None


def _message(error: Any) -> str:
    text = str(error["msg"]).removeprefix("Value error, ")
    if not error["loc"]:
        return text  # a relation: it names its variables itself
    # The value itself is left out: it may be a secret.
    return f"PLACET_{str(error['loc'][0]).upper()}: {text}"


def parse_time(text: str) -> timedelta:
    """Return the time that `10`, `10s`, `250ms`, `2m`, `1.5h` or `7d` stands for; a bare number is seconds.

    Raises:
        ValueError: it is none of these.
    """
    match = _SECONDS.fullmatch(text.strip())
    if match is None:
        raise ValueError("a time is a number with ms, s, m, h or d, such as 10s or 7d; a bare number is seconds")
    return timedelta(seconds=float(match[1]) * _UNITS[match[2]])


def is_loopback(host: str) -> bool:
    """Say whether a host to bind is reachable from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def masked(url: str) -> str:
    """Return a URL without password, query and fragment, fit for a log."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    name = user.partition(":")[0]
    return f"{parts.scheme}://{name}{at}{host}{parts.path}"
