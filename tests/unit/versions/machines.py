"""Servers that take a change of the state as a test says, and a clock that nobody waits for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving.host.letters import Status
from serving.host.wanted import exact
from serving.model.state import read_state
from serving.settings import name_of
from serving.versions.servers import Watch

TAKES, REFUSES, SILENT, ENDS, DRAINS = "takes", "refuses", "silent", "ends", "drains"


def status(file: Path, tags: Sequence[str], models: Mapping[str, str], **more: Any) -> Status:  # noqa: ANN401 (any field)
    """Give what a server with one worker says."""
    told: dict[str, Any] = {
        "parent": 100,
        "state_file": str(file),
        "metrics": "",
        "tags": tuple(tags),
        "revision": 0,
        "phase": "done",
        "models": dict(models),
        "workers": {"101": dict(models)},
    }
    return Status(**told | more)


@dataclass
class Machine:
    """A machine with servers, and what becomes of each."""

    file: Path
    servers: dict[Path, Status] = field(default_factory=dict)
    fates: dict[Path, str] = field(default_factory=dict)
    now_s: float = 0.0
    happens: Callable[[], None] = lambda: None  # while somebody waits

    def serve(self, *tags: str, fate: str = TAKES, **models: str) -> Path:
        """Start a server, and give the folder of its letters."""
        number = 100 * (len(self.servers) + 1)
        folder = self.file.parent / f"letters-{number}"
        folder.mkdir(exist_ok=True)
        workers = {str(number + 1): models}
        self.servers[folder] = status(self.file, tags, models, parent=number, workers=workers)
        self.fates[folder] = fate
        return folder

    @property
    def watch(self) -> Watch:
        """Give what waits here."""
        return Watch(lambda: dict(self.servers), lambda: self.now_s, self._sleep)

    def _sleep(self, period_s: float) -> None:
        self.now_s += period_s
        self.happens()
        state = read_state(self.file)
        for folder, before in list(self.servers.items()):
            if before.revision == state.revision:
                continue
            wanted = {
                name_of(tag): exact(tag, state, before.models).partition(":")[2]
                for tag in before.tags
            }
            update: dict[str, Any] = {"revision": state.revision}
            match self.fates[folder]:
                case "silent":
                    continue
                case "ends":
                    del self.servers[folder]
                    continue
                case "refuses" if wanted != before.models:
                    update |= {"phase": "refused", "reason": "a new worker ended with 1"}
                case "drains":
                    workers = {**before.workers, "999": wanted}
                    update |= {"phase": "draining", "models": wanted, "workers": workers}
                case _ if wanted != before.models:
                    update |= {"phase": "done", "models": wanted, "workers": {"999": wanted}}
            self.servers[folder] = before.model_copy(update=update)
