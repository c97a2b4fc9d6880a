# report.awk - one row a model, out of what qz-bench ppl printed: files ppl-NAME.txt.

BEGIN { print "# Two learning rates, " steps " steps\n\n| model | held-out loss |\n|---|---|" }
{
	for (i = 1; i < NF; i++)
		if ($i == "loss") {
			name = FILENAME
			sub(/^.*ppl-/, "", name)
			sub(/[.]txt$/, "", name)
			print "| " (name == "base" ? name : "base + adapter, learning rate " name) " | " $(i + 1) " |"
			rows++
		}
}
END {
	print "\n![loss by step](loss.svg)"
	if (rows != ARGC - 1) {
		print "report.awk: " rows " losses in " ARGC - 1 " files" > "/dev/stderr"
		exit 1
	}
}
