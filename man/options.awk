# options.awk - fills a manual page from what the tool itself says.
#
#	qz-merge --help=table > TABLE && awk -f man/options.awk TABLE man/qz-merge.1 > build/man/qz-merge.1
#
# The line '.\" OPTIONS' becomes the list of options: letter, name, argument, default, words and
# text of the table.  The line '.\" EXAMPLES FILE' becomes that script: its comments are prose, its
# commands a display; what stands before the first empty line is left out.  With -v version=V the
# foot of the page names the version.

# Text into mdoc: nothing in it is a request, each sentence has a line of its own.
function prose(s, n, i, part) {
	gsub(/\\/, "\\e", s)
	gsub(/[.] +/, ".\n", s)
	n = split(s, part, "\n")
	for (i = 1; i <= n; i++) {
		if (part[i] ~ /^[.']/) part[i] = "\\&" part[i]
		print part[i]
	}
}

function option(letter, name, arg, value, words, text) {
	line = ".It "
	if (letter != "-") line = line "Fl " letter " , "
	line = line "Fl -" name
	if (arg != "") line = line " Ar " arg
	print line
	prose(text)
	if (words != "") {
		gsub(/[|]/, ", ", words)
		print "One of " words "."
	}
	if (value != "" && value != "0") print "The default is " value "."
}

function examples(file, line, show, code) {
	while ((getline line < file) > 0) {
		if (line == "") { show = 1; continue }
		if (!show) continue
		if (line ~ /^# ?/) {
			if (code) print ".Ed\n.Pp"
			code = 0
			sub(/^# ?/, "", line)
			prose(line)
			continue
		}
		if (!code) print ".Bd -literal -offset indent"
		code = 1
		gsub(/\\/, "\\e", line)
		print (line ~ /^[.']/ ? "\\&" : "") line
	}
	if (code) print ".Ed"
	close(file)
}

FILENAME == ARGV[1] { table[++n_rows] = $0; next }
/^[.]\\" OPTIONS/ {
	print ".Bl -tag -width Ds"
	for (i = 1; i <= n_rows; i++) {
		split(table[i], col, "\t")
		option(col[1], col[2], col[3], col[4], col[5], col[6])
	}
	print ".El"
	next
}
/^[.]Os qz$/ && version { print $0 " " version; next }
/^[.]\\" EXAMPLES / { examples($3); next }
{ print }
