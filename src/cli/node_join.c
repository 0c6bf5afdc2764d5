/* wnodes node join and leave: this node becomes one of a site. The key is made here and stays here;
 * wnodes-courier, without rights, asks the controller. Each file is whole or not there, and the
 * certificate, by which the daemon knows that the node has joined, comes last: who is killed in the
 * middle does it again with the same token. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/mman.h>

#include "cli/node.h"
#include "engine/nodekey.h"
#include "engine/settings.h"
#include "engine/site_account.h"
#include "lib/child.h"
#include "lib/digest.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/path.h"

#define STATE_DIRECTORY "/var/lib/wnodes"

#define JOIN_MS       60000
#define TEXT_MAX      65536
#define ANSWER_MAX    (256 * 1024)
#define JOIN_NAME_MAX 256

struct join_options {
	const char *token, *token_file, *fingerprint, *ca, *name, *state;
};

struct leave_options {
	const char *state;
};

static const struct verb_option join_options[] = {
	{"token", 0, OPTION_STRING, offsetof(struct join_options, token), "TOKEN",
		.help = "The token that an administrator of the site has made. Others may see it in "
			"the list of processes: better give it in a file"},
	{"token-file", 0, OPTION_STRING, offsetof(struct join_options, token_file), "FILE",
		.complete = "file", .help = "A file with the token; - is standard input"},
	{"ca-fingerprint", 0, OPTION_STRING, offsetof(struct join_options, fingerprint), "SHA256",
		.help = "Fingerprint of the site's authority, by which the controller is known"},
	{"ca", 0, OPTION_STRING, offsetof(struct join_options, ca), "FILE", .complete = "file",
		.help = "The certificate of the site's authority (PEM) instead"},
	{"name", 0, OPTION_STRING, offsetof(struct join_options, name), "NAME",
		.help = "Name of the node at the site; [node] name or the host's when not given"},
	{"state", 0, OPTION_STRING, offsetof(struct join_options, state), "DIR", .complete = "dir",
		.help = "The directory of the node's daemon; " STATE_DIRECTORY " when not given"},
	{.name = NULL},
};

static const struct verb_option leave_options[] = {
	{"state", 0, OPTION_STRING, offsetof(struct leave_options, state), "DIR", .complete = "dir",
		.help = "The directory of the node's daemon; " STATE_DIRECTORY " when not given"},
	{.name = NULL},
};

/* In the order in which they are removed; written they are in the opposite one. What records have
 * not been delivered stays, for the day when the node joins again. */
static const char *const files[] = {"certificate.pem", "request.json", "node", "ca.pem", "key.pem",
	"wnodes.conf", "revision", "wish", "autonomy", "leases-heard", "leases-kept", "leases"};

struct join {
	const struct join_options *options;
	const char *controller;
	struct settings settings;
	char *directory; /* site, in the daemon's */
	char *token, *key, *csr, *ca;
	char name[JOIN_NAME_MAX];
};

static void join_done(struct join *j)
{
	settings_done(&j->settings);
	free(j->directory);
	free(j->token);
	if (j->key)
		explicit_bzero(j->key, strlen(j->key));
	free(j->key);
	free(j->csr);
	free(j->ca);
}

static char *file_in(const char *directory, const char *name)
{
	return path_format("%s/%s", directory, name);
}

static int read_text(const char *path, char **ret, struct error *err)
{
	size_t length;
	int r = file_read(AT_FDCWD, streq(path, "-") ? "/dev/stdin" : path, TEXT_MAX, ret, &length);

	return r < 0 ? fail_errno(err, r, "cannot read '%s'", path) : 0;
}

static int write_text(
	const struct join *j, const char *name, const char *text, mode_t mode, struct error *err)
{
	autofree char *path = file_in(j->directory, name);
	int r = path ? file_replace(AT_FDCWD, path, text, strlen(text), mode) : -ENOMEM;

	return r < 0 ? fail_errno(err, r, "cannot write '%s/%s'", j->directory, name) : 0;
}

static int take_token(struct join *j, struct error *err)
{
	const struct join_options *o = j->options;
	int r = 0;

	if (!o->token == !o->token_file)
		return fail(err, -EINVAL, "one of --token and --token-file is needed");
	if (o->token)
		j->token = strdup(o->token);
	else
		r = read_text(o->token_file, &j->token, err);
	if (r == 0 && j->token)
		j->token[strcspn(j->token, "\r\n \t")] = '\0';
	return r < 0 || j->token ? r : fail(err, -ENOMEM, "out of memory");
}

/* As the node's daemon calls it in its records. */
static void take_name(struct join *j)
{
	const char *set = j->options->name ? j->options->name : j->settings.node_name;

	if (set && set[0])
		snprintf(j->name, sizeof(j->name), "%s", set);
	else if (gethostname(j->name, sizeof(j->name) - 1) < 0)
		snprintf(j->name, sizeof(j->name), "localhost");
}

