# columns.awk - numbers out of JSON lines: awk -v keys=step,loss -f columns.awk run.jsonl
# A line that lacks one of the keys (a header, an evaluation) is passed over.

BEGIN { n = split(keys, key, ",") }
{
	line = ""
	for (i = 1; i <= n; i++) {
		if (!match($0, "\"" key[i] "\" *: *[-+0-9.eE]+")) next
		value = substr($0, RSTART, RLENGTH)
		sub(/^.*: */, "", value)
		line = line (i > 1 ? " " : "") value
	}
	print line
	rows++
}
END { if (!rows) { print "columns.awk: no line has " keys > "/dev/stderr"; exit 1 } }
