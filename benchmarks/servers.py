"""A server under measurement: what it is, and how it is installed, started, asked and stopped.

Each has an environment of its own, since the frameworks pin each other's dependencies apart. All
find the model at ``BENCH_MODEL_PATH``.
"""

import http.client
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

from benchmarks.load import Target

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
START_SECONDS = 90.0
STOP_SECONDS = 30.0
TOLERANCE = 1e-12

Answer = tuple[str, dict[str, float]]


def read_answer(document: Any) -> Answer:  # noqa: ANN401 (any JSON)
    """Read the label and the probabilities from an answer of this project's shape."""
    return document["prediction"], document["probabilities"]


@dataclass(frozen=True)
class Server:
    """A server: how it is started, where it listens and how it is asked."""

    name: str
    title: str
    command: str  # {port} is filled in; programs are those of the environment's bin folder
    port: int
    environment: Path
    packages: tuple[str, ...]  # whose versions the report shows
    folder: Path = HERE
    variables: Mapping[str, str] = field(default_factory=dict)  # {model} is filled in
    requirements: Path | None = None  # installed into the environment when they changed
    path: str = "/predict"  # {model_name} is filled in: the store's
    ready: str = "/readyz"
    body: str = '{"data": [%s]}'
    headers: Mapping[str, str] = field(default_factory=dict)
    read: Callable[[Any], Answer] = read_answer
    is_variant: bool = False  # measured with 16 clients alone

    @property
    def target(self) -> Target:
        """What a load needs to know."""
        return Target(f"http://127.0.0.1:{self.port}{self.path}", self.body, self.headers)

    def arguments(self) -> list[str]:
        """Give the start command, with the program's full path."""
        program, *rest = self.command.format(port=self.port).split()
        return [str(self.environment / "bin" / program), *rest]

    def python(self, *arguments: str, **options: Any) -> str:  # noqa: ANN401 (subprocess's own)
        """Run the environment's Python and return what it prints."""
        command = [str(self.environment / "bin" / "python"), *arguments]
        return str(subprocess.check_output(command, text=True, **options))

    def versions(self) -> str:
        """Tell the versions of Python and of the packages that matter, for the report."""
        script = (
            "import platform, sys, importlib.metadata as m\n"
            "print('Python', platform.python_version(), end='')\n"
            "for name in sys.argv[1:]: print(',', name, m.version(name), end='')"
        )
        return self.python("-c", script, *self.packages)


def install(server: Server) -> None:
    """Make a peer's environment, when its requirements are not those that it was made with."""
    if server.requirements is None:
        if not server.environment.exists():
            sys.exit(f"{server.environment} is missing: install the project first")
        return
    wanted, stamp = server.requirements.read_text(), server.environment / "requirements.txt"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"installing {server.requirements.name} ...", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(server.environment)], check=True)
    server.python("-m", "pip", "install", "--quiet", "-r", str(server.requirements))
    stamp.write_text(wanted)


def request(server: Server, path: str, body: str | None = None) -> tuple[int, str, bytes]:
    """Send one request; return the status, the content type and the body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        headers = {"Content-Type": "application/json", **server.headers}
        connection.request("GET" if body is None else "POST", path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers.get_content_type(), answer.read()
    finally:
        connection.close()


def is_ready(server: Server) -> bool:
    """Tell whether a server answers that it is ready."""
    with suppress(OSError, http.client.HTTPException):
        return request(server, server.ready)[0] == 200
    return False


def environment(server: Server, model: Path) -> dict[str, str]:
    """Give a server's environment variables: as in its activated environment, and its own."""
    return {
        **os.environ,
        "PATH": f"{server.environment / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "BENCH_MODEL_PATH": str(model),
        **{name: value.format(model=model) for name, value in server.variables.items()},
    }


@dataclass
class Run:
    """A server that runs; and once it has ended, all that it printed."""

    process: subprocess.Popen[bytes]
    printed: str = ""


@contextmanager
def running(server: Server, core: int, model: Path) -> Iterator[Run]:
    """Run a server pinned to one core, from ready to stopped."""
    with suppress(OSError):
        request(server, server.ready)
        sys.exit(f"port {server.port}, for {server.title}, is in use already")
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), *server.arguments()],
            cwd=server.folder,
            env=environment(server, model),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        run = Run(process)
        try:
            wait_until_ready(server, process, log)
            yield run
        finally:
            stop(process)
            log.seek(0)
            run.printed = log.read().decode(errors="replace")


def wait_until_ready(server: Server, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    """Return when the server is ready; end the run with its log when it will not be."""
    deadline = time.monotonic() + START_SECONDS
    while not is_ready(server):
        if process.poll() is not None or time.monotonic() > deadline:
            log.seek(0)
            sys.exit(
                f"{server.title} did not start:\n{log.read()[-3000:].decode(errors='replace')}"
            )
        time.sleep(0.1)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop a server that this run started: politely first, then whatever is left of it."""
    members = family(process.pid)  # workers may have left the process group
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    now = processes()
    for pid, started in members:
        if pid in now and now[pid][1] == started:  # the same process, not another with its id
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    process.wait()


def processes() -> dict[int, tuple[int, str]]:
    """Give each process's parent and starting time."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            found[int(stat.parent.name)] = int(fields[1]), fields[19]
    return found


def family(pid: int) -> set[tuple[int, str]]:
    """Give a process and its descendants, each with its starting time."""
    now, members = processes(), {pid}
    while more := {child for child, (parent, _) in now.items() if parent in members} - members:
        members |= more
    return {(member, now[member][1]) for member in members if member in now}


def ask(server: Server, row: list[float]) -> Answer:
    """Ask for one row's prediction, as a client would."""
    status, kind, body = request(server, server.path, server.body % ", ".join(map(str, row)))
    if (status, kind) != (200, "application/json"):
        sys.exit(f"{server.title} answered {status}, {kind}: {body[:300]!r}")
    return server.read(json.loads(body))


def ask_batch(server: Server, path: str, sample: list[list[float]]) -> list[Answer]:
    """Ask for many rows' predictions at once."""
    status, _, body = request(server, path, server.body % ", ".join(map(str, sample)))
    if status != 200:
        sys.exit(f"{server.title} answered {status}: {body[:300]!r}")
    return [server.read(prediction) for prediction in json.loads(body)["predictions"]]


def check(server: Server, sample: list[list[float]], expected: list[Answer]) -> None:
    """End the run when answers are not the estimator's; sixteen are asked for at a time.

    At the same time because a server that batches could give a client another's answer.
    """
    with ThreadPoolExecutor(16) as pool:
        compare(server, sample, list(pool.map(lambda row: ask(server, row), sample)), expected)


def compare(
    server: Server, sample: list[list[float]], answers: list[Answer], expected: list[Answer]
) -> None:
    """End the run when answers are not those expected, within the tolerance."""
    close = partial(math.isclose, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    for row, (label, probabilities), (right, exact) in zip(sample, answers, expected, strict=True):
        if (
            label != right
            or probabilities.keys() != exact.keys()
            or not all(close(probabilities[name], exact[name]) for name in exact)
        ):
            sys.exit(f"{server.title}: {row} -> {label} {probabilities}, not {right} {exact}")


def reference(server: Server, model: Path, sample: list[list[float]]) -> list[Answer]:
    """Give what the estimator itself answers, computed in a server's environment."""
    output = server.python(
        str(HERE / "reference.py"), input=json.dumps(sample), env=environment(server, model)
    )
    return [(label, probabilities) for label, probabilities in json.loads(output)]
