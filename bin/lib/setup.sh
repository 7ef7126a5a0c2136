# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What bin/sbx and bin/test do only when something is missing: find Python, install the host's
# packages, make a virtual environment.
: "${root:?}" "${envs:?}" "${lock:?}" "${packages:?}" # set by the script that reads this one

say() { printf '%s\n' "$*" >&2; }

# Ends with an error in the form of all our errors: what failed, and what to do now.
fail() { # message, hint
    say "ERROR: $1"
    if [[ -n ${2:-} ]]; then say "Hint: $2"; fi
    exit 1
}

# Debian keeps nft, ip and others where an ordinary user's PATH does not look.
have_program() { PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin type -P "$1" >/dev/null; }

# Prints the real path of the first Python that is new enough, one with a working venv first.
find_python() {
    local candidate found='' seen
    for candidate in python3.13 python3.12 python3.11 python3 /usr/bin/python3; do
        seen=$("$candidate" -I -c '
import os, sys
if sys.version_info < (3, 11): raise SystemExit(1)
try: import ensurepip, venv
except ImportError: venv = None
print("full" if venv else "bare", os.path.realpath(sys._base_executable))' 2>/dev/null) || continue
        if [[ $seen == full\ * ]]; then
            printf '%s\n' "$seen"
            return 0
        fi
        found=${found:-$seen}
    done
    [[ -n $found ]] && printf '%s\n' "$found"
}

# Prints, one a line, `package<TAB>reason` for what is missing of the list in file $1.
missing_packages() {
    local package probe why python version
    python=$(find_python) || python=
    while IFS=$'\t' read -r package probe why; do
        [[ -n $package && $package != \#* ]] || continue
        case $probe in
            /*) [[ -e $probe ]] && continue ;;
            python:*)
                if have_program uv && [[ -n $python ]]; then continue; fi
                [[ $python == full\ * ]] && continue
                # Debian packs this part apart for each version of Python.
                version=${python##*/python}
                if [[ $version == 3.* ]]; then package=python$version-venv; fi
                ;;
            *) have_program "$probe" && continue ;;
        esac
        printf '%s\t%s\n' "$package" "$why"
    done <"$1"
}

no_python() {
    fail 'no Python 3.11 or newer was found' 'Install it: Debian 12 and newer have it as python3'
}

# True if nobody may be asked: told so, or nobody is there.
no_input() {
    local argument
    for argument in "$@"; do
        case $argument in
            --no-input) return 0 ;;
            --) break ;;
        esac
    done
    [[ ! -t 0 || ! -t 2 ]]
}

apt_install() { # root | sudo, then packages
    local as=$1
    shift
    local -a tool=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600)
    if [[ $as == sudo ]]; then tool=(sudo "${tool[@]}"); fi
    local -a install=("${tool[@]}" install -y --no-install-recommends "$@")
    # A fresh machine has no package lists, an old one has lists of versions that are gone.
    if compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null && "${install[@]}" >&2; then
        return 0
    fi
    "${tool[@]}" update >&2 && "${install[@]}" >&2
}

# Installs what is missing of the list in file $1; the further arguments are those of the command.
install_packages() {
    local list=$1 line missing command answer
    local -a names=()
    shift
    missing=$(missing_packages "$list")
    [[ -n $missing ]] || return 0

    say 'This machine lacks packages that sbx needs:'
    while IFS= read -r line; do
        names+=("${line%%$'\t'*}")
        printf '  %-24s %s\n' "${line%%$'\t'*}" "${line#*$'\t'}" >&2
    done <<<"$missing"
    command="apt-get install --no-install-recommends ${names[*]}"

    if ! have_program apt-get; then
        fail "missing packages: ${names[*]}" 'Install what your distribution calls them, and run sbx again'
    elif ((EUID == 0)); then
        say "Running: $command"
        apt_install root "${names[@]}" ||
            fail "packages could not be installed: ${names[*]}" "Run: apt-get update && $command"
    elif no_input "$@" || ! have_program sudo; then
        fail "missing packages: ${names[*]}" "Run as root: $command"
    else
        printf 'Run this? [Y/n]  sudo %s  ' "$command" >&2
        read -r answer || answer=n
        case $answer in
            '' | [yY] | [yY]es) ;;
            *) fail "missing packages: ${names[*]}" "Run: sudo $command" ;;
        esac
        apt_install sudo "${names[@]}" ||
            fail "packages could not be installed: ${names[*]}" "Run: sudo $command"
    fi
    missing=$(missing_packages "$list")
    find_python >/dev/null || no_python
    [[ -z $missing ]] ||
        fail "still missing after the installation: ${missing%%$'\t'*}" "Run: $command"
}

