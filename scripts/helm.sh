#!/usr/bin/env bash
# Checks the Helm chart and the workflows of GitHub.
#
#   scripts/helm.sh          all of it, see below; a minute where the tools are there
#   scripts/helm.sh quick    the chart's README, its version, its default values by their schema, and the workflows by actionlint
#   scripts/helm.sh built    whether helm and kubeconform are there
#   scripts/helm.sh apiserver     all of it, and each manifest by a real API server, which scripts/apiserver.sh compiled: two minutes more
#
# All of it is also `helm lint`, what the chart must refuse, and the manifests of the combinations of switches against schemas of
# Kubernetes and against deploy/helm/checks.py. helm, kubeconform and actionlint are compiled from the Go module proxy where they
# are missing, and stay in ~/.cache/highwater-helm: two cores take some two minutes for helm, and seconds for the others. Go comes
# from apt-get where it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

chart=deploy/helm/highwater
cache=${XDG_CACHE_HOME:-$HOME/.cache}/highwater-helm
export PATH=$PATH:$cache
kubernetes=v1.33.4
# shellcheck source=scripts/need.sh
. scripts/need.sh
# shellcheck source=scripts/go.sh
. scripts/go.sh

began=$SECONDS
took() { # NAME: of what ran since the last
  echo "-- $1: $((SECONDS - began)) s"
  began=$SECONDS
}
tool() { # COMMAND PACKAGE: compiles it where it is missing
  command -v "$1" >/dev/null && return
  need_go
  GOBIN=$cache go install "$2"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$cache"
case ${1:-} in
  '' | quick | apiserver) ;;
  built) command -v helm >/dev/null && command -v kubeconform >/dev/null && exit 0 || exit 1 ;;
  *) echo "scripts/helm.sh [quick | built | apiserver]" >&2 && exit 2 ;;
esac

# --- what is quick -----------------------------------------------------------------------------------------

python=python3
if ! python3 -c 'import yaml, jsonschema' 2>/dev/null; then
  apt_install python3-yaml python3-jsonschema
  python=/usr/bin/python3
fi
cp "$chart/README.md" "$work/README.md"
"$python" deploy/helm/readme.py
cmp "$work/README.md" "$chart/README.md" || { echo "run deploy/helm/readme.py and commit its result"; exit 1; }
version=$(sed -n 's/^version = \(".*"\)/\1/p' Cargo.toml)
grep -qx "appVersion: $version" "$chart/Chart.yaml" || { echo "Chart.yaml has another version than Cargo.toml"; exit 1; }
took "the README, and the values by their schema"

tool actionlint github.com/rhysd/actionlint/cmd/actionlint@v1.7.7
actionlint -color=false
took "workflows"
[ "${1:-}" != quick ] || exit 0

# --- tools and schemas -------------------------------------------------------------------------------------

tool helm helm.sh/helm/v3/cmd/helm@v3.18.6
tool kubeconform github.com/yannh/kubeconform/cmd/kubeconform@v0.7.0
took "helm and kubeconform"

need_go # for modules that are no programs
# Kubernetes' own OpenAPI document, and the custom resources of KEDA and of the Prometheus operator.
resources=("$(module github.com/kedacore/keda/v2@v2.17.2)/config/crd/bases/keda.sh_scaledobjects.yaml"
  "$(module github.com/prometheus-operator/prometheus-operator@v0.85.0)"/example/prometheus-operator-crd/monitoring.coreos.com_{servicemonitors,prometheusrules}.yaml)
"$python" deploy/helm/schemas.py "$work/schemas" "$(module k8s.io/kubernetes@$kubernetes)/api/openapi-spec/swagger.json" "${resources[@]}"
took "schemas of Kubernetes $kubernetes"

# --- what the chart refuses --------------------------------------------------------------------------------

