#!/bin/sh
# deps.sh - the packages that a goal needs: installs the missing ones on Debian and Ubuntu as root,
# else prints the one command that would.   usage: scripts/deps.sh build|check|demo|experiment|interop...
set -eu

# goal, package, how to see that it is there (a shell command).  The first goal that names a
# package is enough: check and demo include build.
packages() {
	cat <<-'END'
	build gcc              command -v "${CC:-gcc}" || command -v cc
	build libc6-dev        test -e /usr/include/stdio.h
	build make             command -v make
	build pkg-config       command -v pkg-config
	build libzstd-dev      pkg-config --exists libzstd
	build libarchive-dev   pkg-config --exists libarchive
	build libxxhash-dev    pkg-config --exists libxxhash
	build libpcre2-dev     pkg-config --exists libpcre2-8
	build libutf8proc-dev  pkg-config --exists libutf8proc
	check perl             perl -MTest::Harness -MJSON::PP -e 1
	check bats             command -v bats
	check shellcheck       command -v shellcheck
	check mandoc           command -v mandoc
	demo python3-venv      python3 -c "import ensurepip, venv"
	experiment gnuplot-nox command -v gnuplot
	interop python3-venv   python3 -c "import ensurepip, venv"
	END
}

goals=' '
for goal; do
	case $goal in
	build) goals="$goals build " ;;
	check | demo | experiment | interop) goals="$goals build $goal " ;;
	*)
		echo "deps.sh: '$goal' is none of build, check, demo, experiment, interop" >&2
		exit 2
		;;
	esac
done
if [ "$goals" = ' ' ]; then
	echo 'usage: scripts/deps.sh build|check|demo|experiment|interop...' >&2
	exit 2
fi

missing=$(packages | while read -r goal package there; do
	case $goals in
	*" $goal "*) sh -c "$there" >/dev/null 2>&1 </dev/null || printf ' %s' "$package" ;;
	esac
done)
[ -n "$missing" ] || exit 0

install="apt-get install -y --no-install-recommends$missing"
if ! command -v apt-get >/dev/null; then
	echo "missing (by their Debian names):$missing" >&2
	exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
	echo "missing:$missing" >&2
	echo "    sudo apt-get update && sudo $install" >&2
	exit 1
fi
echo "installing:$missing" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
# Words of $install are a command and its arguments.
# shellcheck disable=SC2086
$install -qq -o=Dpkg::Use-Pty=0 >/dev/null
