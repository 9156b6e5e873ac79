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
