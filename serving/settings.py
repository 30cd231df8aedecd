"""All settings of the service: read once from the environment, checked, frozen.

The only room that reads or writes ``os.environ``. A wrong value stops the start with one line per
mistake. BentoML's own settings (port, workers) stay in ``configuration.yaml``.
"""

import os
import re
from enum import StrEnum
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated

import joblib
from pydantic import AfterValidator, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX = "SERVING_"


class LogLevel(StrEnum):
    """The least severe events that are logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How log lines look: JSON for machines, console for people."""

    JSON = "json"
    CONSOLE = "console"


def _origin(value: str) -> str:
    """Check that a value is an origin as browsers send it (RFC 6454, 6.2), or ``*`` for any."""
    if value != "*" and not re.fullmatch(r"https?://[^/\s]+", value):
        raise ValueError(f"{value!r} is no origin such as https://example.org")
    return value


def _network(value: str) -> str:
    """Check that a value is an IP address or a network in CIDR notation."""
    ip_network(value, strict=False)
    return value


class Settings(BaseSettings):
    """What an operator can set; the variable is the field's name in capitals after ``SERVING_``."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True
    )

    model: str = Field(
        "iris:latest",
        pattern=r"^[a-z0-9][a-z0-9_.-]*(:[A-Za-z0-9][A-Za-z0-9_.-]*)?$",
        description="tag of the model in the BentoML model store",
    )
    request_timeout_s: float = Field(
        10.0, gt=0, le=3600, description="deadline of a request in seconds, answered with 504"
    )
    max_body_bytes: int = Field(1_048_576, ge=1, description="largest accepted request body")
    max_batch_rows: int = Field(
        1000, ge=2, le=1_000_000, description="most rows in one `/predict/batch`"
    )
    threads: int = Field(
        default_factory=joblib.cpu_count,
        ge=1,
        description="threads that BLAS, OpenMP and joblib may use",
    )
    cors_origins: Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], NoDecode] = Field(
        (), description="origins that browsers may call from, comma-separated"
    )
    trusted_proxies: Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], NoDecode] = (
        Field((), description="addresses or networks whose `X-Forwarded-For` is believed")
    )
    log_level: LogLevel = Field(LogLevel.INFO, description="`debug`, `info`, `warning` or `error`")
    log_format: LogFormat = Field(LogFormat.JSON, description="`json`, or `console` for people")

    @field_validator("cors_origins", "trusted_proxies", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """Split a comma-separated variable."""
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value


def load_settings() -> Settings:
    """Read the settings, or end the process with a line for each wrong variable.

    Raises:
        SystemExit: with lines that name the variable, what is wrong, and what is accepted.
    """
    try:
        return Settings()
    except ValidationError as exc:
        raise SystemExit("\n".join(_complaints(exc))) from None


def _complaints(exc: ValidationError) -> list[str]:
    lines = []
    for error in exc.errors(include_url=False, include_input=False):
        name = str(error["loc"][0])
        meaning = Settings.model_fields[name].description
        problem = error["msg"].removeprefix("Value error, ")
        lines.append(f"{PREFIX}{name.upper()}: {problem} ({meaning})")
    return lines


def unknown_variables() -> list[str]:
    """Name the ``SERVING_`` variables that mean nothing here: most likely misspelt."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    return sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)


def prepare_process(settings: Settings, bentoml_config: Path) -> None:
    """Pass on what libraries and worker processes read from the environment themselves.

    What the operator has set stays. Nothing here is read before BentoML starts its workers, except
    the thread limits, which reach the libraries in the workers alone.
    """
    threads = str(settings.threads)
    for name, value in {
        "BENTOML_CONFIG": str(bentoml_config.resolve()),
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "LOKY_MAX_CPU_COUNT": threads,
    }.items():
        os.environ.setdefault(name, value)
    forbid_usage_reports()
    # uvicorn believes X-Forwarded-For from these alone; its own default is every local process.
    os.environ["FORWARDED_ALLOW_IPS"] = ",".join(settings.trusted_proxies)


def forbid_usage_reports() -> None:
    """Keep BentoML from reporting its use to its makers, unless the operator has decided."""
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")


def pin_model(tag: str) -> None:
    """Fix the model's version for the workers of this server, those started later among them."""
    os.environ[f"{PREFIX}MODEL"] = tag


def metrics_folder() -> Path | None:
    """Tell where the worker processes of this server keep their metrics, if they do."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return Path(folder) if folder else None