static int join_open(struct join *j, struct error *err)
{
	const char *state = j->options->state ? j->options->state : STATE_DIRECTORY;
	int r = settings_load(&j->settings, err);

	if (r == 0 && !str_after(j->controller, "https://"))
		r = fail(err, -EINVAL,
			"'%s' is no address of a controller; one is https://HOST:PORT",
			j->controller);
	if (r == 0)
		r = take_token(j, err);
	if (r == 0 && j->options->ca)
		r = read_text(j->options->ca, &j->ca, err);
	if (r < 0)
		return r;
	take_name(j);
	j->directory = file_in(state, "site");
	r = j->directory ? file_make_dirs(j->directory, 0755) : -ENOMEM;
	return r < 0 ? fail_errno(err, r, "cannot make '%s/site'; joining is root's", state) : 0;
}

/* Returns 1 if the node has joined as this already, 0 if it has not. */
static int check_joined(struct join *j, struct error *err)
{
	autofree char *certificate = file_in(j->directory, "certificate.pem");
	autofree char *path = file_in(j->directory, "node"), *name = NULL;
	size_t length;

	if (!certificate || !path)
		return fail(err, -ENOMEM, "out of memory");
	if (access(certificate, F_OK) < 0)
		return 0;
	if (file_read(AT_FDCWD, path, JOIN_NAME_MAX, &name, &length) == 0)
		name[strcspn(name, "\n")] = '\0';
	if (name && (!j->options->name || streq(name, j->options->name))) {
		snprintf(j->name, sizeof(j->name), "%s", name);
		return 1;
	}
	return fail(err, -EEXIST,
		"this node has joined a site already, as '%s'; wnodes node leave ends that",
		name ? name : "?");
}

/* Nobody else can read it at any moment. */
static int take_key(struct join *j, struct error *err)
{
	autofree char *path = file_in(j->directory, "key.pem");
	size_t length;
	int r = path ? file_read(AT_FDCWD, path, TEXT_MAX, &j->key, &length) : -ENOMEM;

	if (r == 0)
		return 0;
	if (r != -ENOENT)
		return fail_errno(err, r, "cannot read '%s/key.pem'", j->directory);
	r = nodekey_make(&j->key, err);
	return r < 0 ? r : write_text(j, "key.pem", j->key, 0600, err);
}

/* A site gives its answer once more to the same request alone, so it is kept until it is answered.
 */
static json_t *read_request(const struct join *j)
{
	autofree char *path = file_in(j->directory, "request.json");

	return path ? json_load_file(path, 0, NULL) : NULL;
}

static bool is_text(const json_t *json, const char *key, const char *text)
{
	const char *its = json_string_value(json_object_get(json, key));

	return its && streq(its, text);
}

static int keep_request(const struct join *j, const char *token_digest, struct error *err)
{
	json_t *json = json_pack("{s:s, s:s, s:s, s:s}", "controller", j->controller, "token",
		token_digest, "node", j->name, "csr", j->csr);
	autofree char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

	json_decref(json);
	return text ? write_text(j, "request.json", text, 0600, err)
		    : fail(err, -ENOMEM, "out of memory");
}

static int take_request(struct join *j, struct error *err)
{
	char digest[DIGEST_HEX_SIZE];
	int r = digest_bytes(j->token, strlen(j->token), digest);
	json_t *kept = r == 0 ? read_request(j) : NULL;
	const char *csr = json_string_value(json_object_get(kept, "csr"));

	if (r < 0)
		return fail(err, r, "cannot make a digest");
	if (csr && is_text(kept, "token", digest) && is_text(kept, "node", j->name)) {
		j->csr = strdup(csr);
		json_decref(kept);
		return j->csr ? 0 : fail(err, -ENOMEM, "out of memory");
	}
	json_decref(kept);
	r = nodekey_request(j->key, j->name, &j->csr, err);
	return r < 0 ? r : keep_request(j, digest, err);
}

/* The question holds the token: it is in a file that nobody else has. */
static int write_question(const struct join *j, struct error *err)
{
	autoclose int fd = memfd_create("join", MFD_CLOEXEC);
	json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:s*, s:s*}", "controller", j->controller,
		"node", j->name, "token", j->token, "csr", j->csr, "ca", j->ca, "fingerprint",
		j->options->fingerprint);
	autofree char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	int r = fd < 0 ? -errno : text ? file_write_all(fd, text, strlen(text)) : -ENOMEM;

	json_decref(json);
	if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
		r = -errno;
	return r < 0 ? fail_errno(err, r, "cannot ask the site") : TAKE_FD(fd);
}

static int ask(const struct join *j, json_t **ret, struct error *err)
{
	autofree char *program = path_own_program("wnodes-courier"), *text = NULL;
	const char *argv[] = {program, "join", NULL};
	struct child_spec child = CHILD_SPEC_INIT;
	autoclose int question = write_question(j, err);
	int r;

	if (question < 0 || !program)
		return question < 0 ? question : fail(err, -ENOMEM, "out of memory");
	child.argv = argv;
	child.stdin_fd = question;
	child.workdir = "/";
	child.no_new_privs = true;
	child.set_user = geteuid() == 0;
	site_account_find(j->settings.site_user, &child.uid, &child.gid);
	r = child_output(&child, JOIN_MS, ANSWER_MAX, &text, err);
	if (r < 0)
		return r;
	*ret = json_loads(text, 0, NULL);
	if (json_is_string(json_object_get(*ret, "error")))
		return fail(
			err, -EREMOTEIO, "%s", json_string_value(json_object_get(*ret, "error")));
	return *ret ? 0 : fail(err, -EPROTO, "wnodes-courier has given no answer");
}