base=(--set settings.KAFKA_BROKERS=kafka:9092)
# The longest name that a release may have.
release=a-release-with-a-name-that-is-as-long-as-helm-lets-it
render() { helm template "$release" --namespace events --kube-version "$kubernetes" "$@"; }
quietly() { "$@" >"$work/out" 2>&1 || { cat "$work/out"; return 1; }; } # each use of a link is told on standard error
refused() { # WHY PATTERN OPTION...
  local why=$1 pattern=$2
  shift 2
  if render "$chart" "$@" >"$work/out" 2>&1; then echo "not refused: $why"; exit 1; fi
  grep -q "$pattern" "$work/out" || { echo "refused in other words: $why"; cat "$work/out"; exit 1; }
}
quietly helm lint --strict "$chart" "${base[@]}"
refused "no address of Kafka" "settings.KAFKA_BROKERS" --set activity.replicas=1
refused "a value that does not exist" "replica" "${base[@]}" --set activity.replica=1
refused "a setting that is none by its name" "kafkaTopic" "${base[@]}" --set settings.kafkaTopic=events
refused "a setting that is the chart's own" "settings.DRAIN_DELAY: drainSeconds sets it" "${base[@]}" --set settings.DRAIN_DELAY=1s
refused "a setting that is there twice" "settings have it, too" "${base[@]}" --set settings.HTTPS_KEY=a \
  --set secretFiles.HTTPS_KEY.secret=tls --set secretFiles.HTTPS_KEY.key=tls.key
refused "a drain that leaves no time" "at most half" "${base[@]}" --set drainSeconds=20
refused "a migration without a database" "STORE_URL_FILE" "${base[@]}" --set migrate.enabled=true
refused "a Kubernetes that is too old" "kubeVersion" "${base[@]}" --kube-version 1.26
took "lint, and what the chart refuses"

# --- every combination -------------------------------------------------------------------------------------

# Switches that meet in one manifest, in all their combinations. The others make or change a manifest by themselves, whatever
# else is on, so all of them are off, then all on; then each is on alone, and off alone.
meeting=(users.enabled orders.enabled activity.staticMembership autoscaling.enabled keda.enabled migrate.enabled)
others=(ingress.enabled networkPolicy.enabled serviceMonitor.enabled prometheusRule.enabled serviceAccount.create
  podDisruptionBudget.enabled topologySpread.enabled)
# What has no switch, and what a file may hold: each setting that names one.
full=(--values "$chart/ci/all-values.yaml")
while read -r setting; do
  full+=(--set "secretFiles.$setting.secret=secret,secretFiles.$setting.key=${setting,,}")
done < <(sed -nE 's/^\| .([A-Z_]+). .* the path of a file that can be read \|.*/\1/p' docs/operating/settings.md)
mkdir "$work/manifests"
rendering() { # CHART full|bare VALUE...: with all that has no switch, or with nothing but those values
  local options=("${base[@]}")
  [ "$2" = bare ] || options+=("${full[@]}")
  render "$1" "${options[@]}" --set "$(IFS=, && echo "${*:3}")"
}
manifest() { # NAME VALUE...: a rendering, whose name begins with full or bare. Its first line has the values, for checks.py.
  { echo "# ${*:2}" && rendering "$chart" "${1%%-*}" "${@:2}"; } >"$work/manifests/$1.yaml" 2>"$work/out" ||
    { cat "$work/out"; echo "with ${*:2}"; exit 1; }
}
for value in false true; do
  for ((bits = 0; bits < 1 << ${#meeting[@]}; bits++)); do
    switches=("preStopSeconds=$((bits % 2 * 5))")
    for index in "${!meeting[@]}"; do
      switches+=("${meeting[index]}=$([ $((bits >> index & 1)) = 1 ] && echo true || echo false)")
    done
    manifest "full-$value-$bits" "${others[@]/%/=$value}" "${switches[@]}"
  done
done
for switch in "${others[@]}"; do
  manifest "full-only-$switch" "${others[@]/%/=false}" "${meeting[@]/%/=true}" "$switch=true"
  manifest "full-without-$switch" "${others[@]/%/=true}" "${meeting[@]/%/=true}" "$switch=false"
done
manifest bare
manifest bare-named image.digest="sha256:$(printf '%064d' 1)" serviceAccount.name=events
manifest bare-account serviceAccount.create=false serviceAccount.name=events
manifest bare-from-all networkPolicy.enabled=true ingress.enabled=true
manifest bare-migrate migrate.enabled=true activity.secretFiles.STORE_URL_FILE.{secret=postgres,key=url}
kubeconform -strict -summary -schema-location "$work/schemas/{{.ResourceKind}}{{.KindSuffix}}.json" "$work/manifests"
"$python" deploy/helm/checks.py "$work/manifests"
took "every combination"
if [ "${1:-}" = apiserver ]; then
  scripts/apiserver.sh apply "$work/manifests" "${resources[@]}"
  took "a real API server"
fi

# A package has files in place of links, so the alerts are in it.
quietly helm package "$chart" --destination "$work"
rendering "$work"/highwater-*.tgz full "${others[@]/%/=true}" "${switches[@]}" | cmp - <(tail -n +2 "$work/manifests/full-true-63.yaml")
took "package"
