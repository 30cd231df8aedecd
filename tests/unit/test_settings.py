"""Settings: read once, checked, frozen, and refused in a way that an operator understands."""

from hashlib import sha256
from pathlib import Path

import joblib
import pytest
from pydantic import SecretStr, ValidationError

from serving.keys import ApiKey
from serving.settings import (
    LogFormat,
    LogLevel,
    Settings,
    load_settings,
    metrics_folder,
    unknown_variables,
    variable_of,
)

ALICE, BOB = sha256(b"wonderland").hexdigest(), sha256(b"builder").hexdigest()
KEYS = f"alice:{ALICE}"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder without a file of settings."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal() -> list[str]:
    """Give the lines with which the settings are refused."""
    with pytest.raises(SystemExit) as caught:
        load_settings()
    return str(caught.value).splitlines()


def test_nothing_need_be_set() -> None:
    assert load_settings().model_dump() == {
        "model": "iris:latest",
        "models": (),
        "state_file": None,
        "follow": "off",
        "follow_margin": 0.0,
        "start_timeout_s": 60.0,
        "runtime": "auto",
        "request_timeout_s": 10.0,
        "max_body_bytes": 1_048_576,
        "max_batch_rows": 1000,
        "max_queue_rows": 10_000,
        "drain_delay_s": 0.0,
        "drain_timeout_s": 30.0,
        "api_keys": (),
        "api_keys_file": (),
        "metrics_need_key": False,
        "rate_limit": "100/minute",
        "rate_limit_storage": SecretStr("memory://"),
        "cache_entries": 10_000,
        "cache_ttl_s": 300.0,
        "explain": True,
        "explain_max_rows": 100,
        "prediction_log": "off",
        "drift": True,
        "drift_features": 30,
        "try_page": True,
        "threads": joblib.cpu_count(),
        "cors_origins": (),
        "trusted_proxies": (),
        "dialects": ("all",),
        "sagemaker_bind_to_port": None,
        "aip_http_port": None,
        "aip_predict_route": "",
        "aip_health_route": "",
        "log_level": LogLevel.INFO,
        "log_format": LogFormat.AUTO,
    }


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("SERVING_MODEL", "mail", "mail"),
        ("SERVING_MODEL", "mail_2.x-y:v1.0_A-b", "mail_2.x-y:v1.0_A-b"),
        ("SERVING_REQUEST_TIMEOUT_S", "0.5", 0.5),
        ("SERVING_REQUEST_TIMEOUT_S", "3600", 3600.0),
        ("SERVING_MAX_BATCH_ROWS", "2", 2),
        ("SERVING_THREADS", "3", 3),
        ("SERVING_CORS_ORIGINS", "https://a.example", ("https://a.example",)),
        (
            "SERVING_CORS_ORIGINS",
            " https://a.example , http://b.example:8080,",
            ("https://a.example", "http://b.example:8080"),
        ),
        ("SERVING_CORS_ORIGINS", "*", ("*",)),
        (
            "SERVING_TRUSTED_PROXIES",
            "192.0.2.1, 10.0.0.0/8, ::1, 2001:db8::/32",
            ("192.0.2.1", "10.0.0.0/8", "::1", "2001:db8::/32"),
        ),
        ("SERVING_API_KEYS", f"alice:{ALICE}", (ApiKey("alice", bytes.fromhex(ALICE)),)),
        (
            "SERVING_API_KEYS",
            f" alice:{ALICE}:5/2second ,\n\nb.-_2:{BOB}:off, # a remark, with:a comma\n",
            (
                ApiKey("alice", bytes.fromhex(ALICE), "5/2second"),
                ApiKey("b.-_2", bytes.fromhex(BOB), "off"),
            ),
        ),
        ("SERVING_METRICS_NEED_KEY", "true", True),
        ("SERVING_RATE_LIMIT", "OFF", "off"),
        ("SERVING_PREDICTION_LOG", "OFF", "off"),
        ("SERVING_PREDICTION_LOG", "Stdout", "stdout"),
        ("SERVING_PREDICTION_LOG", "logs/Stdout", "logs/Stdout"),
        ("SERVING_RATE_LIMIT", "1000 per hour", "1000 per hour"),
        ("SERVING_RATE_LIMIT_STORAGE", "redis://h:1/0", SecretStr("redis://h:1/0")),
        ("SERVING_RATE_LIMIT_STORAGE", "rediss://:p@h:1", SecretStr("rediss://:p@h:1")),
        ("SERVING_DIALECTS", "none", ("none",)),
        ("SERVING_DIALECTS", "v2, invocations", ("v2", "invocations")),
        ("SAGEMAKER_BIND_TO_PORT", "8080", 8080),
        ("AIP_HTTP_PORT", "65535", 65535),
        (
            "AIP_PREDICT_ROUTE",
            "/v1/endpoints/1/models/2:predict",
            "/v1/endpoints/1/models/2:predict",
        ),
        ("AIP_HEALTH_ROUTE", "/", "/"),
        ("SERVING_LOG_LEVEL", "error", LogLevel.ERROR),
        ("SERVING_LOG_FORMAT", "console", LogFormat.CONSOLE),
    ],
)
def test_a_variable_sets_the_field_of_its_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, value: object
) -> None:
    monkeypatch.setenv(variable, text)
    field = variable.removeprefix("SERVING_").lower()
    assert getattr(load_settings(), field) == value