static int take_answer(const struct join *j, const json_t *answer, struct error *err)
{
	const char *certificate = json_string_value(json_object_get(answer, "certificate"));
	const char *ca = json_string_value(json_object_get(answer, "ca"));
	int r = certificate && ca ? 0 : fail(err, -EPROTO, "the answer has no certificate");

	if (r == 0)
		r = write_text(j, "ca.pem", ca, 0644, err);
	if (r == 0)
		r = write_text(j, "node", j->name, 0644, err);
	return r < 0 ? r : write_text(j, "certificate.pem", certificate, 0644, err);
}

static int join_do(struct join *j, struct error *err)
{
	autofree char *request = NULL;
	json_t *answer = NULL;
	int r = take_key(j, err);

	if (r == 0)
		r = take_request(j, err);
	if (r == 0)
		r = ask(j, &answer, err);
	if (r == 0)
		r = take_answer(j, answer, err);
	json_decref(answer);
	request = file_in(j->directory, "request.json");
	if (r == 0 && request)
		unlink(request);
	return r;
}

static bool is_set_up(const struct join *j)
{
	for (char **i = j->settings.site_controllers; i && *i; i++)
		if (streq(*i, j->controller))
			return true;
	return false;
}

static void say_next(const struct join *j, bool already)
{
	printf("this node %s %s as '%s'\n", already ? "has joined already:" : "has joined",
		j->controller, j->name);
	if (!is_set_up(j))
		printf("next: write into %s\n\n\t[site]\n\tcontrollers = %s\n\tca = %s/ca.pem\n\n"
		       "and have wnodes-hypervisor read it (systemctl reload-or-restart "
		       "wnodes-hypervisor)\n",
			settings_site_file(), j->controller, j->directory);
}

static int run_join(const void *options, int arg_count, const char *const *args)
{
	struct join j AUTO(join_done) = {.options = options, .controller = args[0]};
	struct error err = {0};
	int r = join_open(&j, &err), joined = 0;

	if (r == 0)
		r = joined = check_joined(&j, &err);
	if (r == 0)
		r = join_do(&j, &err);
	if (r < 0)
		log_error("%s", err.text);
	else
		say_next(&j, joined);
	return r < 0 ? EXIT_WNODES : EXIT_SUCCESS;
}

static int remove_all(const char *directory, struct error *err)
{
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(files) && r == 0; i++) {
		autofree char *path = file_in(directory, files[i]);

		r = path ? file_remove_tree(AT_FDCWD, path) : -ENOMEM;
	}
	return r < 0 ? fail_errno(err, r, "cannot remove what is in '%s'; leaving is root's",
			       directory)
		     : 0;
}

static int run_leave(const void *options, int arg_count, const char *const *args)
{
	const struct leave_options *o = options;
	autofree char *directory = file_in(o->state ? o->state : STATE_DIRECTORY, "site");
	struct error err = {0};
	int r = directory ? remove_all(directory, &err) : fail(&err, -ENOMEM, "out of memory");

	if (r < 0)
		log_error("%s", err.text);
	else
		printf("this node is of no site any more; VMs that run go on. An administrator of "
		       "the site removes its name there\n");
	return r < 0 ? EXIT_WNODES : EXIT_SUCCESS;
}

const struct verb verb_node_join = {
	.name = "node join",
	.synopsis = "[options] URL",
	.summary = "Make this node one of a site",
	.about =
		"Makes a key for this node, asks a controller of the site at URL (https://HOST:PORT) "
		"for a certificate, and keeps both for wnodes-hypervisor, which from then on tells "
		"the site what runs here. The token is made by an administrator of the site and "
		"serves once; who is killed in the middle may repeat the command with it.\n\n"
		"A controller is known by the site's own authority, of which a new node knows "
		"nothing: give its fingerprint or its certificate. Without either the fingerprint of "
		"who answers is shown, and nothing is told to it. For root.",
	.examples = "wnodes node join --token-file token --ca-fingerprint 5d3f... \\\n"
		    "    https://controller:8443\n",
	.options = join_options,
	.options_size = sizeof(struct join_options),
	.min_args = 1,
	.max_args = 1,
	.run = run_join,
};

const struct verb verb_node_leave = {
	.name = "node leave",
	.synopsis = "[options]",
	.summary = "Make this node one of no site",
	.about = "Removes the node's key, its certificate, and what the site has set up on it; "
		 "wnodes-hypervisor tells the site nothing any more. Usage records that were not "
		 "delivered yet are, when it joins again. For root.",
	.examples = "wnodes node leave\n",
	.options = leave_options,
	.options_size = sizeof(struct leave_options),
	.run = run_leave,
};
