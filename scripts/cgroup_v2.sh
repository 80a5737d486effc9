#!/usr/bin/env bash
# The tests of cgroup v2 on a real kernel that has it, wherever this machine has none:
# a user-mode Linux (Debian package user-mode-linux) boots on this file system as a process.
#
#   scripts/cgroup_v2.sh [PYTHON]      # as root; some minutes, since that kernel is slow
#
# Nothing of this machine's own control groups is touched. Files are written to /tmp only.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(command -v "${1:-python}")
kernel=$(command -v linux.uml || command -v linux) || { echo "first: apt-get install user-mode-linux" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/init" <<INIT
#!/bin/bash
export PATH=/usr/bin:/bin:/usr/sbin:/sbin HOME=/root OMP_NUM_THREADS=1 PYTHONHASHSEED=0
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t cgroup2 none /sys/fs/cgroup
echo "kernel \$(uname -r), controllers: \$(cat /sys/fs/cgroup/cgroup.controllers)"
cd '$PWD'
PYTHONPATH=. '$python' -m pytest tests/test_limits.py -k "cgroup or kernel" -rs \
    -p no:cacheprovider --basetemp='$work/tests' && touch '$work/passed'
echo o >/proc/sysrq-trigger
sleep 10
INIT
chmod +x "$work/init"
"$kernel" root=/dev/root rootfstype=hostfs rootflags=/ rw "init=$work/init" mem=1500M \
    con=null con0=fd:0,fd:1 quiet </dev/null
[ -e "$work/passed" ]
