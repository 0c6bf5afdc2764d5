/* The bash completion script: the tables as shell functions, and below them one fixed program that
 * reads them.
 *
 * It needs nothing but bash itself. bash splits the command line at ":" and "=" too, which occur
 * within our words (NAME:TAG, --option=value): _wnodes_words puts them together again.
 */
#include "cli/verb.h"

static const char script_head[] = "# bash completion for wnodes, made by `wnodes completion`\n"
				  "\n";

static const char script_words[] =
	"# Splits the line up to the cursor into the words that wnodes would get, and where each\n"
	"# of them begins in COMP_WORDS.\n"
	"_wnodes_words() {\n"
	"\tlocal line=${COMP_LINE:0:COMP_POINT} i rest word\n"
	"\twords=() starts=()\n"
	"\tfor ((i = 0; i <= COMP_CWORD; i++)); do\n"
	"\t\trest=${line#\"${line%%[![:space:]]*}\"}\n"
	"\t\tword=${COMP_WORDS[i]}\n"
	"\t\t((i == COMP_CWORD)) && word=$rest\n"
	"\t\tif ((i == 0)) || [[ $rest != \"$line\" ]]; then\n"
	"\t\t\twords+=(\"$word\")\n"
	"\t\t\tstarts+=(\"$i\")\n"
	"\t\telse\n"
	"\t\t\twords[-1]+=$word\n"
	"\t\tfi\n"
	"\t\tline=${rest#\"$word\"}\n"
	"\tdone\n"
	"}\n"
	"\n"
	"# Offers those of the arguments that begin with what is there.\n"
	"_wnodes_offer() {\n"
	"\tlocal candidate\n"
	"\tfor candidate; do\n"
	"\t\t[[ $candidate == \"$value\"* ]] && COMPREPLY+=(\"$candidate\")\n"
	"\tdone\n"
	"}\n"
	"\n"
	"# Offers what wnodes itself lists.\n"
	"_wnodes_offer_list() {\n"
	"\tlocal lines\n"
	"\tmapfile -t lines < <(\"${words[0]/#\\~/$HOME}\" \"$@\" --quiet 2>/dev/null </dev/null)\n"
	"\t_wnodes_offer \"${lines[@]}\"\n"
	"}\n"
	"\n"
	"# Offers what the site lists, if it does so soon.\n"
	"_wnodes_offer_site() {\n"
	"\tlocal lines\n"
	"\tmapfile -t lines < <(\n"
	"\t\ttimeout 2 \"${words[0]/#\\~/$HOME}\" \"$1\" list --quiet 2>/dev/null </dev/null\n"
	"\t)\n"
	"\t_wnodes_offer \"${lines[@]}\"\n"
	"}\n"
	"\n"
	"_wnodes_offer_files() {\n"
	"\tcompopt -o filenames 2>/dev/null\n"
	"\tmapfile -t COMPREPLY < <(compgen \"$1\" -- \"$value\")\n"
	"}\n"
	"\n"
	"# Offers values of one kind.\n"
	"_wnodes_offer_kind() {\n"
	"\tcase $1 in\n"
	"\timage) _wnodes_offer_list image list ;;\n"
	"\tvm) _wnodes_offer_list vm list ;;\n"
	"\tjob) _wnodes_offer_list queue ;;\n"
	"\tnode | pool | group | volume) _wnodes_offer_site \"$1\" ;;\n"
	"\tfile) _wnodes_offer_files -f ;;\n"
	"\tdir) _wnodes_offer_files -d ;;\n"
	"\tcommand) mapfile -t COMPREPLY < <(compgen -c -- \"$value\") ;;\n"
	"\tverb) _wnodes_offer_verbs \"${args[@]}\" ;;\n"
	"\t'='*) IFS='|' read -ra choices <<<\"${1#=}\" && _wnodes_offer \"${choices[@]}\" ;;\n"
	"\tesac\n"
	"}\n"
	"\n"
	"# The command behind the options: as its own completion has it, if there is one.\n"
	"_wnodes_offer_command() {\n"
	"\tif declare -F _command_offset >/dev/null; then\n"
	"\t\t_command_offset \"${starts[$1]}\"\n"
	"\telif (($1 == ${#words[@]} - 1)); then\n"
	"\t\t_wnodes_offer_kind command\n"
	"\telse\n"
	"\t\t_wnodes_offer_kind file\n"
	"\tfi\n"
	"}\n"
	"\n"
	"# Which option of a word like -tc takes the next word as its value.\n"
	"_wnodes_pending() {\n"
	"\tlocal i\n"
	"\tpending=\n"
	"\tcase $1 in\n"
	"\t--*=*) ;;\n"
	"\t--*) [[ $(_wnodes_value \"$verb\" \"$1\") ]] && pending=$1 ;;\n"
	"\t*)\n"
	"\t\tfor ((i = 1; i < ${#1}; i++)); do\n"
	"\t\t\t[[ $(_wnodes_value \"$verb\" \"-${1:i:1}\") ]] || continue\n"
	"\t\t\t((i == ${#1} - 1)) && pending=-${1:i:1}\n"
	"\t\t\treturn\n"
	"\t\tdone\n"
	"\t\t;;\n"
	"\tesac\n"
	"}\n"
	"\n";

