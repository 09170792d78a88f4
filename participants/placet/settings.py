"""Settings of the SDK, from the environment."""

from typing import Literal

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What a service says about its coordinator and itself: `PLACET_URL`, `PLACET_TOKEN`, `PLACET_SELF_URL`, ….

    Attributes:
        url: the coordinator's base URL.
        token: sent as bearer token to the coordinator; needed as soon as it binds anything but loopback.
        self_url: the base URL under which others reach this service; announced to the coordinator.
        transport: `auto` calls over the built-in RPC's multiplexed TCP transport whoever offers it, the others over
            HTTP; `http` never uses TCP, for networks where a proxy stands between.
        self_tcp_port: where this process offers the TCP transport; 0 takes a free port, -1 offers none.
    """

    model_config = SettingsConfigDict(env_prefix="PLACET_", extra="ignore", frozen=True)

    url: str = "http://127.0.0.1:8470"
    token: SecretStr | None = None
    self_url: str | None = None
    transport: Literal["auto", "http"] = "auto"
    self_tcp_port: int = 0
