# docs/vm.md lists exactly the system calls of profiler/syscalls.c's table, in its order.
set -u
sed -n 's/^ *X(\([a-z0-9_]*\), *[a-z_0-9]*, *"\(.*\)") *\\*$/| `\1` | \2 |/p' \
    "$SOURCE/profiler/syscalls.c" >table
[ "$(wc -l <table)" -ge 30 ] || { echo "only $(wc -l <table) rows found in the source"; exit 1; }
grep '^| `' "$SOURCE/docs/vm.md" | grep -v '\.[cS]`' >listed
diff table listed
