#!/usr/bin/env bash
# Gives this machine's Rust the target for a static binary, x86_64-unknown-linux-musl (aarch64- on
# ARM), and musl-gcc, which the C in lz4 and zstd is compiled with. Prints the target's name. Then:
#
#   cargo build --release --no-default-features --target "$(scripts/musl-target.sh)"
#
# `rustup target add` does it where rustup is there and can download. Where it cannot (a machine
# that reaches only Debian's packages), the standard library is compiled from Debian's rust-src of
# the same version, which takes some two minutes. Returns at once when all is there.
#
# On x86-64, `scripts/musl-target.sh aarch64` does the same for ARM, with a compiler that runs here. Its
# name, aarch64-linux-musl-gcc, is one that crates with C look for; cargo needs to be told:
#
#   export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER=aarch64-linux-musl-gcc
set -euo pipefail

arch=${1:-$(uname -m)}
target=$arch-unknown-linux-musl
sysroot=$(rustc --print sysroot)
lib=$sysroot/lib/rustlib/$target/lib
case $(uname -m):$arch in
  x86_64:x86_64 | aarch64:aarch64) gcc=gcc musl_gcc=musl-gcc foreign= ;;
  # Debian's packages of the other architecture are not installed, but unpacked in the toolchain.
  x86_64:aarch64) gcc=$arch-linux-gnu-gcc musl_gcc=$arch-linux-musl-gcc foreign=$sysroot/lib/rustlib/$target/debian ;;
  *) echo "musl-target.sh: no static build for $arch on $(uname -m)" >&2 && exit 1 ;;
esac

say() { echo "musl-target.sh: $*" >&2; }

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

install() { # PACKAGE...
  command -v apt-get >/dev/null || { say "needs $*"; return 1; }
  say "installing $*"
  as_root apt-get update -qq >&2
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

have_target() { ls "$lib"/libstd-*.rlib >/dev/null 2>&1; }

# The unwinder of the suite's default LLVM.
unwinder() { apt-cache depends llvm | sed -n 's/.*Depends: llvm-\([0-9]*\)$/libunwind-\1-dev/p'; }

# lists DIR OPTIONS SUITE...: the packages of these suites of Debian. Their lists and what is downloaded stay in DIR, by the
# options of apt-get that are in `apt` afterwards.
lists() {
  local dir=$1 options=$2 mirror suite
  shift 2
  # shellcheck disable=SC2016 # apt's own variable
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 2>/dev/null | grep -m1 '/debian/\?$') ||
    { say "no Debian mirror is configured"; return 1; }
  mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
  for suite; do echo "deb [$options] $mirror $suite main"; done >"$dir/sources.list"
  apt=(-o "Dir::State::lists=$dir/lists" -o "Dir::Etc::sourcelist=$dir/sources.list"
    -o Dir::Etc::sourceparts=/dev/null -o "Dir::Cache=$dir/cache" -o Dir::State::status=/dev/null
    -o APT::Sandbox::User=root) # who made DIR, and no other user, may write there
  apt-get "${apt[@]}" update -qq >&2 || true # a suite may be gone
}

# unpack_foreign DIR: musl and the unwinder of the other architecture.
unpack_foreign() {
  local dir=$1 suite package apt
  suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
  lists "$dir" "arch=arm64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg" "$suite"
  (cd "$dir" && apt-get "${apt[@]}" -o APT::Architectures::=arm64 download -qq musl-dev:arm64 "$(unwinder):arm64" 2>/dev/null)
  mkdir -p "$foreign"
  for package in "$dir"/*.deb; do dpkg -x "$package" "$foreign"; done
  sed -i "s#/usr/[a-z]*/$arch-linux-musl#$foreign&#g" "$foreign/usr/bin/$musl_gcc" "$foreign/usr/lib/$arch-linux-musl/musl-gcc.specs"
  as_root ln -sf "$foreign/usr/bin/$musl_gcc" /usr/local/bin/
}

