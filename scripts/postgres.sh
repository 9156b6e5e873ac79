#!/usr/bin/env bash
# A real PostgreSQL on this machine, without Docker: Debian's, in a folder of its own.
#
#   scripts/postgres.sh start  [PORT]            start it, return when it answers
#   scripts/postgres.sh stop   [PORT]            stop it and delete its data
#   scripts/postgres.sh psql   [PORT] ARGS...    psql as the superuser
#   scripts/postgres.sh kill   [PORT]            kill -9 all of it; its data stay
#   scripts/postgres.sh revive [PORT]            start it again on its data
#   scripts/postgres.sh restart [PORT]           stop it as an operator does, and start it again
#   scripts/postgres.sh reload [PORT]            it reads its settings again
#   scripts/postgres.sh pause  [PORT]            it hangs without closing a connection
#   scripts/postgres.sh resume [PORT]            and goes on
#   scripts/postgres.sh log    [PORT]            the path of its log
#   scripts/postgres.sh tls    [PORT]            where ca.pem is, which signed its certificate for localhost
#
# `start` prints the URL of the database highwater, and only that, on standard output. The user, highwater,
# may create databases, and needs the password in that URL:
#
#   STORE_URL=$(scripts/postgres.sh start 5433) cargo run --release
#   TEST_POSTGRES_URL=$(scripts/postgres.sh start 5433) cargo test
#
# PORT is 5433 if not given. It listens on 127.0.0.1 alone, with TLS for those who ask for it. As root, it runs as the
# user postgres, since PostgreSQL refuses root.
#
# Needs PostgreSQL's server (14 or later) and openssl; where apt-get is there and they are not, it installs them.
#   HIGHWATER_POSTGRES_HOME   where data and logs are (~/.cache/highwater-postgres; as root /var/tmp/highwater-postgres)
#   POSTGRES_SETTINGS         more settings, as `name=value name=value`
#   POSTGRES_BIN              where its programs are; else the newest of /usr/lib/postgresql
set -euo pipefail

command=${1:-}
port=${2:-5433}
as=()
if [ "$(id -u)" = 0 ]; then
  home=${HIGHWATER_POSTGRES_HOME:-/var/tmp/highwater-postgres}
  as=(setpriv --reuid=postgres --regid=postgres --clear-groups env HOME="$home")
else
  home=${HIGHWATER_POSTGRES_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/highwater-postgres}
fi
dir=$home/$port
data=$dir/data
password=highwater

say() { echo "postgres.sh: $*" >&2; }

# programs: sets $bin; installs PostgreSQL where there is none.
programs() {
  bin=${POSTGRES_BIN:-$(find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)}
  [ -x "$bin/initdb" ] && command -v openssl >/dev/null && return
  command -v apt-get >/dev/null || { say "needs PostgreSQL's server and openssl"; return 1; }
  local sudo=()
  [ "$(id -u)" = 0 ] || sudo=(sudo)
  say "installing PostgreSQL"
  "${sudo[@]}" apt-get update -qq >&2
  # Without Debian's own cluster, which would listen on port 5432.
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive sh -c '
    mkdir -p /etc/postgresql-common/createcluster.d
    echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.d/highwater.conf
    apt-get install -y -qq --no-install-recommends postgresql openssl' >&2
  bin=${POSTGRES_BIN:-$(find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin | sort -V | tail -n 1)}
}

# postmaster: its process id, when that is still the process this script started.
postmaster() {
  local pid
  pid=$(head -n 1 "$data/postmaster.pid" 2>/dev/null) || return 1
  [[ "$(ps -ww -o args= -p "$pid" 2>/dev/null)" == *"$data"* ]] && echo "$pid"
}

# family: the postmaster and all that it started.
family() {
  local pid
  pid=$(postmaster) || return 1
  echo "$pid"
  pgrep -P "$pid" || true
}

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; }
superuser() { "$bin/psql" -X -q -v ON_ERROR_STOP=1 -h "$dir" -p "$port" -U postgres "$@"; }

