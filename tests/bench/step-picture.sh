#!/usr/bin/env bash
# step-picture.sh TRACE OUT.svg: a picture of where the time of a training step goes, with gnuplot, out of what
# `qz-bench train --trace --json` printed: a bar an op and part, shapes added up; parts below 1 % are one bar.
# OUT.png is drawn likewise.
set -eu
trace=$1 out=$2
table=$(mktemp "${TMPDIR:-/tmp}/step-picture.XXXXXX")
trap 'rm -f "$table"' EXIT

# "part":"linear: x W 4096 x 4096 x 14336","calls":32.0,"ms":1.5 -> linear: x W
sed -n 's/^{"part":"\([^"]*\)","calls":[^,]*,"ms":\([0-9.]*\)}$/\2\t\1/p' "$trace" |
	sed 's/ [0-9]*\( x [0-9]*\)*$//' |
	awk -F '\t' '{ ms[$2] += $1; all += $1 }
		END {
			if (all <= 0) exit 1
			for (p in ms) if (ms[p] >= all / 100) printf "1\t%.2f\t%s\n", ms[p], p; else rest += ms[p]
			if (rest) printf "0\t%.2f\t%s\n", rest, "all below 1 %"
		}' | sort -n -k 1,1 -k 2,2 | cut -f 2- >"$table" || { echo "step-picture.sh: $trace: no parts of a step" >&2; exit 3; }
[ -s "$table" ] || { echo "step-picture.sh: $trace: no parts of a step" >&2; exit 3; }
sum=$(awk '{ s += $1 } END { printf "%.0f", s }' "$table")
n=$(wc -l <"$table")
case $out in
*.png) term="pngcairo size 1000,$((90 + 26 * n)) font 'Sans,11'" ;;
*) term="svg size 1000,$((90 + 26 * n)) font 'Sans,13' background rgb 'white'" ;;
esac
gnuplot <<G
set terminal $term
set output '$out'
set title 'A training step: $sum ms' font ',14' noenhanced
set datafile separator '\t'
set style fill solid 0.9 noborder
set yrange [-0.6:$n - 0.4]
set xrange [0:*]
set offsets 0, graph 0.08, 0, 0
set xlabel 'ms'
set border 3
set termoption noenhanced
set tics nomirror out
set ytics scale 0
set grid xtics lc rgb '#dddddd' lt 1
unset key
plot '$table' using (\$1 / 2):0:(\$1 / 2):(0.38):yticlabels(2) with boxxyerror lc rgb '#3b6ea5', \
	'' using 1:0:(sprintf(' %.1f', \$1)) with labels left font ',10'
G
