# shellcheck shell=bash
# For other scripts to source.

need() { # COMMAND=PACKAGE...: installs the packages whose command is missing
  local pair missing=()
  for pair; do command -v "${pair%=*}" >/dev/null || missing+=("${pair#*=}"); done
  [ ${#missing[@]} -eq 0 ] || apt_install "${missing[@]}"
}

apt_install() { # PACKAGE...
  local sudo=()
  [ "$(id -u)" = 0 ] || sudo=(sudo)
  echo "installing $*"
  "${sudo[@]}" apt-get update -qq
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# need_packages CACHE PYTHON_PACKAGES [NPM_PACKAGES]: these versions, and no others, are in CACHE, a directory; Python is in
# CACHE/python, and what npm installs in CACHE/node_modules.
need_packages() {
  local cache=$1 wanted="$2 ${3:-}"
  [ "$(cat "$cache/versions" 2>/dev/null)" != "$wanted" ] || return 0
  echo "installing $wanted"
  rm -rf "$cache"
  mkdir -p "$cache"
  python3 -c 'import ensurepip' 2>/dev/null || need python3-venv=python3-venv
  python3 -m venv "$cache/python"
  # shellcheck disable=SC2086 # several words each
  "$cache/python/bin/pip" install -q --disable-pip-version-check $2
  # Python's packages may bring npm.
  # shellcheck disable=SC2086
  [ -z "${3:-}" ] || PATH=$cache/python/bin:$PATH npm install --silent --no-fund --no-audit --prefix "$cache" $3
  echo "$wanted" >"$cache/versions"
}
