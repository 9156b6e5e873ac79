#!/usr/bin/env bash
# Applies manifests of the Helm chart to a real API server of Kubernetes: kube-apiserver on etcd, without nodes and controllers, on
# this machine's loopback. By a dry run of the server: its validation, its defaults and its admission say yes to each, in a namespace
# that takes and wants pods of the profile `restricted` alone. `scripts/helm.sh apiserver` calls it.
#
#   scripts/apiserver.sh compile                  etcd, kube-apiserver and kubectl, from the Go module proxy: ten minutes on two cores
#   scripts/apiserver.sh apply DIRECTORY CRD...   every manifest of the directory, once those custom resources are defined
#
# Variables: PORT (33443), and etcd on the two below it.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

version=1.33.4 etcd_version=3.6.4
cache=${XDG_CACHE_HOME:-$HOME/.cache}/highwater-apiserver/$version
port=${PORT:-33443}

# shellcheck source=scripts/scratch.sh
. "$root/scripts/scratch.sh"
# shellcheck source=scripts/need.sh
. "$root/scripts/need.sh"
# shellcheck source=scripts/go.sh
. "$root/scripts/go.sh"

# copy MODULE@VERSION: goes to a copy of its files. A module that replaces others is compiled from its own files alone; the directories
# that it puts in their place are not among them.
copy() {
  cd "$work"
  rm -rf source
  cp -r "$(module "$1")" source
  chmod -R u+w source
  cd source
}

compile() {
  local name
  need_go
  export GOFLAGS=-mod=mod CGO_ENABLED=0
  mkdir -p "$cache"
  copy "k8s.io/kubernetes@v$version"
  rm -f go.work go.work.sum
  while read -r name; do go mod edit -replace "$name=$name@v0${version#1}"; done \
    < <(sed -nE 's#^\s*(replace )?(k8s.io/[a-z0-9.-]+) => ./staging/.*#\2#p' go.mod)
  for name in kube-apiserver kubectl; do
    go build -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=v$version" -o "$cache/$name" "./cmd/$name"
  done
  copy "go.etcd.io/etcd/server/v3@v$etcd_version"
  while read -r name; do go mod edit -dropreplace "$name"; done < <(sed -nE 's#^\s*(go.etcd.io/\S+) => \.\./.*#\1#p' go.mod)
  go build -ldflags "-s -w" -o "$cache/etcd" .
}

# kubectl ARGUMENTS...: with all that the server says, its warnings too, on standard output.
kubectl() { "$cache/kubectl" --kubeconfig "$work/kubeconfig" "$@" 2>&1; }

start() {
  local etcd=http://127.0.0.1:$((port - 1)) peers=http://127.0.0.1:$((port - 2))
  openssl genrsa -out "$work/accounts.key" 2>/dev/null
  echo 'secret,admin,1,"system:masters"' >"$work/tokens.csv"
  printf '%s\n' 'apiVersion: v1' 'kind: Config' 'current-context: it' \
    "clusters: [{ name: it, cluster: { server: 'https://127.0.0.1:$port', insecure-skip-tls-verify: true } }]" \
    'users: [{ name: admin, user: { token: secret } }]' \
    'contexts: [{ name: it, context: { cluster: it, user: admin, namespace: events } }]' >"$work/kubeconfig"
  "$cache/etcd" --data-dir "$work/etcd" --listen-client-urls "$etcd" --advertise-client-urls "$etcd" --listen-peer-urls "$peers" \
    --initial-advertise-peer-urls "$peers" --initial-cluster "default=$peers" >"$work/etcd.log" 2>&1 &
  pids+=($!)
  "$cache/kube-apiserver" --etcd-servers="$etcd" --bind-address=127.0.0.1 --secure-port="$port" --cert-dir="$work/certificates" \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$work/accounts.key" \
    --service-account-signing-key-file="$work/accounts.key" --service-cluster-ip-range=10.0.0.0/24 \
    --token-auth-file="$work/tokens.csv" >"$work/apiserver.log" 2>&1 &
  pids+=($!)
  for _ in $(seq 600); do
    [ "$(kubectl get --raw /readyz)" != ok ] || return 0
    sleep 0.1
  done
  echo "the API server is not ready in a minute" >&2
  return 1
}

apply() { # DIRECTORY CRD...
  local manifest number=0
  start
  {
    kubectl create namespace events
    kubectl label namespace events pod-security.kubernetes.io/{enforce,warn}=restricted
    # What controllers would make, and what the values of scripts/helm.sh name.
    kubectl create serviceaccount default
    kubectl create priorityclass high --value 1
    for manifest in "${@:2}"; do kubectl apply --server-side -f "$manifest"; done
  } >"$work/made.log"
  for manifest in "$1"/*; do
    kubectl apply --dry-run=server -f "$manifest" >"$work/said" || { echo "$manifest:"; cat "$work/said"; return 1; }
    if grep Warning "$work/said"; then echo "$manifest"; return 1; fi
    number=$((number + 1))
  done
  echo "an API server of Kubernetes $version takes each of $number manifests"
}

case ${1:-} in
  compile) compile ;;
  apply)
    [ -x "$cache/etcd" ] || { echo "scripts/apiserver.sh compile makes what this needs" >&2; exit 1; }
    apply "${@:2}"
    ;;
  *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
