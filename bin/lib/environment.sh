# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Where the Python environment of this checkout is, and whether it fits. Nothing here starts a
# process: it is the path of every run of bin/sbx.
: "${root:?}" "${lock:?}" # set by the script that reads this one
packages=$root/src/sbx/system/packages.txt
venv='' # the environment itself, once `environment_fits` has found it

# Sets `envs`, the folder of this checkout's environments for the purpose $1 ('' or a suffix).
locate_environment() {
    local caches name=${root//\//%}
    if [[ ${XDG_CACHE_HOME:-} == /* ]]; then
        caches=$XDG_CACHE_HOME
    elif [[ ${HOME:-} == /* ]]; then
        caches=$HOME/.cache
    else
        printf 'ERROR: no home folder is set\nHint: Set HOME or XDG_CACHE_HOME\n' >&2
        exit 1
    fi
    if ((${#name} > 120)); then name=${name: -120}; fi # the stamp tells apart what this does not
    envs=$caches/opensbx/venv/$name${1:-}
}

# True if the file $1 holds exactly the text $2.
holds() {
    local text=
    [[ -r $1 ]] || return 1
    IFS= read -rd '' text <"$1" || true
    [[ $text == "$2" ]]
}

# Sets `venv` and returns true if the environment is there and fits the lock file.
environment_fits() {
    local key='' wanted=''
    [[ -r $envs/current && -r $lock ]] || return 1
    read -r key <"$envs/current" || return 1
    venv=$envs/$key
    local paths=("$venv"/lib/python3.*/site-packages/opensbx-checkout.pth)
    [[ -x $venv/bin/python && -r $venv/pyvenv.cfg && -r ${paths[0]} ]] || return 1
    IFS= read -rd '' wanted <"$lock" || true
    holds "$venv/stamp" "$root"$'\n'"$wanted"
}

# True if this machine was found to have every package of the list as it is now.
packages_fit() {
    local wanted=''
    IFS= read -rd '' wanted <"$packages" || true
    holds "$envs/packages" "$wanted"
}
