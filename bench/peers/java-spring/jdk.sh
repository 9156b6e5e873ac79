# shellcheck shell=bash
# Sourced: JAVA_HOME becomes the newest JDK on this machine, feature its feature release.
if [ -z "${PEER_JAVA_HOME:-}" ]; then
  for home in /usr/lib/jvm/*/; do
    if [ ! -x "$home/bin/javac" ] || [ ! -f "$home/release" ]; then continue; fi
    version=$(sed -n 's/^JAVA_VERSION="\([0-9]*\).*/\1/p' "$home/release")
    [ "${version:-0}" -gt "${feature:-0}" ] && { feature=$version; PEER_JAVA_HOME=${home%/}; }
  done
fi
export JAVA_HOME=${PEER_JAVA_HOME:-${JAVA_HOME:-/usr}}
feature=$(sed -n 's/^JAVA_VERSION="\([0-9]*\).*/\1/p' "$JAVA_HOME/release" 2>/dev/null || true)
