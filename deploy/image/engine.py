"""Docker, Podman or Buildah, whichever is there."""

import os
import shutil
import subprocess
import uuid

ENGINES = ("docker", "podman", "buildah")
HINT = "install Docker or Podman, or start Docker's daemon; ENGINE names another than the first"


def find_engine() -> str:
    """Give the first engine that works, or the one that ``ENGINE`` names.

    Raises:
        SystemExit: there is none; the message says what to do.
    """
    named = os.environ.get("ENGINE")
    if named and named not in ENGINES:
        raise SystemExit(f"ENGINE={named}: one of {', '.join(ENGINES)} is needed")
    reasons = []
    for engine in (named,) if named else ENGINES:
        if shutil.which(engine) is None:
            reasons.append(f"{engine} is not installed")
        elif complaint := _complaint(engine):
            reasons.append(f"{engine} does not work: {complaint}")
        else:
            return engine
    raise SystemExit(f"no container engine: {'; '.join(reasons)}; {HINT}")


def _complaint(engine: str) -> str:
    """Ask the engine how it is, which asks the daemon where there is one."""
    asked = subprocess.run([engine, "info"], capture_output=True, text=True)
    if asked.returncode == 0:
        return ""
    return (asked.stderr.strip() or "it does not say why").splitlines()[-1]


def has_buildx() -> bool:
    """Tell whether Docker has the builder that it asks for unless told otherwise."""
    return subprocess.run(["docker", "buildx", "version"], capture_output=True).returncode == 0


def run_python(engine: str, image: str, program: str) -> str:
    """Run a Python program in an image, and give what it prints.

    Raises:
        SystemExit: that can't be done.
    """
    if engine != "buildah":
        run = ["run", "--rm", "--interactive", "--network=none", "--entrypoint=python"]
        return _output(engine, *run, image, "-", stdin=program)
    container = f"model-api-{uuid.uuid4().hex}"
    _output(engine, "from", "--name", container, image)
    try:
        return _output(engine, "run", container, "--", "python", "-", stdin=program)
    finally:
        _output(engine, "rm", container)


def _output(*command: str, stdin: str = "") -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
