#!/usr/bin/env python3
"""Works inside of the stages of the image's build, in the folder of the bento.

``install-for-model`` installs what the packed models need beside the service's requirements;
``gather FOLDER`` copies what serving takes, and nothing else, out of the build stage;
``try-out`` serves once in the image as it will be. Needs Python's own library alone.
"""

import json
import os
import re
import shutil
import signal
import site
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

KEPT = (
    *("bento.yaml", "src", "models", "env/docker/setup_script", "/etc/ld.so.cache"),
    # names and certificates for the few connections that go out, to Redis
    *("/etc/nsswitch.conf", "/etc/services", "/usr/lib/ssl/cert.pem", "/usr/lib/ssl/certs"),
    *("/usr/lib/ssl/openssl.cnf", "/usr/lib/os-release", "/etc/os-release"),
)
INSTALL = (
    *(sys.executable, "-m", "pip", "install", "--no-compile"),
    *("--no-deps", "--only-binary", ":all:"),
)
PYTHON = ("/usr/local/bin/python", "/usr/local/bin/bentoml", "/usr/local/lib")
# Parts of Python and of packages that serving never imports. `try-out` fails if it does.
LEFT_OUT = re.compile(
    r"/(__pycache__|tests?|idle_test)$"
    r"|\.(pyi|pyx|pxd|pxi|c|cpp|h|hpp|f90|a|tp)$"
    r"|/python3[^/]*/(ensurepip|idlelib|lib2to3|pydoc_data|tkinter|turtledemo|config-[^/]*)$"
    r"|/site-packages/(pip|setuptools|wheel|pkg_resources|_distutils_hack)(-[^/]*)?$"
    r"|/(distutils-precedence\.pth|pkgconfig)$"
    r"|/onnxruntime/(backend|datasets|quantization|tools|transformers)$"
    r"|/libonnxruntime\.so[^/]*$"  # for programs in C; Python's module has all of it once more
)
# The system hands process 1 no signal that it has not asked for, and BentoML asks after seconds.
FIRST = """import os, signal

if os.getpid() == 1:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
"""
# Packages of which more is kept than libraries.
ALSO_KEPT = {"ca-certificates", "netbase", "base-files", "openssl"}
USER = 10001
PATIENCE_S = 60.0


def install_for_model() -> None:
    """Install the packages that the descriptions of the packed models name, and no others.

    They name all that loading and asking has imported; what a package would like to have beside,
    as for plots, is not there. Wheels alone are taken: a source would run code to be built, and
    want a compiler.
    """
    needed = sorted(
        {
            requirement
            for description in Path("models").glob("*/*/description.json")
            for requirement in json.loads(description.read_bytes())["requirements"]
        }
    )
    packages = [requirement.partition("==")[0] for requirement in needed]
    if several := [each for each in needed if packages.count(each.partition("==")[0]) > 1]:
        raise SystemExit(
            f"what is packed needs {', '.join(several)}, of which one image can have one: make an "
            "image of each model, or train one of them again with what the other has"
        )
    if needed and subprocess.run([*INSTALL, *needed]).returncode:
        look = [*INSTALL, "--dry-run", "--quiet"]
        missing = [each for each in needed if subprocess.run([*look, each]).returncode]
        raise SystemExit(
            f"what is packed needs {', '.join(missing or needed)}, and pip has no wheel of that "
            "for this Python and machine: is it on an index that pip knows? Modules of your own "
            "travel with the model instead: train.py --code"
        )


def gather(image: Path) -> None:
    """Copy what is kept, and the system's libraries that this loads, stripped, to a folder."""
    copied = [file for kept in KEPT for file in copy(Path.cwd() / kept, image)]
    copied += [file for kept in PYTHON for file in copy(Path(kept), image, LEFT_OUT)]
    programs = [file for file in copied if is_elf(file)]
    libraries = {library for file in programs for library in libraries_of(file)}
    for library in sorted(libraries):
        programs += copy(library, image)
    for file in {image / file.resolve().relative_to("/") for file in programs}:
        if not file.parent.name.endswith(".libs"):  # patched by auditwheel, and broken by strip
            subprocess.run(["strip", "--strip-unneeded", file], check=True)
    keep_packages_of(libraries, image)
    (image / site.getsitepackages()[0].lstrip("/") / "sitecustomize.py").write_text(FIRST)
    (image / "etc/passwd").write_text(f"model-api:x:{USER}:{USER}::/tmp:/nonexistent\n")
    (image / "etc/group").write_text(f"model-api:x:{USER}:\n")
    for folder in (image / "bento").rglob("*"):  # in the model store only the owner may read
        folder.chmod(0o755 if folder.is_dir() else 0o644)
    (image / "tmp").mkdir(mode=0o1777)
    (image / "tmp").chmod(0o1777)


