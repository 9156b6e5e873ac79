#!/usr/bin/env python3
"""Writes dashboard.json, the Grafana dashboard of Highwater, beside itself. With --queries it prints each query instead, one a
line, and the operands of each `or` on their own; scripts/monitoring.sh runs them against a Prometheus that scrapes services under
load."""

import json
import pathlib
import sys

# Each row: its title, and its panels. Each panel: title, unit, then pairs of a query and its legend.
ROWS = [
    ("Now", [
        ("Instances that are ready", "none", ('sum(highwater_ready{job=~"$job"})', "ready"), ('count(up{job=~"$job"})', "all")),
        ("Connected to Kafka", "none", ('min by (instance) (highwater_kafka_connected{job=~"$job"})', "{{instance}}")),
        ("Store", "none", ('min by (instance) (highwater_store_up{job=~"$job"})', "{{instance}}")),
        ("Partitions that cannot go on", "none", ('sum by (topic) (highwater_consumer_partition_stalled{job=~"$job"})', "{{topic}}")),
        ("Breakers (0 closed, 1 half-open, 2 open)", "none",
         ('max by (instance, broker) (highwater_breaker_state{job=~"$job"})', "{{instance}} broker {{broker}}")),
        ("Firing alerts", "none", ('count by (alertname) (ALERTS{alertname=~"Highwater.*",alertstate="firing"}) or vector(0)', "{{alertname}}")),
    ]),
    ("Requests", [
        ("Requests a second", "reqps", ('sum by (route, status) (rate(highwater_http_requests_total{job=~"$job"}[$__rate_interval]))', "{{route}} {{status}}")),
        ("Duration of POSTs", "s",
         *((f'histogram_quantile({quantile}, sum by (le) (rate(highwater_http_request_duration_seconds_bucket{{job=~"$job",method="POST"}}[$__rate_interval])))', f"{quantile}")
           for quantile in (0.5, 0.95, 0.99))),
        ("Share of 5xx", "percentunit", ('job:highwater_http_server_errors:ratio5m{job=~"$job"} or sum by (job) (highwater_ready{job=~"$job"}) * 0', "{{job}}")),
        ("Connections", "none", ('sum by (instance, state) (highwater_http_connections{job=~"$job"})', "{{instance}} {{state}}")),
        ("Memory of requests, of its limit", "percentunit",
         ('highwater_http_memory_bytes{job=~"$job"} / highwater_http_memory_limit_bytes', "{{instance}}")),
    ]),
    ("Producer", [
        ("Records acknowledged a second", "none", ('sum by (topic) (rate(highwater_producer_records_total{job=~"$job"}[$__rate_interval]))', "{{topic}}")),
        ("Records not acknowledged a second", "none",
         ('sum by (topic, reason) (rate(highwater_producer_errors_total{job=~"$job"}[$__rate_interval]))', "{{topic}} {{reason}}")),
        ("Records a batch", "none",
         ('sum by (topic) (rate(highwater_producer_records_total{job=~"$job"}[$__rate_interval])) / (sum by (topic) (rate(highwater_producer_batches_total{job=~"$job"}[$__rate_interval])) > 0)', "{{topic}}")),
        ("Records that wait for Kafka", "none", ('sum by (topic) (highwater_producer_queue_records{job=~"$job"})', "{{topic}}")),
        ("Retries and throttling a second", "none",
         ('sum by (topic) (rate(highwater_producer_retries_total{job=~"$job"}[$__rate_interval]))', "retries {{topic}}"),
         ('sum by (topic) (rate(highwater_producer_throttled_total{job=~"$job"}[$__rate_interval]))', "throttled {{topic}}")),
    ]),
    ("Consumer", [
        ("Records processed a second", "none", ('sum by (topic) (rate(highwater_consumer_records_total{job=~"$job"}[$__rate_interval]))', "{{topic}}")),
        ("Lag", "none", ('sum by (topic, partition) (highwater_consumer_lag{job=~"$job"})', "{{topic}} {{partition}}")),
        ("Duplicates and conflicts a second", "none",
         ('sum(rate(highwater_consumer_duplicates_total{job=~"$job"}[$__rate_interval]))', "duplicates"),
         ('sum(rate(highwater_consumer_conflicts_total{job=~"$job"}[$__rate_interval]))', "conflicts")),
        ("Dead letters a second", "none", ('sum by (topic) (rate(highwater_dead_letters_total{job=~"$job"}[$__rate_interval]))', "{{topic}}")),
        ("Records passed over", "none", ('sum by (topic) (increase(highwater_consumer_records_skipped_total{job=~"$job"}[1h]))', "{{topic}}")),
        ("Generation of the group", "none", ('max by (topic) (highwater_consumer_group_generation{job=~"$job"})', "{{topic}}")),
    ]),
    ("Store, users and orders", [
        ("Events in the store", "none", ('highwater_store_events{job=~"$job"}', "{{instance}}")),
        ("Events that left for newer ones, a second", "none", ('rate(highwater_store_evicted_total{job=~"$job"}[$__rate_interval])', "{{instance}}")),
        ("Age of the oldest event", "s", ('highwater_store_oldest_event_age_seconds{job=~"$job"}', "{{instance}}")),
        ("Views read to their end", "none", ('min by (instance, topic) (highwater_table_complete)', "{{instance}} {{topic}}")),
        ("Events applied and rejected a second", "none",
         ('sum by (topic) (rate(highwater_table_events_applied_total[$__rate_interval]))', "applied {{topic}}"),
         ('sum by (topic) (rate(highwater_table_events_rejected_total[$__rate_interval]))', "rejected {{topic}}")),
    ]),
    ("Process", [
        ("CPU", "percentunit", ('rate(process_cpu_seconds_total{job=~"$job"}[$__rate_interval])', "{{instance}}")),
        ("Resident memory", "bytes", ('process_resident_memory_bytes{job=~"$job"}', "{{instance}}")),
        ("Open file descriptors", "none", ('process_open_fds{job=~"$job"}', "{{instance}}")),
    ]),
]
# The metric whose jobs one can choose from.
CHOICE = "highwater_build_info"
SOURCE = {"type": "prometheus", "uid": "prometheus"}
COLUMNS, WIDTH, HEIGHT = 24, 8, 7


