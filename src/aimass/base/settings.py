"""The settings of a process, read from ``AIMASS_*`` environment variables in one place."""

from functools import cache
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Everything a deployment may set; ``AIMASS_HOME``, ``AIMASS_MAX_UPLOAD_MB`` and so on."""

    model_config = SettingsConfigDict(env_prefix="AIMASS_", frozen=True)

    home: Path = Field(
        default_factory=lambda: Path.home() / ".aimass",
        description="Where models, builds and the registry live.",
    )
    default_model: str = Field("whisper-base", description="The model used when none is named.")
    registry_url: str | None = Field(
        None, description="MLflow server or database; SQLite under the home when not set."
    )
    max_upload_mb: int = Field(1024, gt=0, description="Largest accepted file, in megabytes.")
    max_duration_s: float = Field(6 * 3600, gt=0, description="Longest accepted audio, seconds.")
    max_channels: int = Field(16, gt=0, description="Most channels that are mixed or split.")
    min_bytes_per_second: float = Field(
        100,
        ge=0,
        description="Audio over ten minutes with fewer bytes than this for each of its seconds "
        "is refused as a decompression bomb; the lowest speech codecs need several hundred.",
    )
    workers: int | None = Field(
        None, gt=0, description="Recognitions at once; by default from the number of cores."
    )
    max_waiting: int = Field(64, gt=0, description="Requests that may wait before 429.")
    max_models: int = Field(8, gt=0, description="Models that stay loaded at once.")
    upload_timeout_s: float = Field(
        600, gt=0, description="Longest time that sending one file may take, seconds."
    )
    request_timeout_s: float = Field(
        4 * 3600, gt=0, description="Longest time that one request may take, seconds."
    )


@cache
def settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
