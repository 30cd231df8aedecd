"""The manifests of deploy/kubernetes as `kubectl apply -k` sends them to a cluster."""

import base64
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from tests.server import BIN, ROOT

MANIFESTS = ROOT / "deploy" / "kubernetes"
KEYS_FILE, REDIS_FILE = "api-keys.txt", "redis.env"  # which the operator makes

Object = dict[str, Any]


def copy(folder: Path, keys: str, redis_password: str) -> Path:
    """Copy the manifests as they are in the repository, and make an operator's two files."""
    ours = shutil.ignore_patterns(KEYS_FILE, REDIS_FILE)
    copied = Path(shutil.copytree(MANIFESTS, folder / "kubernetes", ignore=ours))
    (copied / KEYS_FILE).write_text(keys)
    (copied / REDIS_FILE).write_text(f"REDIS_PASSWORD={redis_password}\n")
    return copied


def kustomize(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run kustomize, as it is in kubectl, without a cluster."""
    return subprocess.run([BIN / "kubectl", "kustomize", folder], capture_output=True, text=True)


def render(folder: Path) -> "Rendered":
    """Give all objects that would be applied."""
    done = kustomize(folder)
    assert done.returncode == 0, done.stderr
    return Rendered(done.stdout, list(yaml.safe_load_all(done.stdout)))


@dataclass(frozen=True, slots=True)
class Rendered:
    """What would be applied."""

    text: str
    objects: list[Object]

    def of(self, kind: str) -> list[Object]:
        """Give all objects of a kind."""
        return [found for found in self.objects if found["kind"] == kind]

    def one(self, kind: str, name: str = "model-api") -> Object:
        """Give an object."""
        (found,) = [found for found in self.of(kind) if found["metadata"]["name"] == name]
        return found

    def pod(self, name: str = "model-api") -> Object:
        """Give what a Deployment makes its pods of."""
        return dict(self.one("Deployment", name)["spec"]["template"])

    def container(self, name: str = "model-api") -> Object:
        """Give the only container of a pod."""
        (found,) = self.pod(name)["spec"]["containers"]
        return dict(found)

    def secret(self, name: str) -> dict[str, str]:
        """Give what is in a secret."""
        data = self.one("Secret", name)["data"]
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def variables(self, name: str = "model-api") -> dict[str, str]:
        """Give a container's variables as the kubelet would set them."""
        container, known = self.container(name), dict[str, str]()
        for variable in container.get("env", []):
            known[variable["name"]] = self._value(variable, known, container["resources"])
        return known

    def arguments(self, name: str) -> list[str]:
        """Give a container's command as the kubelet would run it."""
        container, known = self.container(name), self.variables(name)
        return [expanded(part, known) for part in (*container["command"], *container["args"])]

    def _value(self, variable: Object, known: Mapping[str, str], resources: Object) -> str:
        source = variable.get("valueFrom", {})
        if reference := source.get("secretKeyRef"):
            return self.secret(reference["name"])[reference["key"]]
        if reference := source.get("resourceFieldRef"):
            kind, _, resource = reference["resource"].partition(".")
            return str(resources[kind][resource])
        return expanded(variable["value"], known)


def expanded(text: str, known: Mapping[str, str]) -> str:
    """Put in the values of variables as Kubernetes does: what is not known stays."""
    return re.sub(r"\$\((\w+)\)", lambda found: known.get(found[1], found[0]), text)


def quantity(text: str) -> int:
    """Read an amount of memory, in bytes."""
    number, unit = re.fullmatch(r"(\d+)(Ki|Mi|Gi)", text).groups()  # type: ignore[union-attr]
    return int(number) << {"Ki": 10, "Mi": 20, "Gi": 30}[unit]
