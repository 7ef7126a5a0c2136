# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# The Python environment of the benchmarks: the product's packages and those that draw. Sets `python`.
: "${root:?}" # set by the script that reads this one
lock=$root/requirements-bench.lock
# shellcheck source=bin/lib/environment.sh
source "$root/bin/lib/environment.sh"
locate_environment +bench
# shellcheck source=bin/lib/setup.sh
source "$root/bin/lib/setup.sh"
hold_lock
environment_fits || make_environment
release_lock
unset PYTHONHOME
export PYTHONPATH=$root/src:$root
# shellcheck disable=SC2034 # used by the script that reads this one
python=("$venv/bin/python" -P)
