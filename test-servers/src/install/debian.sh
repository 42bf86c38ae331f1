# Installs the packages that are named, without starting the services that they bring. To be run as root.
set -eu
export DEBIAN_FRONTEND=noninteractive
# One at a time, or the first to end would remove the policy of the others.
exec 9</usr/sbin
flock 9
# What Debian asks before it starts a service: 101 is no. A policy that is there already is the machine's own.
policy=/usr/sbin/policy-rc.d
if ! [ -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  trap 'exit 1' HUP INT TERM
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
fi
apt() {
  apt-get -qq -o Dpkg::Use-Pty=0 -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 "$@" 9<&-
}
apt update || echo 'going on with the lists of packages that are here'
apt install --no-install-recommends "$@"
# Nor at the next start of the machine.
if [ -d /run/systemd/system ]; then
  for service; do
    # A compiler brings none.
    if systemctl cat "$service" >/dev/null 2>&1; then
      systemctl disable --now "$service"
    fi
  done
fi