launch() {
  # As a child of init, in a session of its own: it outlives the shell that asked for it.
  "${as[@]}" "$bin/pg_ctl" -D "$data" -l "$dir/log" -w -t 60 -s start >&2 </dev/null ||
    { tail -n 20 "$dir/log" >&2; return 1; }
}

certificates() {
  local days=3650
  openssl req -x509 -newkey rsa:2048 -nodes -days $days -subj "/CN=highwater test authority" \
    -keyout "$dir/ca.key" -out "$dir/ca.pem" 2>/dev/null
  openssl req -newkey rsa:2048 -nodes -subj "/CN=localhost" -keyout "$dir/server.key" -out "$dir/server.csr" 2>/dev/null
  openssl x509 -req -in "$dir/server.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -CAcreateserial -days $days \
    -extfile <(echo "subjectAltName=DNS:localhost") -out "$dir/server.pem" 2>/dev/null
  chmod 600 "$dir/server.key"
  chmod 644 "$dir/ca.pem"
  [ ${#as[@]} = 0 ] || chown postgres: "$dir/server.key" "$dir/server.pem"
}

start() {
  programs
  if postmaster >/dev/null; then say "runs already on port $port"; return 1; fi
  if listens; then say "port $port is taken"; return 1; fi
  rm -rf "$dir"
  mkdir -p "$dir"
  chmod 755 "$home" "$dir"
  certificates
  [ ${#as[@]} = 0 ] || chown postgres: "$dir"
  "${as[@]}" "$bin/initdb" -D "$data" -U postgres --auth-local=trust --auth-host=scram-sha-256 \
    --encoding=UTF8 --locale=C >"$dir/initdb.log" 2>&1 </dev/null || { cat "$dir/initdb.log" >&2; return 1; }
  {
    echo "listen_addresses = '127.0.0.1'"
    echo "port = $port"
    echo "unix_socket_directories = '$dir'"
    echo "ssl = on"
    echo "ssl_cert_file = '$dir/server.pem'"
    echo "ssl_key_file = '$dir/server.key'"
    for setting in ${POSTGRES_SETTINGS:-}; do echo "${setting%%=*} = '${setting#*=}'"; done
  } | "${as[@]}" tee -a "$data/postgresql.conf" >/dev/null
  launch
  superuser -d postgres -c "CREATE ROLE highwater LOGIN CREATEDB CREATEROLE PASSWORD '$password'" \
    -c "CREATE DATABASE highwater OWNER highwater"
  echo "postgres://highwater:$password@127.0.0.1:$port/highwater"
}

stop() {
  programs
  if postmaster >/dev/null; then
    family | xargs -r kill -CONT 2>/dev/null || true
    "${as[@]}" "$bin/pg_ctl" -D "$data" -m immediate -w -s stop >&2
  fi
  rm -rf "$dir"
}

case $command in
  start) start ;;
  stop) stop ;;
  psql) programs; shift 2; superuser -d highwater "$@" ;;
  kill)
    mapfile -t pids < <(family)
    [ ${#pids[@]} = 0 ] || kill -KILL "${pids[@]}" 2>/dev/null || true
    # A process that is still ending keeps another from the data.
    for pid in "${pids[@]}"; do
      for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    done
    ;;
  revive) programs; launch ;;
  restart)
    programs
    "${as[@]}" "$bin/pg_ctl" -D "$data" -m fast -w -t 60 -s stop >&2 </dev/null
    launch
    ;;
  reload) programs; "${as[@]}" "$bin/pg_ctl" -D "$data" -s reload >&2 ;;
  pause) family | xargs -r kill -STOP ;;
  resume) family | xargs -r kill -CONT ;;
  log) echo "$dir/log" ;;
  tls) echo "$dir" ;;
  *)
    sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' "$0" >&2
    exit 2
    ;;
esac