def copy(path: Path, image: Path, left_out: re.Pattern[str] | None = None) -> Iterator[Path]:
    """Copy a file or folder, and the symbolic links on the way to it; give the files."""
    for parent in (*reversed(path.parents), path):
        if parent.is_symlink():
            link = image / parent.relative_to("/")
            if not link.is_symlink():
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(parent.readlink())
            target = parent.parent / parent.readlink() / path.relative_to(parent)
            yield from copy(target, image, left_out)
            return
    if left_out is not None and left_out.search(str(path)):
        return
    if path.is_dir():
        (image / path.relative_to("/")).mkdir(parents=True, exist_ok=True)
        for child in path.iterdir():
            yield from copy(child, image, left_out)
    else:
        target = image / path.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
        yield path


def is_elf(file: Path) -> bool:
    """Tell whether a file is a program or a library."""
    with file.open("rb") as stream:
        return stream.read(4) == b"\x7fELF"


def libraries_of(file: Path) -> Iterator[Path]:
    """Name the system's libraries that a program or a library loads."""
    # which fails for a static program, that loads none
    ldd = subprocess.run(["ldd", file], capture_output=True, text=True)
    for library in re.findall(r"(/\S+) \(0x", ldd.stdout):
        if not library.startswith("/usr/local/"):
            yield Path(library)


def keep_packages_of(libraries: set[Path], image: Path) -> None:
    """Keep what Debian says of the packages with these libraries, where scanners look for it."""
    files = {library.resolve() for library in libraries}
    packages = {
        listing.name.removesuffix(".list").partition(":")[0]
        for listing in Path("/var/lib/dpkg/info").glob("*.list")
        if any(Path(line).resolve() in files for line in listing.read_text().splitlines())
    }
    status = image / "var/lib/dpkg/status.d"
    status.mkdir(parents=True)
    for paragraph in Path("/var/lib/dpkg/status").read_text().split("\n\n"):
        name = paragraph.partition("\n")[0].removeprefix("Package: ")
        if name in packages | ALSO_KEPT:
            (status / name).write_text(paragraph + "\n")
            list(copy(Path(f"/usr/share/doc/{name}/copyright"), image))


def try_out() -> None:
    """Serve the bento, ask all that it answers, and end it; leaves the byte code of all imports."""
    descriptions = sorted(Path("models").glob("*/*/description.json"))
    models = [json.loads(description.read_bytes()) for description in descriptions]
    examples = {
        model["name"]: [feature["example"] for feature in model["features"]] for model in models
    }
    explained = [model["name"] for model in models if isinstance(model.get("explained"), dict)]
    # nothing listens there: imports what counts in Redis, and then counts alone
    settings = {"SERVING_RATE_LIMIT_STORAGE": "redis://127.0.0.1:9/0"}
    port = str(free_port())
    with subprocess.Popen(
        ["bentoml", "serve", "--port", port], env=os.environ | settings
    ) as server:
        try:
            await_ready(server, port)
            for name, example in examples.items():
                ask(port, f"/models/{name}/predict", {"data": example})
                ask(port, f"/models/{name}/predict/batch", {"data": [example, example]})
            for name in explained:
                ask(port, f"/models/{name}/predict?explain=all", {"data": examples[name]})
            for path in ("/model/info", "/model/card", "/metrics", "/docs.json", "/", "/docs.js"):
                ask(port, path)
        finally:
            server.send_signal(signal.SIGTERM)
    if server.returncode != 0:
        raise SystemExit(f"the server ended with {server.returncode}")
    for left in (*Path("/tmp").iterdir(), Path("env")):  # noqa: S108 (the image's own)
        shutil.rmtree(left) if left.is_dir() else left.unlink()


def await_ready(server: subprocess.Popen[bytes], port: str) -> None:
    """Ask until the server is ready, unless it ends, and has told why."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return ask(port, "/readyz")
        except URLError:
            if server.poll() is not None:
                raise SystemExit("the service does not start with what is packed") from None
            if time.monotonic() > until:
                raise
        time.sleep(0.1)


def ask(port: str, path: str, body: object = None) -> None:
    """Ask the server, which has to answer with 200."""
    data = None if body is None else json.dumps(body).encode()
    request = Request(f"http://127.0.0.1:{port}{path}", data, {"Content-Type": "application/json"})
    with urlopen(request, timeout=PATIENCE_S) as answer:  # noqa: S310 (http)
        answer.read()


def free_port() -> int:
    """Find a port that nobody listens on: a build may share the host's network."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["install-for-model"]:
            install_for_model()
        case ["gather", folder]:
            gather(Path(folder))
        case ["try-out"]:
            try_out()
        case _:
            raise SystemExit(__doc__)
