"""A real ``bentoml serve`` in a process of its own, and what tests read of it.

Every server gets a free port, an environment without this project's and BentoML's variables, and a
file that takes all its output. Waiting is polling: nothing here depends on how fast a machine is.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import orjson
import psutil  # type: ignore[import-untyped]
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
PATIENCE_S = 40.0  # for what must happen at some time, on the slowest machine
POLL_S = 0.02
ROW = [5.1, 3.5, 1.4, 0.2]
BATCH = "/predict/batch"
JSON = {"Content-Type": "application/json"}
TWO_WORKERS = {"BENTOML_CONFIG_OPTIONS": "services.ModelApi.workers=2"}

# Not those that choose kernels, such as OPENBLAS_CORETYPE: what is compared has to be computed
# alike, in the server and in the process of the test.
_FOREIGN = re.compile(
    "(SERVING|AIP|SAGEMAKER|BENTOML|PROMETHEUS|OTEL|LOKY)_.*|(OMP|OPENBLAS|MKL)_NUM_THREADS"
)
_PORT_HOLDERS: list[socket.socket] = []
_WORKER_STARTED = re.compile(r"Started server process \[(\d+)\]")

Result = TypeVar("Result")


def eventually(
    what: str, condition: Callable[[], Result], patience_s: float = PATIENCE_S
) -> Result:
    """Poll until a condition gives something true, and return that."""
    end = time.monotonic() + patience_s
    while not (result := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"never seen: {what}")
        time.sleep(POLL_S)
    return result


def environment(home: Path, settings: Mapping[str, str] | None = None) -> dict[str, str]:
    """Give the environment of a user who has set nothing but the model store and these settings."""
    own = {name: value for name, value in os.environ.items() if not _FOREIGN.fullmatch(name)}
    return own | {"BENTOML_HOME": str(home)} | dict(settings or {})


def run_python(home: Path, *arguments: str, stdin: str = "", folder: Path = ROOT) -> str:
    """Run the project's Python with a model store in a folder, and return what it prints."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment(home),
        input=stdin,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def free_port() -> int:
    """Find a port that nobody listens on, and keep it from all others while these tests run.

    The socket that holds it is bound but does not listen: the system gives its port to nobody who
    asks for any, and a server that reuses addresses, as ours do, can listen beside it.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    _PORT_HOLDERS.append(holder)
    return int(holder.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of the metrics: its name, labels and value."""

    name: str
    labels: dict[str, str]
    value: float