def panels():
    top, number = 0, 0
    for row, members in ROWS:
        number += 1
        yield {"id": number, "type": "row", "title": row, "gridPos": {"x": 0, "y": top, "w": COLUMNS, "h": 1}}
        top += 1
        for place, (title, unit, *queries) in enumerate(members):
            number += 1
            column, line = place % (COLUMNS // WIDTH), place // (COLUMNS // WIDTH)
            yield {
                "id": number,
                "type": "timeseries",
                "title": title,
                "datasource": SOURCE,
                "gridPos": {"x": column * WIDTH, "y": top + line * HEIGHT, "w": WIDTH, "h": HEIGHT},
                "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
                "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
                "targets": [
                    {"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": query, "legendFormat": legend, "exemplar": "bucket" in query}
                    for index, (query, legend) in enumerate(queries)
                ],
            }
        top += -(-len(members) // (COLUMNS // WIDTH)) * HEIGHT


def dashboard():
    job = {
        "name": "job", "label": "Job", "type": "query", "datasource": SOURCE, "refresh": 2, "includeAll": True, "multi": True,
        "query": {"query": f"label_values({CHOICE}, job)", "refId": "job"}, "current": {"text": "All", "value": "$__all"},
    }
    return {
        "uid": "highwater", "title": "Highwater", "tags": ["kafka"], "schemaVersion": 39, "version": 1, "editable": True,
        "refresh": "10s", "time": {"from": "now-30m", "to": "now"}, "timezone": "browser",
        "templating": {"list": [job]}, "annotations": {"list": []}, "panels": list(panels()),
    }


if "--queries" in sys.argv:
    print("choice of jobs", f"count by (job) ({CHOICE})", sep="\t")
    for panel in panels():
        for target in panel.get("targets", []):
            for operand in target["expr"].split(" or "):
                print(panel["title"], operand.replace("$job", ".*").replace("$__rate_interval", "1m"), sep="\t")
else:
    text = json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"
    pathlib.Path(__file__).with_name("dashboard.json").write_text(text, encoding="utf-8")
