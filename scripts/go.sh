# shellcheck shell=bash
# For other scripts to source, beside need.sh: Go, and what the Go module proxy has. They have a directory of their own in $work.

export GOTOOLCHAIN=auto
# Any Go from 1.21 on gets itself the version that a module asks for. An older one can get this.
toolchain=golang.org/toolchain@v0.0.1-go1.24.6.linux-$(uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')

module() { # MODULE@VERSION: prints the directory of its files
  # shellcheck disable=SC2154 # the script that sources this has it
  (cd "$work" && GOFLAGS=-mod=mod go mod download -json "$1") | python3 -c 'import json, sys; print(json.load(sys.stdin)["Dir"])'
}
have_go() { # one that is new enough: `go version` says go1.NN
  local version
  version=$(go version 2>/dev/null) && version=${version#*go1.} && [ "${version%%[!0-9]*}" -ge 21 ]
}
need_go() {
  local directory
  need go=golang-go
  have_go && return
  directory=$(module "$toolchain")
  chmod -R u+x "$directory/bin" "$directory/pkg/tool" # the archive of a module has no modes
  export PATH=$directory/bin:$PATH
}
