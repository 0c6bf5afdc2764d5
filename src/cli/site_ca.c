/* wnodes site ca: the certificate by which controllers are known. */
#include "cli/site.h"
#include "cli/site_verb.h"

static int run_ca(const void *options, int arg_count, const char *const *args)
{
	const struct site_json_option *o = options;
	struct site_path path AUTO(site_path_done) = {0};
	json_t *answer = NULL;
	const char *text;
	int status;

	site_path_init(&path, "ca", NULL);
	status = site_verb_get(&path, &answer);
	if (status)
		return status;
	if (o->json)
		return site_verb_tell(true, answer, "%s", "");
	text = json_string_value(json_object_get(answer, "certificate"));
	fputs(text ? text : "", stdout);
	json_decref(answer);
	return EXIT_SUCCESS;
}

const struct verb verb_site_ca = {
	.name = "site ca",
	.synopsis = "[options]",
	.summary = "Print the certificate of the site's authority",
	.about =
		"Prints the certificate (PEM) by which the site's controllers are known to nodes and "
		"to users of other machines: the file of [site] ca. Ask on a machine of a controller, "
		"or by a way that you trust.",
	.examples = "wnodes site ca >/etc/wnodes/ca.pem\n"
		    "# The fingerprint for wnodes node join\n"
		    "wnodes site ca | openssl x509 -noout -fingerprint -sha256\n",
	.options = site_json_rows,
	.options_size = sizeof(struct site_json_option),
	.run = run_ca,
};
