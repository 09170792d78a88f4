"""What a sample service is told at its start, by environment variables."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Settings of a sample service: `SAMPLE_NAME`, `SAMPLE_DATABASE`.

    Attributes:
        name: a bank's name, under which it announces itself; two banks are two names.
        database: the service's own SQLite file; made if it is not there.
    """

    model_config = SettingsConfigDict(env_prefix="SAMPLE_", frozen=True)

    name: str = Field(default="bank", pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    database: Path = Path("sample.db")
