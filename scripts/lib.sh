# Sourced by the other scripts: where things are kept, and how Debian packages are fetched without touching the machine's own apt configuration.
# What is downloaded stays in $PALISADE_CACHE (default ~/.cache/palisade), outside the checkout, and is used again.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${PALISADE_CACHE:-${HOME:-/root}/.cache/palisade}
export LC_ALL=C

say() { printf '\n== %s\n' "$*" >&2; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }
need_root() { [ "$(id -u)" = 0 ] || die "must run as root: containers, mounts and cgroups are made"; }

# Installs the named Debian packages that are missing.
install_packages() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    say "installing ${missing[*]}"
    if ! apt-get install -y --no-install-recommends "${missing[@]}" >"$CACHE/install.log" 2>&1; then
        apt-get update >"$CACHE/install.log" 2>&1 &&
            DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}" >>"$CACHE/install.log" 2>&1 ||
            { tail -20 "$CACHE/install.log" >&2; die "cannot install ${missing[*]}"; }
    fi
}

# The archive that the machine's own apt uses for its Debian release.
debian_archive() {
    apt-get indextargets --format '$(CREATED_BY)|$(COMPONENT)|$(LABEL)|$(REPO_URI)' 2>/dev/null |
        sed -n 's/^Packages|main|Debian|//p' | head -1
}

# Runs an apt command with a configuration of its own that knows bookworm, trixie and sid.
private_apt() {
    local apt=$CACHE/apt
    APT_CONFIG=$apt/apt.conf "$@"
}

# Writes that configuration and fetches its package lists, once a day at most.
prepare_private_apt() {
    local apt=$CACHE/apt uri suite
    [ -n "$(find "$apt/fetched" -mmin -1440 2>/dev/null)" ] && return 0
    uri=$(debian_archive)
    if [ -z "$uri" ]; then
        apt-get update >"$CACHE/apt-update.log" 2>&1 || { tail -5 "$CACHE/apt-update.log" >&2; die "apt-get update failed"; }
        uri=$(debian_archive)
    fi
    [ -n "$uri" ] || die "no Debian archive among this machine's apt sources"
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/empty"
    for suite in bookworm trixie sid; do echo "deb $uri $suite main"; done >"$apt/sources.list"
    cat >"$apt/apt.conf" <<CONF
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "$apt/empty";
Dir::Etc::preferences "$apt/none";
Dir::Etc::preferencesparts "$apt/empty";
Dir::State::lists "$apt/lists";
Dir::Cache "$apt/cache";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
APT::Sandbox::User "root";
CONF
    say "fetching the package lists of bookworm, trixie and sid into $apt"
    private_apt apt-get update >"$apt/update.log" 2>&1 || { tail -5 "$apt/update.log" >&2; die "cannot fetch package lists from $uri"; }
    touch "$apt/fetched"
}

# unpack NAME PACKAGE/SUITE...: downloads the packages and unpacks them into $CACHE/NAME, unless that was done before.
unpack() {
    local name=$1 dir=$CACHE/$1 work
    shift
    [ -e "$dir/.complete" ] && return 0
    prepare_private_apt
    work=$(mktemp -d "$CACHE/unpack.XXXXXX")
    say "fetching $* into $dir"
    (cd "$work" && private_apt apt-get download "$@" >download.log 2>&1) ||
        { tail -5 "$work/download.log" >&2; rm -rf "$work"; die "cannot download $*"; }
    mkdir "$work/root"
    for deb in "$work"/*.deb; do dpkg -x "$deb" "$work/root"; done
    chmod 755 "$work/root"
    (cd "$work" && ls -- *.deb) >"$work/root/.complete"
    rm -rf "$dir"
    mv "$work/root" "$dir"
    rm -rf "$work"
}

MUSL=x86_64-unknown-linux-musl

# Builds the shim with a cargo profile as one static file; sets SHIM.
build_shim() {
    static_build "$1" -p palisade --bin containerd-shim-palisade-v1
    SHIM=$BUILT/containerd-shim-palisade-v1
}

# Builds what the suite runs in containers; sets PROBE, the folder with it.
build_probe() {
    static_build ci -p palisade-probe --bins
    PROBE=$BUILT
}

# Builds the program that reads OCI documents as runc does, with the newest types of runtime-spec that Debian has; sets GO_READER.
build_go_reader() {
    install_packages golang-go
    unpack gospec golang-github-opencontainers-specs-dev/sid
    GO_READER=$CACHE/gospec/reader
    (cd "$ROOT/tests/gospec" && GO111MODULE=off GOFLAGS='' GOPATH=$CACHE/gospec/usr/share/gocode GOCACHE=$CACHE/go-build go build -o "$GO_READER" .) >&2 ||
        die "the build of tests/gospec failed"
}

# static_build PROFILE CARGO_ARGUMENTS...: for musl, or with glibc linked in where that target can't be had; sets BUILT, the folder with the result.
static_build() {
    local profile=$1 target=$MUSL folder
    shift
    if ! rustc --print target-libdir --target "$target" 2>/dev/null | xargs test -d && ! rustup target add "$target" >&2; then
        target=x86_64-unknown-linux-gnu
        export RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static"
    fi
    (cd "$ROOT" && cargo build --locked --profile "$profile" --target "$target" "$@" >&2) || die "the build failed"
    folder=$profile
    [ "$profile" = dev ] && folder=debug
    BUILT=$(target_folder)/$target/$folder
}

# Cargo's target folder.
target_folder() {
    (cd "$ROOT" && cargo metadata --format-version 1 --no-deps) | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}
