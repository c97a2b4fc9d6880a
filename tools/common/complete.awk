# complete.awk - a tool's bash completion from what the tool itself says.
#
#	qz-merge --help=table > TABLE && awk -v tool=qz-merge -f tools/common/complete.awk TABLE
#
# After an option with a list of words: these words.  After "-": the options.  Else: files and folders.

BEGIN {
	FS = "\t"
	f = "_" tool
	gsub(/-/, "_", f)
}
{
	names = names " --" $2
	if ($1 != "-") names = names " -" $1
	if ($5 == "") next
	words = $5
	gsub(/[|]/, " ", words)
	cases = cases "\t" ($1 != "-" ? "-" $1 " | " : "") "--" $2 ") words='" words "' ;;\n"
}
END {
	print f "() {"
	print "\tlocal word=${COMP_WORDS[COMP_CWORD]} words="
	if (cases) {
		print "\tcase ${COMP_WORDS[COMP_CWORD - 1]} in"
		printf "%s", cases
		print "\tesac"
	}
	print "\t[[ -n $words || $word != -* ]] || words='" substr(names, 2) "'"
	print "\t[[ -z $words ]] || mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")"
	print "}"
	print "complete -o default -F " f " " tool
}
