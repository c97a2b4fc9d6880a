# helper - loaded by every .bats file: paths, and the folder with real data or a skip that says so.
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BUILD=$ROOT/${B:-build}
export PATH="$BUILD/bin:$PATH" LC_ALL=C
SHARED=${QZ_SHARED:-$ROOT/../shared}

need_shared() {
	[ -e "$SHARED/$1" ] || skip "no $1 beside the repository"
}
