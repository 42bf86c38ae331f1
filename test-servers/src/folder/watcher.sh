# Removes the folder $1 and kills the processes in it, after the process at the other end of the input has ended. A
# process that is killed cannot clean up, and a process that exits does not drop its statics.
trap '' HUP INT TERM
read -r _
# On a busy machine, processes take a while to end.
tries=0
while [ "$tries" -lt 600 ]; do
  tries=$((tries + 1))
  # Servers end with their parent, except frozen child processes of a server.
  find /proc/[0-9]* -maxdepth 1 -name cwd -lname "$1*" 2>/dev/null |
    while IFS=/ read -r _ _ pid _; do
      kill -KILL "$pid"
    done
  rm -rf -- "$1" && exit
  sleep 0.1
done