static const char script_main[] =
	"# Reads the words of one verb: where its arguments are, and what the cursor is at.\n"
	"_wnodes_verb() {\n"
	"\tlocal i=$1 last=$((${#words[@]} - 1)) ended= pending= before kind command=\n"
	"\tread -r before kind <<<\"$(_wnodes_args \"$verb\")\"\n"
	"\tfor (( ; i < last; i++)); do\n"
	"\t\tif [[ $pending ]]; then\n"
	"\t\t\tpending=\n"
	"\t\telif [[ ! $ended && ${words[i]} == -- ]]; then\n"
	"\t\t\tended=1\n"
	"\t\telif [[ ! $ended && ${words[i]} == -?* ]]; then\n"
	"\t\t\t_wnodes_pending \"${words[i]}\"\n"
	"\t\telif ((before > 0 && ${#args[@]} == before)) && [[ ${words[i]} == -- && ! $command ]]; then\n"
	"\t\t\tended=1 command=next\n"
	"\t\telse\n"
	"\t\t\t((before >= 0)) && ended=1\n"
	"\t\t\t((before >= 0 && ${#args[@]} == before)) && { command=$i; break; }\n"
	"\t\t\targs+=(\"${words[i]}\")\n"
	"\t\tfi\n"
	"\tdone\n"
	"\tif [[ $pending ]]; then\n"
	"\t\t_wnodes_offer_kind \"$(_wnodes_value \"$verb\" \"$pending\")\"\n"
	"\telif [[ $command && $command != next ]]; then\n"
	"\t\t_wnodes_offer_command \"$command\"\n"
	"\telif [[ ! $ended && $value == --*=* ]]; then\n"
	"\t\tlocal option=${value%%=*}\n"
	"\t\tvalue=${value#*=}\n"
	"\t\t_wnodes_offer_kind \"$(_wnodes_value \"$verb\" \"$option\")\"\n"
	"\t\t[[ $COMP_WORDBREAKS == *=* ]] || COMPREPLY=(\"${COMPREPLY[@]/#/$option=}\")\n"
	"\telif [[ ! $ended && $value == -* ]]; then\n"
	"\t\t_wnodes_offer $(_wnodes_options \"$verb\") --help\n"
	"\telif ((before >= 0 && ${#args[@]} == before)); then\n"
	"\t\tif ((before > 0)) && [[ ! $command ]]; then\n"
	"\t\t\t_wnodes_offer --\n"
	"\t\tfi\n"
	"\t\t[[ ${COMPREPLY[*]} ]] || _wnodes_offer_command \"$last\"\n"
	"\telse\n"
	"\t\t_wnodes_offer_kind \"$kind\"\n"
	"\tfi\n"
	"}\n"
	"\n"
	"_wnodes() {\n"
	"\tlocal words starts args=() choices value verb\n"
	"\t_wnodes_words\n"
	"\tvalue=${words[-1]}\n"
	"\tCOMPREPLY=()\n"
	"\tif ((${#words[@]} > 3)) && _wnodes_is_verb \"${words[1]} ${words[2]}\"; then\n"
	"\t\tverb=\"${words[1]} ${words[2]}\"\n"
	"\t\t_wnodes_verb 3\n"
	"\telif ((${#words[@]} > 2)) && _wnodes_is_verb \"${words[1]}\"; then\n"
	"\t\tverb=${words[1]}\n"
	"\t\t_wnodes_verb 2\n"
	"\telif ((${#words[@]} == 2)) && [[ $value == -* ]]; then\n"
	"\t\t_wnodes_offer --help --version\n"
	"\telse\n"
	"\t\t_wnodes_offer_verbs \"${words[@]:1:${#words[@]}-2}\"\n"
	"\tfi\n"
	"\t# bash replaces only what follows the last colon.\n"
	"\tif [[ $value == *:* && $COMP_WORDBREAKS == *:* ]]; then\n"
	"\t\tCOMPREPLY=(\"${COMPREPLY[@]#\"${value%\"${value##*:}\"}\"}\")\n"
	"\tfi\n"
	"}\n"
	"\n"
	"complete -F _wnodes wnodes\n";

/* Function NAME prints, for each verb (and option), what the table says. */
static void function_open(FILE *out, const char *name, const char *subject)
{
	fprintf(out, "%s() {\n\tcase %s in\n", name, subject);
}

