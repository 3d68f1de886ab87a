"""What is counted, in Prometheus' own words."""

from prometheus_client.parser import text_string_to_metric_families

from deepres.serve.metrics import ServerMetrics


def test_prometheus_reads_what_is_counted_and_two_servers_count_apart() -> None:
    metrics, other = ServerMetrics(), ServerMetrics()
    metrics.requests.labels("/v1/predict", "net", "200").inc()
    metrics.requests.labels("/v1/predict", 'n"\n', "413").inc(2)
    for seconds in (0.002, 0.2):
        metrics.network_seconds.labels("net").observe(seconds)
    metrics.batch_size.labels("net").observe(16)
    text, kind = metrics.text()
    families = {family.name: family.samples for family in text_string_to_metric_families(text.decode())}
    assert kind.startswith("text/plain")
    counted = {
        (one.labels["model"], one.labels["status"]): one.value
        for one in families["deepres_requests"]
        if one.name.endswith("_total")
    }
    assert counted == {("net", "200"): 1, ('n"\n', "413"): 2}
    sums = {one.name: one.value for one in families["deepres_network_seconds"] if not one.labels.get("le")}
    assert sums["deepres_network_seconds_count"] == 2
    assert sums["deepres_network_seconds_sum"] == 0.202
    assert {"deepres_queue_seconds", "deepres_decode_seconds", "deepres_reloads", "deepres_queue_length"} <= set(
        families
    )
    assert b"/v1/predict" not in other.text()[0]