@pytest.mark.parametrize(
    ("variable", "text", "accepted"),
    [
        ("SERVING_MODEL", "Iris", "tag of the model in the BentoML model store"),
        ("SERVING_MODEL", "../iris", "tag of the model"),
        ("SERVING_MODEL", "iris:", "tag of the model"),
        ("SERVING_MODEL", "iris:latest\n", "tag of the model"),
        ("SERVING_MODELS", " , ", "names no model"),
        ("SERVING_REQUEST_TIMEOUT_S", "0", "greater than 0"),
        ("SERVING_REQUEST_TIMEOUT_S", "nan", "less than or equal to 3600"),
        ("SERVING_REQUEST_TIMEOUT_S", "10s", "a valid number"),
        ("SERVING_MAX_BODY_BYTES", "0", "greater than or equal to 1"),
        ("SERVING_MAX_BODY_BYTES", "1MB", "a valid integer"),
        ("SERVING_MAX_BATCH_ROWS", "1", "greater than or equal to 2"),
        ("SERVING_MAX_BATCH_ROWS", "1000001", "less than or equal to 1000000"),
        ("SERVING_THREADS", "0", "greater than or equal to 1"),
        ("SERVING_THREADS", "1.5", "a valid integer"),
        ("SERVING_CORS_ORIGINS", "https://a.example, b.example", "'b.example' is no origin"),
        ("SERVING_TRUSTED_PROXIES", "10.0.0.0/33", "addresses or networks"),
        ("SERVING_TRUSTED_PROXIES", "::1, proxy.example", "addresses or networks"),
        ("SERVING_API_KEYS", " , \n # none\n", "there is no key in it"),
        ("SERVING_API_KEYS", f"{KEYS},{BOB}", "entry 2: it has to begin with a name"),
        ("SERVING_API_KEYS", f"{KEYS}:often", "entry 1: 'often' is no quota"),
        ("SERVING_API_KEYS_FILE", "/nowhere/keys", "can't read /nowhere/keys"),
        ("SERVING_API_KEYS_FILE", "/", "can't read /"),
        ("SERVING_METRICS_NEED_KEY", "perhaps", "valid boolean"),
        ("SERVING_RATE_LIMIT", "often", "no quota such as 100/minute"),
        ("SERVING_RATE_LIMIT_STORAGE", "redis://localhost:port", "memory:// or redis://"),
        ("SERVING_RATE_LIMIT_STORAGE", "localhost:6379", "memory:// or redis://"),
        ("SERVING_RATE_LIMIT_STORAGE", "redis://", "memory:// or redis://"),
        ("SERVING_RATE_LIMIT_STORAGE", "memory://x", "memory:// or redis://"),
        ("SERVING_DIALECTS", "V2", "'V2' is no name of a dialect"),
        ("SERVING_DIALECTS", "v2,all", "all or none alone"),
        ("SERVING_DIALECTS", "none,v2", "all or none alone"),
        ("SERVING_DIALECTS", ",", "name dialects"),
        ("SAGEMAKER_BIND_TO_PORT", "http", "a valid integer"),
        ("SAGEMAKER_BIND_TO_PORT", "0", "greater than or equal to 1"),
        ("AIP_HTTP_PORT", "65536", "less than or equal to 65535"),
        ("AIP_PREDICT_ROUTE", "predict", "such as /predictions"),
        ("AIP_PREDICT_ROUTE", "/models/{model}", "such as /predictions"),
        ("AIP_HEALTH_ROUTE", "/health?deep", "such as /health"),
        ("AIP_HEALTH_ROUTE", "/my health", "such as /health"),
        ("AIP_HEALTH_ROUTE", "/my%20health", "such as /health"),
        ("AIP_HEALTH_ROUTE", "/health#now", "such as /health"),
        ("SERVING_LOG_LEVEL", "INFO", "'debug', 'info', 'warning' or 'error'"),
        ("SERVING_LOG_FORMAT", "xml", "'auto', 'json' or 'console'"),
    ],
)
def test_a_wrong_value_stops_the_start_with_one_line_that_tells_what_is_accepted(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, accepted: str
) -> None:
    monkeypatch.setenv(variable, text)
    (line,) = refusal()
    assert line.startswith(f"{variable}: ")
    assert accepted in line


