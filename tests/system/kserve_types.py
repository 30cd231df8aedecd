"""Holds objects of KServe's against the types of the package `kserve`, with that package's Python.

A list comes as JSON on stdin, and for each a list of faults goes: what is unknown, missing or of
another type, and where. What KServe tells a cluster of it is made of the same types. Those of
Kubernetes are in the package `kubernetes`, on which it leans. By themselves both let an unknown
field pass.
"""

import json
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

# Not imported by name: the project's environment, where types are checked, has neither.
PACKAGES = [import_module("kserve"), import_module("kubernetes.client")]
ROOT_TYPES = {
    "InferenceService": "V1beta1InferenceService",
    "ServingRuntime": "V1alpha1ServingRuntime",
}
PLAIN = {"str": str, "int": int, "bool": bool, "float": float, "object": object}
LIST = re.compile(r"list\[(.+)\]", re.IGNORECASE)
MAP = re.compile(r"dict\(?\[?str, (.+?)[)\]]", re.IGNORECASE)
# Types that the package names otherwise than the ones that are there.
RENAMED = {"K8sIoApiAppsV1DeploymentStrategy": "V1DeploymentStrategy", "ResourceQuantity": "str"}


def faults(value: Any, kind: str, place: str) -> Iterator[str]:  # noqa: ANN401 (as JSON has it)
    """Tell what of a value does not suit a type of the packages, with its place."""
    kind = RENAMED.get(kind, kind)
    if inner := LIST.fullmatch(kind):
        yield from of_items(value, inner[1], place, list, enumerate)
    elif inner := MAP.fullmatch(kind):
        yield from of_items(value, inner[1], place, dict, dict.items)
    elif kind in PLAIN:
        if not isinstance(value, PLAIN[kind]) or (kind == "int" and isinstance(value, bool)):
            yield f"{place}: {kind} expected"
    else:
        yield from of_object(value, kind, place)


def of_items(value: Any, kind: str, place: str, holder: type, items: Any) -> Iterator[str]:  # noqa: ANN401
    if not isinstance(value, holder):
        yield f"{place}: {holder.__name__} expected"
        return
    for key, item in items(value):
        yield from faults(item, kind, f"{place}/{key}")


def of_object(value: Any, kind: str, place: str) -> Iterator[str]:  # noqa: ANN401
    model = next(getattr(package, kind) for package in PACKAGES if hasattr(package, kind))
    if not isinstance(value, dict):
        yield f"{place}: {kind} expected"
        return
    names = {there: here for here, there in model.attribute_map.items()}
    found = [f"{place}/{name}: unknown in {kind}" for name in value if name not in names]
    for name in value.keys() & names.keys():
        found += faults(value[name], model.openapi_types[names[name]], f"{place}/{name}")
    if not found:
        try:  # which is refused if something is missing
            model(**{names[name]: item for name, item in value.items()})
        except ValueError as exc:
            found = [f"{place}: {' '.join(str(exc).split())}"]
    yield from found


if __name__ == "__main__":
    documents = json.load(sys.stdin)
    print(json.dumps([list(faults(each, ROOT_TYPES[each["kind"]], "")) for each in documents]))