# Fills the new environment $1 with Python $2. uv is quicker where it is; pip asks the same mirrors
# that the user set up for it, so it also gets its turn when uv could not reach one.
fill_environment() {
    local target=$1 python=$2 log=$1.log
    {
        if have_program uv &&
            uv venv --quiet --no-project --no-python-downloads --python "$python" "$target" &&
            uv pip install --quiet --python "$target/bin/python" --require-hashes --no-deps \
                --only-binary :all: --link-mode copy -r "$lock"; then
            return 0
        fi
        rm -rf -- "$target"
        "$python" -I -m venv "$target" &&
            "$target/bin/python" -I -m pip install --quiet --disable-pip-version-check \
                --no-input --require-hashes --no-deps --only-binary :all: -r "$lock"
    } >"$log" 2>&1 </dev/null
}

# True if a process still runs from the environment $1: a running sandbox keeps its supervisor.
in_use() { grep -qsF -- "$1/" /proc/[0-9]*/cmdline; }

# Makes this checkout's environment and sets `venv`. The caller holds the lock of `envs`.
make_environment() {
    local found python wanted='' new key site old
    found=$(find_python) || no_python
    python=${found#* }
    if [[ $found == bare\ * ]] && ! have_program uv; then
        fail "no venv module for $python" 'Run as root: apt-get install python3-venv'
    fi
    IFS= read -rd '' wanted <"$lock" || true
    key=$(printf '%s\0%s\0%s' "$root" "$python" "$wanted" | sha256sum)
    key=${key:0:16}
    new=$envs/new.$key

    say 'Making the Python environment (once for this checkout) …'
    rm -rf -- "$envs"/new.*
    if ! (cd -- "$root" && fill_environment "$new" "$python"); then
        say "$(tail -n 15 -- "$new.log" 2>/dev/null)"
        fail 'the Python environment could not be made' 'Check the network and the package mirror of pip'
    fi
    for site in "$new"/lib/python3.*/site-packages; do
        printf '%s\n' "$root/src" >"$site/opensbx-checkout.pth"
    done
    printf '%s\n%s' "$root" "$wanted" >"$new/stamp"

    # A name that is there belongs to an environment without a fitting stamp: a broken one. What
    # still runs from it keeps its open files; everybody else gets the new one.
    rm -rf -- "${envs:?}/$key"
    mv -T -- "$new" "$envs/$key"
    printf '%s\n' "$key" >"$envs/current.new"
    mv -T -- "$envs/current.new" "$envs/current"
    rm -f -- "$new.log"
    venv=$envs/$key
    remove_old_environments
}

# Removes what earlier locks of this checkout, and checkouts that are gone, left behind.
remove_old_environments() {
    local old owner
    for old in "$envs"/????????????????; do
        if [[ -d $old && $old != "$venv" ]] && ! in_use "$old"; then rm -rf -- "$old"; fi
    done
    for old in "${envs%/*}"/*/*/stamp; do
        read -r owner <"$old" || continue
        old=${old%/*}
        if [[ ! -e $owner ]] && ! in_use "$old"; then rm -rf -- "${old%/*}"; fi
    done
}

# These only look or explain, so they also work where packages are missing.
needs_packages() {
    local argument
    for argument in "$@"; do
        case $argument in
            diagnose | version | help | completion | --help | -h | --version) return 1 ;;
            -*) ;;
            *) return 0 ;;
        esac
    done
    return 0
}

# Only one process at a time changes the environments of a checkout; the others wait.
hold_lock() {
    (umask 077 && mkdir -p -- "$envs") 2>/dev/null ||
        fail "cannot make the folder: $envs" 'Set XDG_CACHE_HOME to a folder that you may write to'
    exec {turn}>"$envs/lock"
    flock "$turn"
}

release_lock() { exec {turn}>&-; }

# Makes ready what is missing and sets `venv`; the arguments are those of the command.
prepare() {
    hold_lock
    if needs_packages "$@" && ! packages_fit; then
        install_packages "$packages" "$@"
        cp -- "$packages" "$envs/packages.new"
        mv -T -- "$envs/packages.new" "$envs/packages"
    fi
    environment_fits || make_environment
    release_lock
}