static void function_close(FILE *out)
{
	fputs("\tesac\n}\n\n", out);
}

static void verbs_print(FILE *out)
{
	function_open(out, "_wnodes_is_verb", "$1");
	for (size_t i = 0; verbs[i]; i++)
		fprintf(out, "\t'%s') return 0 ;;\n", verbs[i]->name);
	fputs("\t*) return 1 ;;\n", out);
	function_close(out);
}

/* Has an earlier verb the same first word? `more`: of those only that have a second one; "config"
 * is a verb, and "config show" another. */
static bool first_word_is_known(size_t index, bool more)
{
	size_t n = strcspn(verbs[index]->name, " ");

	for (size_t i = 0; i < index; i++)
		if (strncmp(verbs[i]->name, verbs[index]->name, n) == 0 &&
			(verbs[i]->name[n] == ' ' || (!more && !verbs[i]->name[n])))
			return true;
	return false;
}

/* The words that may follow those that are there. */
static void next_words_print(FILE *out)
{
	function_open(out, "_wnodes_offer_verbs", "\"$*\"");
	fputs("\t'') _wnodes_offer", out);
	for (size_t i = 0; verbs[i]; i++)
		if (!first_word_is_known(i, false))
			fprintf(out, " %.*s", (int)strcspn(verbs[i]->name, " "), verbs[i]->name);
	fputs(" ;;\n", out);
	for (size_t i = 0; verbs[i]; i++) {
		int n = (int)strcspn(verbs[i]->name, " ");

		if (!verbs[i]->name[n] || first_word_is_known(i, true))
			continue;
		fprintf(out, "\t'%.*s') _wnodes_offer", n, verbs[i]->name);
		for (size_t j = i; verbs[j]; j++)
			if (strncmp(verbs[j]->name, verbs[i]->name, (size_t)n + 1) == 0)
				fprintf(out, " %s", verbs[j]->name + n + 1);
		fputs(" ;;\n", out);
	}
	function_close(out);
}

static void option_names_print(FILE *out)
{
	function_open(out, "_wnodes_options", "$1");
	for (size_t i = 0; verbs[i]; i++) {
		if (!verbs[i]->options || !verbs[i]->options->name)
			continue;
		fprintf(out, "\t'%s') echo '", verbs[i]->name);
		for (const struct verb_option *o = verbs[i]->options; o->name; o++)
			fprintf(out, "%s--%s", o == verbs[i]->options ? "" : " ", o->name);
		fputs("' ;;\n", out);
	}
	function_close(out);
}

/* The kind of an option's value: a word of verb.h, "=a|b" for choices, "any" where nothing can be
 * offered; flags are not there. */
static void option_values_print(FILE *out)
{
	function_open(out, "_wnodes_value", "\"$1:$2\"");
	for (size_t i = 0; verbs[i]; i++)
		for (const struct verb_option *o = verbs[i]->options; o && o->name; o++) {
			const char *kind = o->complete ? o->complete : "any";

			if (o->type == OPTION_FLAG)
				continue;
			fprintf(out, "\t'%s:--%s'", verbs[i]->name, o->name);
			if (o->letter)
				fprintf(out, " | '%s:-%c'", verbs[i]->name, o->letter);
			fprintf(out, ") echo '%s%s' ;;\n", o->choices ? "=" : "",
				o->choices ? o->choices : kind);
		}
	function_close(out);
}

/* How many arguments stand before the verb's "--" (-1: it has none), and what the arguments are. */
static void args_print(FILE *out)
{
	function_open(out, "_wnodes_args", "$1");
	for (size_t i = 0; verbs[i]; i++)
		fprintf(out, "\t'%s') echo '%d %s' ;;\n", verbs[i]->name,
			verb_count_before_dashes(verbs[i]),
			verbs[i]->args_complete ? verbs[i]->args_complete : "any");
	function_close(out);
}

void verb_print_completion(FILE *out)
{
	fputs(script_head, out);
	verbs_print(out);
	next_words_print(out);
	option_names_print(out);
	option_values_print(out);
	args_print(out);
	fputs(script_words, out);
	fputs(script_main, out);
}

static int completion_run(const void *options, int arg_count, const char *const *args)
{
	verb_print_completion(stdout);
	return 0;
}

const struct verb verb_completion = {
	.name = "completion",
	.synopsis = "",
	.summary = "Print the completion script for bash",
	.about =
		"Prints a script that makes bash complete verbs, options, images, virtual "
		"machines and commands on the command line of wnodes. An installed WNoDeS has it in "
		"place already.",
	.examples = "# In this shell\n"
		    "source <(wnodes completion)\n"
		    "# For good\n"
		    "wnodes completion > ~/.local/share/bash-completion/completions/wnodes\n",
	.run = completion_run,
};
