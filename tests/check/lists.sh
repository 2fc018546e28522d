#!/bin/sh
# Nothing is forgotten: each source file and each test is named in its
# directory's local.mk, so that it is built, run and shipped. (TAP)
set -u
cd "$MSGPIPE_SOURCE" || exit 99
number=0
for file in lib/*.h lib/*/*.[ch] bin/*.c tests/unit/*.[ch] tests/bats/*.bats tests/fuzz/*.c; do
    [ -e "$file" ] || continue
    number=$((number + 1))
    outcome=ok
    name=$(basename "$file")
    directory=$(dirname "$file")
    grep -v '^#' "$directory/local.mk" | tr -s '[:blank:]' '[\n*]' | grep -qxF "%D%/$name" || outcome='not ok'
    echo "$outcome $number - $file is in $directory/local.mk"
done
echo "1..$number"
