"""What is counted for Prometheus: requests, images, queues, batches, times by part, models, reloads, the event loop."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128)


class ServerMetrics:
    """The counters of one server, apart from those of any other in this process; names begin with `deepres_`."""

    def __init__(self) -> None:
        self._registry = own = CollectorRegistry()
        self.requests = Counter(
            "deepres_requests",
            "Requests by route, model and status (499: the client went away)",
            ["route", "model", "status"],
            registry=own,
        )
        self.request_seconds = Histogram(
            "deepres_request_seconds",
            "A request from its first to its last byte",
            ["route"],
            buckets=_SECONDS,
            registry=own,
        )
        self.images = Counter(
            "deepres_images",
            "Images by model and outcome: answered, refused, failed",
            ["model", "outcome"],
            registry=own,
        )
        self.queue_length = Gauge(
            "deepres_queue_length", "Images that wait or are being asked", ["model"], registry=own
        )
        self.batch_size = Histogram(
            "deepres_batch_size", "Images that were asked together", ["model"], buckets=_IMAGES, registry=own
        )
        self.queue_seconds, self.decode_seconds, self.network_seconds = (
            Histogram(f"deepres_{part}_seconds", text, ["model"], buckets=_SECONDS, registry=own)
            for part, text in (
                ("queue", "An image waits, reading apart"),
                ("decode", "An image is decoded and prepared"),
                ("network", "The network answers a batch"),
            )
        )
        self.model = Gauge("deepres_model_info", "1 for the weights that answer", ["model", "sha256"], registry=own)
        self.reloads = Counter(
            "deepres_reloads", "Exchanges of a model: done, refused", ["model", "outcome"], registry=own
        )
        self.loop_late = Histogram(
            "deepres_loop_late_seconds",
            "How late the event loop wakes up that asks to be woken every 50 ms",
            buckets=_SECONDS,
            registry=own,
        )
        self.loop_latest = Gauge("deepres_loop_latest_seconds", "The latest that it ever was", registry=own)
        self.held_bytes = Gauge("deepres_held_bytes", "Bodies of requests that are held", registry=own)
        self.log_lines_lost = Gauge("deepres_log_lines_lost", "Log lines that nobody took", registry=own)

    def text(self) -> tuple[bytes, str]:
        """All of it in Prometheus' words, and the type of that."""
        return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4
