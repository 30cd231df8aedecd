"""All settings of the service: read once from the environment, checked, frozen.

A wrong value stops the start with one line per mistake, which never repeats a secret. BentoML's own
settings (port, workers) stay in ``configuration.yaml``; the port that a platform names in the
environment of its containers wins.
"""

import os
import re
from enum import StrEnum
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import joblib
from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from serving.keys import OFF, ApiKey, checked_quota, read_keys, read_keys_in_file

PREFIX = "SERVING_"
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
ENV_FILE = ".env"


class LogLevel(StrEnum):
    """The least severe events that are logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How log lines look: JSON for machines, console for people, on a terminal that is."""

    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


class Runtime(StrEnum):
    """What computes a model: its estimator, its compiled form, or the latter where it is proven."""

    AUTO = "auto"
    SKLEARN = "sklearn"
    ONNX = "onnx"


class Follow(StrEnum):
    """Which versions are promoted without anybody who says so."""

    OFF = "off"
    LATEST = "latest"


def _origin(value: str) -> str:
    """Check that a value is an origin as browsers send it (RFC 6454, 6.2), or ``*`` for any."""
    if value != "*" and not re.fullmatch(r"https?://[^/\s]+", value):
        raise ValueError(f"{value!r} is no origin such as https://example.org")
    return value


def _network(value: str) -> str:
    """Check that a value is an IP address or a network in CIDR notation."""
    ip_network(value, strict=False)
    return value


MEMORY = "memory://"
STDOUT = "stdout"
ALL, NONE = "all", "none"


def _log_target(value: str) -> str:
    """Take the names that are no files in any case."""
    return value.lower() if value.lower() in {OFF, STDOUT} else value


def _dialects(value: tuple[str, ...]) -> tuple[str, ...]:
    """Check that these may be names of dialects; which there are the service knows."""
    for name in value:
        if not re.fullmatch(r"[a-z0-9]+", name):
            raise ValueError(f"{name!r} is no name of a dialect such as v2")
    if not value or (len(value) > 1 and {ALL, NONE} & set(value)):
        raise ValueError(f"name dialects, or {ALL} or {NONE} alone")
    return value


# NAME, NAME:VERSION or NAME@ALIAS, as BentoML's model store has the first two.
TAG = r"^[a-z0-9][a-z0-9_.-]*(:[A-Za-z0-9][A-Za-z0-9_.-]*|@[a-z][a-z0-9_-]*)?$"


def _named_once(value: tuple[str, ...]) -> tuple[str, ...]:
    """Check that no model is there twice: of each, one version answers."""
    names = [name_of(tag) for tag in value]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name} is named twice")
    return value


def name_of(tag: str) -> str:
    """Give the name of a model without its version or alias."""
    return re.split("[:@]", tag, maxsplit=1)[0]


# None, or an absolute path without what means something in a route's template or ends a path. Nor
# with a percent sign: paths are looked at when they are decoded.
ROUTE = r"^(/[^\s{}?#%]*)?$"


