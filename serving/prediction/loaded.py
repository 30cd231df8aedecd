"""A loaded version of a model, and all that belongs to it alone."""

from functools import partial

from serving.explaining.explanation import Explanation
from serving.explaining.kept import read
from serving.metrics import Metrics, ModelMetrics
from serving.model.about import About
from serving.model.facts import model_info
from serving.model.rows import Rows
from serving.model.store import LoadedModel, load
from serving.model.stored import EXPLANATION, ModelError, VerifiedModel
from serving.prediction.batching import Batcher
from serving.prediction.cache import PredictionCache
from serving.prediction.explaining import Explaining
from serving.prediction.predictor import Predictor, compute
from serving.settings import Settings
from serving.telemetry import Listeners, log

OFF = "SERVING_EXPLAIN=off"


class Loaded:
    """Reads rows for it, predicts them, and knows what is public about it."""

    def __init__(
        self, verified: VerifiedModel, settings: Settings, metrics: Metrics, listeners: Listeners
    ) -> None:
        """Load a verified model; its batcher belongs to the running event loop.

        Raises:
            ModelError: it can't be loaded, or fails on its own example, or to explain that.
        """
        model, self.example = load(verified, settings.runtime)
        description = verified.description
        self.about = About(description, str(verified.tag.version))
        counts = metrics.of(self.about)
        why_unexplained = "" if settings.explain else OFF
        self.info = model_info(verified, settings.runtime, why_unexplained)
        self.card = verified.card
        self.rows = Rows(description.features, settings.max_batch_rows, description.ignored)
        self.compute = partial(compute, model.predict)
        self.explaining = self._explaining(verified, model, settings, counts)
        self.batcher = Batcher(
            self.compute,
            counts.batch_started,
            max_items=settings.max_batch_rows,
            max_waiting_items=settings.max_queue_rows,
            patience_s=settings.request_timeout_s,
            run_at_once=partial(compute, model.at_once),
            max_at_once=model.max_at_once,
        )
        cache = None
        self.keeps_predictions = settings.keeps_predictions
        if self.keeps_predictions:
            cache = PredictionCache(settings.cache_entries, settings.cache_ttl_s)
        self.predictor = Predictor(
            self.about,
            self.batcher,
            settings.max_batch_rows,
            cache,
            counts.looked_up,
            listeners,
            self.explaining,
        )
        metrics.serves(self.about.name, self.about.version, description.task)
        log.info(
            "model.loaded",
            model=str(verified.tag),
            runtime=model.runtime,
            size_bytes=verified.size_bytes,
        )

    @property
    def explains(self) -> bool:
        """Whether its predictions are explained to who asks."""
        return isinstance(self.explaining, Explaining)

    def _explaining(
        self, verified: VerifiedModel, model: LoadedModel, settings: Settings, counts: ModelMetrics
    ) -> Explaining | str:
        """Load what explains predictions, or tell why nothing does.

        Raises:
            ModelError: it does not explain the example.
        """
        explained = verified.description.explained
        if not settings.explain:
            return OFF
        if isinstance(explained, str):
            return explained
        try:
            kept = read(verified.path / EXPLANATION)
            explaining = Explaining(
                Explanation(kept, explained, verified.description, model),
                lambda part: self.batcher.work(part),
                counts.explained,
                max_rows=settings.explain_max_rows,
                patience_s=settings.request_timeout_s,
            )
            explaining.warm_up(verified.description.example, self.example)
        except Exception as exc:
            raise ModelError(
                f"model {verified.tag} can't explain its example: {exc!r}; train it again, or set "
                f"{OFF}"
            ) from exc
        return explaining

    def close(self) -> None:
        """Let its thread end."""
        self.batcher.close()
