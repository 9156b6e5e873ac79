#!/usr/bin/env bash
# Checks ops/ with a real Prometheus: the rules and their unit tests, and each query of the Grafana dashboard and each metric
# of the rules against services that are under load. A query without an answer is an empty panel or a blind alert, and fails.
#
#   scripts/monitoring.sh                     needs prometheus, promtool, curl and jq
#
# Variables:
#   BINARY          the program to run (target/debug/highwater); it needs the embedded broker
#   KAFKA_BROKERS   a Kafka to use (the embedded broker of the activity service)
set -euo pipefail
cd "$(dirname "$0")/.."

binary=$(realpath "${BINARY:-${CARGO_TARGET_DIR:-target}/debug/highwater}")
brokers=${KAFKA_BROKERS:-}
unset KAFKA_BROKERS

# shellcheck source=scripts/scratch.sh
. scripts/scratch.sh

within() { # SECONDS COMMAND...
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || { echo "not in time: $*" >&2; return 1; }
    sleep 0.2
  done
}
answers() { curl -sf -o /dev/null --max-time 2 "$1"; }

# --- the files ---------------------------------------------------------------------------------------

promtool check rules ops/prometheus/rules.yml
(cd ops/prometheus && promtool test rules rules.test.yml)
cp ops/grafana/dashboard.json "$work/dashboard.json"
ops/grafana/dashboard.py
cmp "$work/dashboard.json" ops/grafana/dashboard.json || { echo "run ops/grafana/dashboard.py and commit its result"; exit 1; }
while read -r alert; do
  grep -qx "## $alert" docs/operating/alerts.md || { echo "docs/operating/alerts.md has no section $alert"; exit 1; }
  grep -A2 " alertname: $alert\$" ops/prometheus/rules.test.yml | grep -q exp_alerts || { echo "rules.test.yml has no $alert that fires"; exit 1; }
done < <(sed -n 's/^ *- alert: //p' ops/prometheus/rules.yml)

# --- services under load ------------------------------------------------------------------------------

serve() { # NAME PORT SETTING... [-- ARGUMENT...]
  local name=$1 port=$2 settings=()
  shift 2
  while [ $# -gt 0 ] && [ "$1" != -- ]; do settings+=("$1") && shift; done
  [ $# = 0 ] || shift
  (cd "$work" && exec env HOST=127.0.0.1 RUST_LOG=warn "${settings[@]}" "$binary" "$@") >"$work/$name.log" 2>&1 &
  pids+=($!)
  within 30 answers "http://127.0.0.1:$port/health"
}
activity=$(free_port)
users=$(free_port)
orders=$(free_port)
serve activity "$activity" PORT="$activity" MAX_EVENT_STREAMS=1 ${brokers:+KAFKA_BROKERS="$brokers"}
if [ -z "$brokers" ]; then
  brokers=$(sed -n 's/.*embedded broker at \([0-9.:]*\).*/\1/p' "$work/activity.log")
fi
serve users "$users" USERS_PORT="$users" KAFKA_BROKERS="$brokers" STATE_PARTITIONS=3 -- users
serve orders "$orders" ORDERS_PORT="$orders" KAFKA_BROKERS="$brokers" STATE_PARTITIONS=3 -- orders
for port in "$activity" "$users" "$orders"; do within 60 answers "http://127.0.0.1:$port/ready"; done

post() { curl -s -o /dev/null --max-time 10 -H 'Content-Type: application/json' "http://127.0.0.1:$1" -d "$2"; } # PORT/PATH BODY
load() {
  local number=0
  while :; do
    number=$((number + 1))
    post "$activity/events/generate" "{\"userId\":\"user-$((number % 50))\",\"eventType\":\"LOGIN\"}" || true
    post "$users/users" "{\"email\":\"user-$number@example.org\",\"name\":\"Ann\"}" || true
    answers "http://127.0.0.1:$activity/events/processed?limit=5" || true
  done
}
load &
pids+=($!)
# The second reader of a stream that has one place gets a 503, the only one.
curl -sN -o /dev/null -D "$work/stream" "http://127.0.0.1:$activity/events/stream" &
pids+=($!)
within 10 test -s "$work/stream"
status=$(curl -sN -o /dev/null --max-time 10 -w '%{http_code}' "http://127.0.0.1:$activity/events/stream" || true)
[ "$status" = 503 ] || { echo "a stream without a place is answered $status"; exit 1; }

prometheus=$(free_port)
cat >"$work/prometheus.yml" <<YAML
global: { scrape_interval: 1s, evaluation_interval: 1s }
rule_files: [$PWD/ops/prometheus/rules.yml, always.yml]
scrape_configs:
  - job_name: highwater
    static_configs: [{ targets: ["127.0.0.1:$activity", "127.0.0.1:$users", "127.0.0.1:$orders"] }]
YAML
# An alert that fires, for the panel of alerts.
echo 'groups: [{ name: always, rules: [{ alert: HighwaterAlways, expr: vector(1) }] }]' >"$work/always.yml"
prometheus --config.file "$work/prometheus.yml" --storage.tsdb.path "$work/tsdb" --web.listen-address "127.0.0.1:$prometheus" \
  --log.level=warn >"$work/prometheus.log" 2>&1 &
pids+=($!)
within 30 answers "http://127.0.0.1:$prometheus/-/ready"

# --- each query -----------------------------------------------------------------------------------------

series() { # QUERY: how many series with a number answer it
  curl -s --max-time 10 "http://127.0.0.1:$prometheus/api/v1/query" --data-urlencode "query=$1" |
    jq -e '[.data.result[] | select(.value[1] != "NaN")] | length'
}
has_series() { [ "$(series "$1")" -gt 0 ]; }
empty=0
while IFS=$'\t' read -r panel query; do
  if within 60 has_series "$query" 2>/dev/null; then
    echo "ok    $panel: $(series "$query") series"
  else
    echo "EMPTY $panel: $query"
    empty=$((empty + 1))
  fi
done < <(
  ops/grafana/dashboard.py --queries
  grep -oE '[a-z_:]*(highwater|process)_[a-z0-9_:]+' ops/prometheus/rules.yml | sort -u | sed 's/.*/rules.yml, &\t&/'
)
[ "$empty" = 0 ] || exit 1

firing=$(curl -s "http://127.0.0.1:$prometheus/api/v1/alerts" | jq -r '[.data.alerts[] | select(.state == "firing" and .labels.alertname != "HighwaterAlways") | .labels.alertname] | unique | join(" ")')
[ -z "$firing" ] || { echo "alerts fire on sound services: $firing"; exit 1; }
echo "all rules, tests and queries are right, and no alert fires"
