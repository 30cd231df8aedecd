"""A container of the image, run as an operator would who takes away all that can be."""

import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson

from tests.server import PATIENCE_S, eventually, free_port

HARDENED = (
    *("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--memory", "512m"),  # noqa: S108
    *("--security-opt", "no-new-privileges"),
)


def ask(engine: str, *arguments: str) -> str:
    """Run the engine, and give what it prints."""
    done = subprocess.run([engine, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, f"{engine} {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def inspect(engine: str, kind: str, name: str) -> dict[str, Any]:
    """Give all that the engine knows of an image or a container."""
    (found,) = orjson.loads(ask(engine, kind, "inspect", name))
    return dict(found)


@dataclass(slots=True)
class Container:
    """A container that was started."""

    engine: str
    id: str
    port: int
    started_s: float
    http: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        """Open a client for it."""
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=PATIENCE_S)

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return bool(inspect(self.engine, "container", self.id)["State"]["Running"])

    def is_ready(self) -> bool:
        """Ask the readiness probe; a container that has ended is a failure."""
        try:
            return self.http.get("/readyz", timeout=1).status_code == 200
        except httpx.TransportError:
            assert self.is_running, self.output()
            return False

    def python(self, program: str) -> str:
        """Run a Python program beside the service."""
        return ask(self.engine, "exec", self.id, "python", "-c", program)

    def output(self) -> tuple[str, str]:
        """Give what came on stdout and on stderr so far."""
        done = subprocess.run([self.engine, "logs", self.id], capture_output=True, text=True)
        return done.stdout, done.stderr

    def lines(self) -> list[dict[str, Any]]:
        """Give all complete lines of stdout; each must be JSON."""
        complete, _, _ = self.output()[0].rpartition("\n")
        return [orjson.loads(line) for line in complete.splitlines()]

    def ended(self) -> int:
        """Wait for its end; give the exit code."""
        return int(ask(self.engine, "wait", self.id))


@contextmanager
def container(
    engine: str, image: str, *options: str, command: Sequence[str] = (), **settings: str
) -> Iterator[Container]:
    """Run a hardened container; requests are not counted unless a test sets a quota.

    The port is the same inside, for engines that are set to share the host's network. A platform's
    moves it.
    """
    port = int(settings.get("SAGEMAKER_BIND_TO_PORT", free_port()))
    variables: Mapping[str, str] = {
        "BENTOML_PORT": str(free_port()) if "SAGEMAKER_BIND_TO_PORT" in settings else str(port),
        "SERVING_RATE_LIMIT": "off",
        **settings,
    }
    given = [part for pair in variables.items() for part in ("--env", "=".join(pair))]
    started_s = time.monotonic()
    run = ("run", "--detach", "--publish", f"{port}:{port}", *HARDENED, *given, *options)
    started = Container(engine, ask(engine, *run, image, *command).strip(), port, started_s)
    try:
        yield started
    finally:
        started.http.close()
        ask(engine, "rm", "--force", started.id)


@contextmanager
def ready(
    engine: str, image: str, *options: str, command: Sequence[str] = (), **settings: str
) -> Iterator[Container]:
    """Run a hardened container, and wait until it is ready."""
    with container(engine, image, *options, command=command, **settings) as started:
        eventually("a container that is ready", started.is_ready)
        yield started