# fetch_source DIR: the standard library's source, exactly of this rustc's version, from whichever
# Debian suite carries it. Older suites lack the keys of newer ones.
fetch_source() {
  local dir=$1 version full apt
  version=$(rustc --version | cut -d' ' -f2)
  lists "$dir" trusted=yes trixie-backports forky sid experimental
  full=$(apt-cache "${apt[@]}" madison rust-src |
    awk -F' *[|] *' -v v="$version" 'index($2, v) == 1 && !found {print $2; found = 1}')
  [ -n "$full" ] || { say "no Debian suite carries rust-src $version"; return 1; }
  say "compiling the standard library from rust-src $full"
  (cd "$dir" && apt-get "${apt[@]}" download -qq "rust-src=$full" 2>/dev/null && dpkg -x rust-src_*.deb src)
  mv "$dir/src/usr/src/rustc-$version/library" "$dir/library"
}

# compile_unwinder DIR: LLVM's, with the one glibc symbol that Debian's build of it asks for.
compile_unwinder() {
  cat >"$1/chk.c" <<'C'
#include <stdarg.h>
#include <stdio.h>
int __fprintf_chk(FILE *f, int flag, const char *fmt, ...) {
  va_list ap;
  (void)flag;
  va_start(ap, fmt);
  int r = vfprintf(f, fmt, ap);
  va_end(ap);
  return r;
}
C
  "$musl_gcc" -O2 -c "$1/chk.c" -o "$1/chk.o"
  cp "$(find "$foreign"/usr/lib/llvm-*/lib -name libunwind.a | sort -V | head -1)" "$1/libunwind.a"
  "${gcc%gcc}ar" r "$1/libunwind.a" "$1/chk.o" 2>/dev/null
}

# compile_std DIR: beside an empty program, then into the toolchain.
compile_std() {
  local dir=$1 upper object
  upper=$(tr 'a-z-' 'A-Z_' <<<"$target")
  mkdir -p "$sysroot/lib/rustlib/src/rust"
  rm -rf "$sysroot/lib/rustlib/src/rust/library"
  cp -r "$dir/library" "$sysroot/lib/rustlib/src/rust/library"
  cargo new -q --vcs none "$dir/empty"
  (cd "$dir/empty" && env RUSTC_BOOTSTRAP=1 "CARGO_TARGET_${upper}_LINKER=$musl_gcc" \
    RUSTFLAGS="-C target-feature=+crt-static -C link-self-contained=no -C relocation-model=pic -C embed-bitcode=yes -L $dir" \
    cargo build -q --release -Zbuild-std=std,panic_abort,panic_unwind,proc_macro,test \
    --target "$target" --target-dir "$dir/out" >&2)
  mkdir -p "$lib/self-contained"
  find "$dir/out/$target/release/deps" \( -name '*.rlib' -o -name '*.rmeta' \) -exec cp {} "$lib/" \;
  cp "$foreign/usr/lib/$arch-linux-musl"/*.[ao] "$lib/self-contained/"
  cp "$dir/libunwind.a" "$lib/self-contained/"
  for object in crtbegin crtbeginS crtend crtendS; do
    cp "$("$gcc" -print-file-name=$object.o)" "$lib/self-contained/"
  done
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -n "$foreign" ]; then
  command -v "$gcc" >/dev/null || install "gcc-$arch-linux-gnu"
  { [ -d "$foreign" ] && command -v "$musl_gcc" >/dev/null; } || unpack_foreign "$work/foreign"
else
  command -v "$musl_gcc" >/dev/null || install musl-tools
fi
if ! have_target && command -v rustup >/dev/null; then
  rustup target add "$target" >&2 || say "rustup cannot add $target"
fi
if ! have_target; then
  [ -n "$foreign" ] || install gcc musl-tools "$(unwinder)"
  fetch_source "$work"
  compile_unwinder "$work"
  compile_std "$work"
fi
echo "$target"
