"""Settings of the SDK, from the environment."""

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What a service says about its coordinator and itself: `PLACET_URL`, `PLACET_TOKEN`, `PLACET_SELF_URL`.

    Attributes:
        url: the coordinator's base URL.
        token: sent as bearer token to the coordinator; needed as soon as it binds anything but loopback.
        self_url: the base URL under which others reach this service; announced to the coordinator.
    """

    model_config = SettingsConfigDict(env_prefix="PLACET_", extra="ignore", frozen=True)

    url: str = "http://127.0.0.1:8470"
    token: SecretStr | None = None
    self_url: str | None = None
