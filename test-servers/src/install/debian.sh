# Installs the named packages and starts none of their services. Needs root.
set -eu
export DEBIAN_FRONTEND=noninteractive
# One installation at a time; otherwise the first to finish would remove the policy of the others.
exec 9</usr/sbin
flock 9
# Debian runs this script before it starts a service; 101 forbids the start. An existing policy belongs to the machine.
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
apt update || echo 'continuing with the existing package lists'
apt install --no-install-recommends "$@"
# Disables the services for the next boot, too.
if [ -d /run/systemd/system ]; then
  for service; do
    # A compiler has no service.
    if systemctl cat "$service" >/dev/null 2>&1; then
      systemctl disable --now "$service"
    fi
  done
fi
