#!/usr/bin/env bash
# Checks the Helm chart: its values' schema, `helm lint`, and the manifests of every combination of switches against the schemas
# of Kubernetes. Files that are made from others (README, rules) must be as they would be made now.
#
#   scripts/helm.sh              needs helm, kubeconform, python3 with yaml, and Go where the first two are missing
#
# Variables:
#   KUBERNETES   the version of Kubernetes' schemas (v1.33.4), of its Go module
set -euo pipefail
cd "$(dirname "$0")/.."

chart=deploy/helm/highwater
kubernetes=${KUBERNETES:-v1.33.4}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/highwater-helm
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$cache" "$work/manifests"
export PATH=$PATH:$cache

tool() { # COMMAND PACKAGE: builds what is not there
  command -v "$1" >/dev/null || GOBIN=$cache go install "$2"
}
tool helm helm.sh/helm/v3/cmd/helm@v3.18.6
tool kubeconform github.com/yannh/kubeconform/cmd/kubeconform@v0.7.0

module() { # MODULE@VERSION FILE...: those files of a Go module, in the cache
  local module=$1 file zip
  shift
  for file; do [ -e "$cache/${file##*/}" ] || break; done
  [ ! -e "$cache/${file##*/}" ] || return 0
  zip=$(cd "$work" && GOFLAGS=-mod=mod go mod download -json "$module" | python3 -c 'import json,sys; print(json.load(sys.stdin)["Zip"])')
  for file; do unzip -p "$zip" "$module/$file" >"$cache/${file##*/}"; done
}
module "k8s.io/kubernetes@$kubernetes" api/openapi-spec/swagger.json
module github.com/kedacore/keda/v2@v2.17.2 config/crd/bases/keda.sh_scaledobjects.yaml
module github.com/prometheus-operator/prometheus-operator@v0.85.0 \
  example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml \
  example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml
python3 deploy/helm/schemas.py "$work/schemas" "$cache"/swagger.json "$cache"/*.yaml

cp -r "$chart" "$work/chart"
deploy/helm/readme.py
diff -r "$work/chart" "$chart" || { echo "run deploy/helm/readme.py and commit its result"; exit 1; }

# --- what must be refused ----------------------------------------------------------------------------------

base=(--set settings.KAFKA_BROKERS=kafka:9092)
helm lint --strict "$chart" "${base[@]}"
refused() { # WHY PATTERN OPTION...
  local why=$1 pattern=$2
  shift 2
  if helm template test "$chart" "$@" >"$work/out" 2>&1; then echo "not refused: $why"; exit 1; fi
  grep -q "$pattern" "$work/out" || { echo "refused in other words: $why"; cat "$work/out"; exit 1; }
}
refused "no address of Kafka" "KAFKA_BROKERS" --set activity.replicas=1
refused "a value that does not exist" "replica" "${base[@]}" --set activity.replica=1
refused "a setting that has no setting's name" "kafkaTopic" "${base[@]}" --set settings.kafkaTopic=events
refused "a migration without a database" "STORE_URL_FILE" "${base[@]}" --set migrate.enabled=true

# --- every combination -------------------------------------------------------------------------------------

# Those that meet in one manifest, each with each; the others make manifests of their own, all off or all on.
meeting=(users.enabled orders.enabled activity.staticMembership autoscaling.enabled keda.enabled migrate.enabled)
alone=(ingress.enabled networkPolicy.enabled serviceMonitor.enabled prometheusRule.enabled serviceAccount.create
  podDisruptionBudget.enabled topologySpread.enabled)
files=(--set secretFiles.STORE_URL_FILE.secret=postgres --set secretFiles.STORE_URL_FILE.key=url
  --set secretFiles.HTTPS_CERTIFICATE.secret=tls --set secretFiles.HTTPS_CERTIFICATE.key=tls.crt
  --set secretFiles.HTTPS_KEY.secret=tls --set secretFiles.HTTPS_KEY.key=tls.key)
count=0
for others in false true; do
  for ((bits = 0; bits < 1 << ${#meeting[@]}; bits++)); do
    options=("${base[@]}" "${files[@]}" --set "preStopSeconds=$((bits % 2 * 5))" --set "ingress.tlsSecret=${others/false/}")
    for index in "${!meeting[@]}"; do
      options+=(--set "${meeting[index]}=$([ $((bits >> index & 1)) = 1 ] && echo true || echo false)")
    done
    for switch in "${alone[@]}"; do options+=(--set "$switch=$others"); done
    helm template test "$chart" --namespace events "${options[@]}" >"$work/manifests/$others-$bits.yaml" 2>"$work/out" ||
      { cat "$work/out"; echo "with ${options[*]}"; exit 1; }
    count=$((count + 1))
  done
done
kubeconform -strict -summary -schema-location "$work/schemas/{{.ResourceKind}}{{.KindSuffix}}.json" "$work/manifests"
echo "$count combinations are valid"
