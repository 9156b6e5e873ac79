# shellcheck shell=bash disable=SC2034,SC2154 # variables are those of scripts/integration.sh
# The part of scripts/integration.sh that takes memory away, which reads this file.

# The service in a container of that size while thousands of clients read slowly, stall in a body or a head, or are idle:
# the system kills nothing, and within seconds the service is as small as it was.
crowded() { # SIZE
  local mode container resident
  APP_MEMORY=$1 compose up -d --wait app-service >"$work/body" 2>&1 || return 1
  container=$(compose ps -q app-service)
  python3 "$root/scripts/connections.py" fill --port "$base_port" --count 5000 || return 1
  for mode in readers bodies heads idle; do
    python3 "$root/scripts/connections.py" "$mode" --port "$base_port" --count 3000 --hold 4 --after 1 >"$work/crowd" || return 1
    status="$mode: $(docker inspect -f 'killed for memory {{.State.OOMKilled}}, restarts {{.RestartCount}}' "$container")"
    [ "$status" = "$mode: killed for memory false, restarts 0" ] || return 1
    within 10 is 200 /ready || return 1
  done
  within 10 small_again
}
small_again() { # less than 120 MB
  resident=$(curl -s --max-time 5 "$base/metrics" | sed -n 's/^process_resident_memory_bytes //p')
  status="$((${resident:-999000000} / 1000000)) MB:"
  [ "${resident:-999000000}" -lt 120000000 ]
}
