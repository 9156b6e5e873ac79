# shellcheck shell=bash
# For other scripts to source: a directory, `work`, and processes, whose ids they add to `pids`, that end with the script. One
# with more to end defines the function `end_too`. When the script fails, the last lines of "$work"/*.log are told.

work=$(mktemp -d)
pids=()

ended() {
  local status=$? pid
  trap - EXIT
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  if declare -F end_too >/dev/null; then end_too; fi
  if [ "$status" != 0 ]; then tail -n 5 "$work"/*.log >&2 2>/dev/null || true; fi
  rm -rf "$work"
  exit "$status"
}
trap ended EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