@dataclass(slots=True)
class Server:
    """A running server."""

    port: int
    output: Path
    process: subprocess.Popen[bytes]
    http: httpx.Client = field(init=False)
    _lines: list[dict[str, Any]] = field(init=False, default_factory=list)
    _read: int = field(init=False, default=0)
    _reading: threading.Lock = field(init=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Open a client for it."""
        self.http = httpx.Client(base_url=self.url, timeout=PATIENCE_S)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self, data: object, path: str = "/predict", headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Ask for a prediction, or for many at `BATCH`, on the connection that is kept."""
        return self.http.post(path, json={"data": data}, headers=headers)

    def ask_apart(self, data: object) -> httpx.Response:
        """Ask on a connection of its own, so that any worker may answer."""
        return httpx.post(f"{self.url}/predict", json={"data": data}, timeout=PATIENCE_S)

    def send(
        self, body: str | bytes, path: str = "/predict", headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Send a body as it is, which is said to be JSON."""
        return self.http.post(path, content=body, headers=JSON | dict(headers or {}))

    def raw(self) -> socket.socket:
        """Open a bare connection, for what no HTTP client would send."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)

    def text(self) -> str:
        """Give all output so far."""
        return self.output.read_text()

    def lines(self) -> list[dict[str, Any]]:
        """Give all complete lines of output; each must be JSON."""
        with self._reading, self.output.open("rb") as file:  # from where it was read before
            file.seek(self._read)
            complete, end, _ = file.read().rpartition(b"\n")
            self._lines += [orjson.loads(line) for line in complete.split(b"\n") if line]
            self._read += len(complete + end)
            return list(self._lines)

    def events(self, event: str) -> list[dict[str, Any]]:
        """Give the log lines of one kind of event."""
        return [line for line in self.lines() if line["event"] == event]

    def log_of(self, request_id: str) -> dict[str, Any]:
        """Wait for the one line of a request."""

        def found() -> list[dict[str, Any]]:
            finished = self.events("request.finished")
            return [line for line in finished if line["request_id"] == request_id]

        (line,) = eventually(f"the log line of request {request_id}", found)
        return line

    def metrics(self) -> list[Sample]:
        """Read all metrics."""
        families = text_string_to_metric_families(self.http.get("/metrics").raise_for_status().text)
        return [
            Sample(sample.name, sample.labels, sample.value)
            for family in families
            for sample in family.samples
        ]

    def metric(self, name: str, /, **labels: str) -> float:
        """Sum a metric over all series that have these labels; 0 when there is none."""
        return sum(
            sample.value
            for sample in self.metrics()
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def under_way(self) -> float:
        """Tell how many requests for a prediction are under way."""
        return self.metric("bentoml_service_request_in_progress", endpoint="/predict")

    def waiting(self) -> float:
        """Tell how many rows wait for the model."""
        return self.metric("serving_waiting_rows")

    def started(self) -> int:
        """Tell how many workers have started so far."""
        return len(self.events("Application startup complete."))

    def has_started(self, workers: int) -> None:
        """Wait until so many workers have started since the beginning."""
        eventually(f"{workers} workers", lambda: self.started() >= workers)

    def worker(self) -> int:
        """Tell the process that answers requests now: uvicorn logs its number."""
        return int(_WORKER_STARTED.findall(self.text())[-1])

    def is_ready(self) -> bool:
        """Ask the readiness probe; a server that has ended is a failure."""
        if self.process.poll() is not None:
            raise AssertionError(f"the server has ended:\n{self.text()}")
        try:
            return self.http.get("/readyz", timeout=1).status_code == 200
        except httpx.TransportError:
            return False

    def refuses(self) -> bool:
        """Tell whether nobody listens there any more."""
        with suppress(ConnectionRefusedError), self.raw():
            return False
        return True

    def terminate(self) -> None:
        """Ask it to end."""
        self.process.send_signal(signal.SIGTERM)

    def reload(self) -> None:
        """Ask it to start its workers anew."""
        self.process.send_signal(signal.SIGHUP)

    def ended(self) -> int:
        """Wait for its end; give the exit code."""
        return self.process.wait(PATIENCE_S)


def kill(process: subprocess.Popen[Any]) -> None:
    """End what is left of a server, its workers too; nothing, if it has ended well."""
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(process.pid)
        family = [parent, *parent.children(recursive=True)]
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
    process.wait()


@contextmanager
def running(home: Path, output: Path, root: Path = ROOT, /, **settings: str) -> Iterator[Server]:
    """Run a server with a model store and settings, in the project or in a copy of it.

    Requests are not counted unless a test sets a quota. `AIP_HTTP_PORT` moves its port.
    """
    port = free_port()
    with output.open("wb") as stream:
        process = subprocess.Popen(
            [BIN / "bentoml", "serve", "--port", str(port)],
            cwd=root,
            env=environment(home, {"SERVING_RATE_LIMIT": "off"} | settings),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    server = Server(int(settings.get("AIP_HTTP_PORT", port)), output, process)
    try:
        eventually("a server that is ready", server.is_ready)
        yield server
    finally:
        server.http.close()
        kill(process)


@contextmanager
def serving(home: Path, output: Path, root: Path = ROOT, /, **settings: str) -> Iterator[Server]:
    """Run a server that must end well when it is asked to; all that it wrote must be JSON lines."""
    with running(home, output, root, **settings) as server:
        yield server
        if server.process.poll() is None:
            server.terminate()
        assert server.ended() == 0, server.text()
        for line in server.lines():
            assert list(line)[:3] == ["timestamp", "level", "event"], line


@dataclass(frozen=True, slots=True)
class Refusal:
    """A start that did not come to be."""

    exit_code: int
    complaints: list[str]


def refused(home: Path, **settings: str) -> Refusal:
    """Start a server that must end by itself; complaints are what a person reads on stderr."""
    with subprocess.Popen(
        [BIN / "bentoml", "serve", "--port", str(free_port())],
        cwd=ROOT,
        env=environment(home, settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            _, complaints = process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise AssertionError("the server did not end by itself") from None
        finally:
            kill(process)
    return Refusal(process.returncode, complaints.splitlines())