class Settings(BaseSettings):
    """What an operator can set; the variable is the field's name in capitals after ``SERVING_``.

    What a platform sets has the platform's name: a field with an alias, which is its own name, as
    an alias gets no prefix.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=ENV_FILE, extra="ignore", frozen=True, env_ignore_empty=True
    )

    model: Annotated[str, Field(pattern=TAG)] = Field(
        "iris:latest",
        description="tag of the model in the BentoML model store: `NAME`, `NAME:VERSION` or "
        "`NAME@ALIAS`",
    )
    models: Annotated[
        tuple[Annotated[str, Field(pattern=TAG)], ...], NoDecode, AfterValidator(_named_once)
    ] = Field(
        (),
        description="tags of several models, comma-separated, instead of the one; the first is "
        "what is meant where none is named",
    )
    state_file: Path | None = Field(
        None,
        description="file in which `python -m serving.versions` keeps what is to be served; "
        "`serving.json` beside the model store, if it is not set",
    )
    follow: Follow = Field(
        Follow.OFF,
        description="`latest`, to promote newly trained versions that are no worse; or `off`",
    )
    follow_margin: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="by how much the score of such a version may be worse",
    )
    start_timeout_s: float = Field(
        60.0,
        gt=0,
        le=3600,
        description="seconds that a new worker has to be ready, before the old ones stay",
    )
    runtime: Runtime = Field(
        Runtime.AUTO,
        description="what computes the model: `sklearn`, its estimator; `onnx`, its compiled form; "
        "`auto`, the latter where training has proven it",
    )
    request_timeout_s: float = Field(
        10.0, gt=0, le=3600, description="deadline of a request in seconds, answered with 504"
    )
    max_body_bytes: int = Field(1_048_576, ge=1, description="largest accepted request body")
    max_batch_rows: int = Field(1000, ge=2, le=1_000_000, description="most rows in one request")
    max_queue_rows: int = Field(10_000, ge=1, description="most rows that wait for the model")
    drain_delay_s: float = Field(
        0.0,
        ge=0,
        le=3600,
        description="seconds after SIGTERM in which the server still takes connections, unready",
    )
    drain_timeout_s: float = Field(
        30.0, gt=0, le=3600, description="seconds that requests under way then have to be answered"
    )
    api_keys: Annotated[tuple[ApiKey, ...], NoDecode, BeforeValidator(read_keys)] = Field(
        (), description="keys that clients have to send one of: NAME:SHA256 or NAME:SHA256:QUOTA"
    )
    api_keys_file: Annotated[tuple[ApiKey, ...], NoDecode, BeforeValidator(read_keys_in_file)] = (
        Field((), description="a file with more of them, one a line")
    )
    metrics_need_key: bool = Field(False, description="whether `/metrics` needs a key too")
    rate_limit: Annotated[str, AfterValidator(checked_quota)] = Field(
        "100/minute",
        description="predictions that a client may ask for in a moving window, such as "
        "`100/minute`; `off` for no limit",
    )
    rate_limit_storage: SecretStr = Field(
        SecretStr(MEMORY),
        description="where clients are counted: `memory://`, or `redis://HOST:PORT`",
    )
    cache_entries: int = Field(
        10_000, ge=0, description="most predictions that are kept for identical inputs; 0 for none"
    )
    cache_ttl_s: float = Field(
        300.0, ge=0, description="seconds for which a prediction is kept; 0 for not at all"
    )
    explain: bool = Field(True, description="whether predictions are explained to who asks")
    explain_max_rows: int = Field(
        100, ge=1, le=1_000_000, description="most rows in one request that asks for explanations"
    )
    prediction_log: Annotated[str, AfterValidator(_log_target)] = Field(
        "off", description="`stdout`, or a file that gets a JSON line for each prediction"
    )
    drift: bool = Field(
        True, description="whether requests are counted for comparison with training"
    )
    drift_features: int = Field(
        30,
        ge=1,
        le=200,
        description="most features compared with training, the most important first",
    )
    try_page: bool = Field(True, description="whether `/try`, a page to try the models, is served")
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
    dialects: Annotated[tuple[str, ...], NoDecode, AfterValidator(_dialects)] = Field(
        (ALL,),
        description="protocols spoken beside its own, comma-separated, or `all` or `none`",
    )
    sagemaker_bind_to_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        validation_alias="sagemaker_bind_to_port",
        description="port to listen on, as SageMaker names it",
    )
    aip_http_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        validation_alias="aip_http_port",
        description="port to listen on, as Vertex AI names it",
    )
    aip_predict_route: str = Field(
        "",
        pattern=ROUTE,
        validation_alias="aip_predict_route",
        description="path that Vertex AI posts instances to, such as /predictions",
    )
    aip_health_route: str = Field(
        "",
        pattern=ROUTE,
        validation_alias="aip_health_route",
        description="path that Vertex AI asks whether the service is ready, such as /health",
    )
    log_level: LogLevel = Field(LogLevel.INFO, description="`debug`, `info`, `warning` or `error`")
    log_format: LogFormat = Field(
        LogFormat.AUTO,
        description="`json`, `console` for people, or `auto`: `console` on a terminal, else `json`",
    )

    @field_validator("models", "cors_origins", "trusted_proxies", "dialects", mode="before")
    @classmethod
    def _split(cls, value: object, info: ValidationInfo) -> object:
        """Split a comma-separated variable."""
        if not isinstance(value, str):
            return value
        parts = tuple(part.strip() for part in value.split(",") if part.strip())
        if info.field_name == "models" and not parts:  # it would not be said which are served
            raise ValueError("names no model")
        return parts

    @field_validator("api_keys_file")
    @classmethod
    def _agrees(cls, value: tuple[ApiKey, ...], info: ValidationInfo) -> tuple[ApiKey, ...]:
        """Refuse a key given twice, and two quotas for one name."""
        keys = (*info.data.get("api_keys", ()), *value)
        if len({key.digest for key in keys}) < len(keys):
            raise ValueError("a key is given twice")
        if len({(key.name, key.quota) for key in keys}) > len({key.name for key in keys}):
            raise ValueError("a name has two quotas")
        return value

    @field_validator("rate_limit_storage")
    @classmethod
    def _known_storage(cls, value: SecretStr) -> SecretStr:
        url = value.get_secret_value()
        try:
            known = re.fullmatch(r"memory://|rediss?://.+", url) and urlsplit(url).port != 0
        except ValueError:  # its message may have a part of the password
            known = False
        if not known:
            raise ValueError("no storage such as memory:// or redis://localhost:6379")
        return value

    @property
    def tags(self) -> tuple[str, ...]:
        """The models that are served, as they are named; the first where none is."""
        return self.models or (self.model,)

    @property
    def state_path(self) -> Path:
        """Where the desired state is kept."""
        home = os.environ.get("BENTOML_HOME")
        store = Path(home) if home else Path.home() / "bentoml"
        return self.state_file or store / "serving.json"

    @property
    def platform_port(self) -> int | None:
        """The port that a platform wants to find the service on, if one does."""
        return self.sagemaker_bind_to_port or self.aip_http_port

    @property
    def clients(self) -> tuple[ApiKey, ...]:
        """All keys; without any, the service is open to all."""
        return (*self.api_keys, *self.api_keys_file)

    @property
    def limits_clients(self) -> bool:
        """Whether any client has a quota."""
        quotas = {key.quota or self.rate_limit for key in self.clients} or {self.rate_limit}
        return quotas != {OFF}

    @property
    def keeps_predictions(self) -> bool:
        """Whether predictions are kept for identical inputs."""
        return self.cache_entries > 0 and self.cache_ttl_s > 0

    @property
    def counts_alone(self) -> bool:
        """Whether each worker counts clients for itself."""
        return self.limits_clients and self.rate_limit_storage.get_secret_value() == MEMORY


def load_settings() -> Settings:
    """Read the settings, or end the process with a line for each wrong variable.

    Raises:
        SystemExit: with lines that name the variable, what is wrong, and what is accepted.
    """
    try:
        given = {**dotenv_values(ENV_FILE), **os.environ}
    except UnicodeDecodeError:
        raise SystemExit(f"{ENV_FILE}: it is no UTF-8") from None
    for name in ("API_KEYS", "API_KEYS_FILE"):
        if given.get(PREFIX + name) == "":  # a secret that did not arrive opens nothing
            raise SystemExit(f"{PREFIX}{name}: is set, but empty; unset it to serve without keys")
    try:
        settings = Settings()
    except ValidationError as exc:
        raise SystemExit("\n".join(_complaints(exc))) from None
    if settings.models and "model" in settings.model_fields_set:
        raise SystemExit(f"{PREFIX}MODELS: {PREFIX}MODEL is set too; name all models in one")
    return settings


def _complaints(exc: ValidationError) -> list[str]:
    lines = []
    for error in exc.errors(include_url=False, include_input=False):
        name = str(error["loc"][0])
        meaning = Settings.model_fields[name].description
        problem = error["msg"].removeprefix("Value error, ")
        lines.append(f"{variable_of(name)}: {problem} ({meaning})")
    return lines


def variable_of(field: str) -> str:
    """Give the variable that sets a field."""
    alias = Settings.model_fields[field].validation_alias
    return (PREFIX + field if alias is None else field).upper()


def unknown_variables() -> list[str]:
    """Name the ``SERVING_`` variables that mean nothing here: most likely misspelt."""
    known = {variable_of(name) for name in Settings.model_fields}
    given = {*dotenv_values(ENV_FILE), *os.environ}
    return sorted(name for name in given if name.startswith(PREFIX) and name not in known)


def metrics_folder() -> Path | None:
    """Tell where the worker processes of this server keep their metrics, if they do."""
    folder = os.environ.get(METRICS_FOLDER)
    return Path(folder) if folder else None
