#!/bin/sh
# Says which version of a package a repository has: repository_candidate PACKAGE, with a source of apt (deb822) on standard input.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
mkdir -p "$folder/parts" "$folder/lists/partial" "$folder/cache"
cat >"$folder/parts/repository.sources"
set -- "$1" -o "Dir::Etc::SourceList=/dev/null" -o "Dir::Etc::SourceParts=$folder/parts" -o "Dir::State::Lists=$folder/lists" \
  -o "Dir::Cache=$folder/cache" -o "APT::Sandbox::User=root"
package=$1
shift
apt-get "$@" -qq -o "APT::Update::Error-Mode=any" update >&2
apt-cache "$@" show --no-all-versions "$package" 2>/dev/null | sed -n 's/^Version: //p'