def test_every_wrong_value_has_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVING_THREADS", "none")
    monkeypatch.setenv("SERVING_LOG_FORMAT", "xml")
    assert [line.partition(":")[0] for line in refusal()] == [
        "SERVING_THREADS",
        "SERVING_LOG_FORMAT",
    ]


def test_every_setting_says_what_it_means() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_an_empty_variable_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        if name not in {"api_keys", "api_keys_file"}:
            monkeypatch.setenv(variable_of(name), "")
    assert load_settings() == Settings()


@pytest.mark.parametrize("variable", ["SERVING_API_KEYS", "SERVING_API_KEYS_FILE"])
@pytest.mark.parametrize("in_file", [False, True])
def test_keys_that_are_set_but_empty_do_not_open_the_service(
    monkeypatch: pytest.MonkeyPatch, folder: Path, variable: str, *, in_file: bool
) -> None:
    if in_file:
        (folder / ".env").write_text(f"{variable}=\n")
    else:
        monkeypatch.setenv(variable, "")
    (line,) = refusal()
    assert line.startswith(f"{variable}: is set, but empty")


def keys_in(folder: Path, content: str | bytes) -> str:
    """Write a file of keys; give its path."""
    file = folder / "keys"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(file)


def test_keys_come_from_the_environment_and_from_a_file_together(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setenv("SERVING_API_KEYS", KEYS)
    content = f"# of the team\nbob:{BOB}:5/second  # since May\n"
    monkeypatch.setenv("SERVING_API_KEYS_FILE", keys_in(folder, content))
    assert [(key.name, key.quota) for key in load_settings().clients] == [
        ("alice", None),
        ("bob", "5/second"),
    ]


@pytest.mark.parametrize("content", ["", "\n# alice:later\n", b"\xff\xfe"])
def test_a_file_without_a_key_does_not_open_the_service(
    monkeypatch: pytest.MonkeyPatch, folder: Path, content: str | bytes
) -> None:
    monkeypatch.setenv("SERVING_API_KEYS_FILE", keys_in(folder, content))
    assert refusal()[0].startswith("SERVING_API_KEYS_FILE: ")


@pytest.mark.parametrize(
    ("entries", "complaint"),
    [
        (f"bob:{ALICE}", "a key is given twice"),
        (f"alice:{BOB}:5/second", "a name has two quotas"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(
    monkeypatch: pytest.MonkeyPatch, folder: Path, entries: str, complaint: str
) -> None:
    monkeypatch.setenv("SERVING_API_KEYS", KEYS)
    monkeypatch.setenv("SERVING_API_KEYS_FILE", keys_in(folder, entries))
    (line,) = refusal()
    assert complaint in line
    monkeypatch.delenv("SERVING_API_KEYS_FILE")
    monkeypatch.setenv("SERVING_API_KEYS", f"{KEYS},{entries}")
    (line,) = refusal()
    assert complaint in line


def test_a_name_may_have_two_keys_with_one_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVING_API_KEYS", f"alice:{ALICE}:5/second,alice:{BOB}:5/second")
    assert len(load_settings().clients) == 2


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("SERVING_API_KEYS", "hunter2-in-the-clear"),
        ("SERVING_API_KEYS", "alice:hunter2-in-the-clear"),
        ("SERVING_API_KEYS", f"{KEYS},hunter2-in-the-clear"),
        ("SERVING_RATE_LIMIT_STORAGE", "postgres://:hunter2-in-the-clear@localhost"),
    ],
)
def test_a_complaint_never_repeats_a_secret(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str
) -> None:
    monkeypatch.setenv(variable, text)
    (line,) = refusal()
    assert line.startswith(f"{variable}: ")
    assert "in-the-clear" not in line


def test_a_complaint_about_a_file_of_keys_never_repeats_one(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setenv("SERVING_API_KEYS_FILE", keys_in(folder, "hunter2-in-the-clear"))
    (line,) = refusal()
    assert "in-the-clear" not in line


def test_the_storage_is_not_shown_by_what_prints_the_settings() -> None:
    settings = Settings(rate_limit_storage=SecretStr("redis://:hunter2@localhost"))
    assert "hunter2" not in repr(settings) + str(settings.model_dump())


@pytest.mark.parametrize(
    ("rate_limit", "keys", "limited"),
    [
        ("100/minute", None, True),
        ("off", None, False),
        ("off", f"alice:{ALICE}", False),
        ("off", f"alice:{ALICE}:off", False),
        ("off", f"alice:{ALICE}:5/second", True),
        ("100/minute", f"alice:{ALICE}:off", False),
        ("100/minute", f"alice:{ALICE}:off,bob:{BOB}", True),
    ],
)
def test_clients_are_limited_only_where_somebody_has_a_quota(
    monkeypatch: pytest.MonkeyPatch, rate_limit: str, keys: str | None, limited: bool
) -> None:
    if keys:
        monkeypatch.setenv("SERVING_API_KEYS", keys)
    settings = Settings(rate_limit=rate_limit)
    assert settings.limits_clients is settings.counts_alone is limited
    elsewhere = Settings(rate_limit=rate_limit, rate_limit_storage=SecretStr("redis://h"))
    assert (elsewhere.limits_clients, elsewhere.counts_alone) == (limited, False)


@pytest.mark.parametrize(
    ("entries", "ttl_s", "keeps"), [(1, 0.5, True), (0, 0.5, False), (1, 0, False)]
)
def test_predictions_are_kept_unless_there_is_no_room_or_no_time_for_them(
    entries: int, ttl_s: float, keeps: bool
) -> None:
    assert Settings(cache_entries=entries, cache_ttl_s=ttl_s).keeps_predictions is keeps


def test_a_file_beside_the_service_counts_less_than_the_environment(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    (folder / ".env").write_text("SERVING_MODEL=from-file\nSERVING_THREADS=3\nOTHER=1\n")
    monkeypatch.setenv("SERVING_MODEL", "from-environment")
    settings = load_settings()
    assert (settings.model, settings.threads) == ("from-environment", 3)


def test_a_wrong_value_in_the_file_is_refused_too(folder: Path) -> None:
    (folder / ".env").write_text("SERVING_THREADS=many\n")
    assert refusal()[0].startswith("SERVING_THREADS: ")


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().threads = 5  # type: ignore[misc]


def test_variables_that_mean_nothing_are_found_where_they_stand(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    (folder / ".env").write_text("SERVING_HANG_DELAY_S=20\nSERVING_THREADS=3\nOTHER=1\n")
    for name in ("SERVING_TIMEOUT", "SERVING_MODLE", "SERVING_MODEL", "SERVINGMODEL"):
        monkeypatch.setenv(name, "5")
    monkeypatch.setenv("SERVING_AIP_HTTP_PORT", "5")
    assert unknown_variables() == [
        "SERVING_AIP_HTTP_PORT",
        "SERVING_HANG_DELAY_S",
        "SERVING_MODLE",
        "SERVING_TIMEOUT",
    ]
    assert load_settings().aip_http_port is None


@pytest.mark.parametrize(
    ("sagemaker", "vertex", "port"), [(1, 2, 1), (None, 2, 2), (None, None, None)]
)
def test_the_port_is_the_one_that_a_platform_names(
    sagemaker: int | None, vertex: int | None, port: int | None
) -> None:
    settings = Settings(sagemaker_bind_to_port=sagemaker, aip_http_port=vertex)
    assert settings.platform_port == port


@pytest.mark.parametrize(
    ("text", "folder_name"), [("/a/b", Path("/a/b")), ("", None), (None, None)]
)
def test_the_folder_of_the_metrics_is_known_if_there_is_one(
    monkeypatch: pytest.MonkeyPatch, text: str | None, folder_name: Path | None
) -> None:
    if text is None:
        monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR")
    else:
        monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", text)
    assert metrics_folder() == folder_name


def test_a_file_that_is_no_text_stops_the_start_with_one_line(folder: Path) -> None:
    (folder / ".env").write_bytes(b"SERVING_MODEL=\xff\xfe\n")
    assert refusal() == [".env: it is no UTF-8"]


def test_one_model_is_named_or_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVING_MODELS", "iris@champion, wine:latest,loans")
    assert load_settings().tags == ("iris@champion", "wine:latest", "loans")
    monkeypatch.setenv("SERVING_MODEL", "iris")
    assert refusal() == ["SERVING_MODELS: SERVING_MODEL is set too; name all models in one"]


@pytest.mark.parametrize("value", ["iris,iris:v2", "iris@champion,iris", "iris@", "@champion", "I"])
def test_models_that_can_not_be_served_together_are_refused(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("SERVING_MODELS", value)
    assert len(refusal()) == 1
