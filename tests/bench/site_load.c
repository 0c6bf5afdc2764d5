/* Load for the controllers of a site: site_load MODE [OPTION...] TARGET...
 *
 * TARGET is unix:/PATH or https://HOST:PORT; who is not answered asks the next. What was found is
 * an object on stdout; the exit status is 1 if something failed that must not.
 *
 *   leases  --clients N --seconds S --pool NAME [--check]
 *           each gets a lease and gives it back, again and again; a request without an answer is
 *           repeated, with the same id, at the next controller. --check: no name, MAC or address
 *           is held twice at any time
 *   nodes   --nodes N --vms N --seconds S --ramp S --interval S [--once]
 *           so many nodes join, tell all that they have, and then what has changed. The first
 * TARGET is asked for certificates, by somebody who may; the last has the nodes. --once: with a
 *           connection for each heartbeat
 *   images  --nodes N --seconds S --digest D
 *           so many nodes join (as in `nodes`), and follow the catalogue of images while they ask
 * who has this image reads   --clients N --seconds S [--kind KIND | --rate N] [--nodes N --vms N]
 *           asks for what `nodes` told as fast as it goes: one VM, or another kind of request;
 *           --rate: so many requests a second, of all kinds
 *
 * Who asks: --token TEXT, or --certificate FILE and --key FILE. --ca FILE: whom controllers are
 * certified by. */
#include "site_load.h"

#include <getopt.h>
#include <openssl/pem.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>

static const struct mode {
	const char *name;
	bool (*run)(struct load *l);
} modes[] = {
	{"images", load_images},
	{"leases", load_leases},
	{"nodes", load_nodes},
	{"reads", load_reads},
};

#define NUMBER(name, member)                              \
	{                                                 \
		name, offsetof(struct load, member), true \
	}
#define TEXT(name, member)                                 \
	{                                                  \
		name, offsetof(struct load, member), false \
	}

static const struct option_row {
	const char *name;
	size_t offset;
	bool number;
} rows[] = {
	NUMBER("clients", clients),
	NUMBER("seconds", seconds),
	NUMBER("nodes", nodes),
	NUMBER("vms", vms),
	NUMBER("ramp", ramp_s),
	NUMBER("interval", interval_s),
	NUMBER("rate", rate),
	TEXT("pool", pool),
	TEXT("kind", kind),
	TEXT("digest", digest),
	TEXT("ca", ca),
	TEXT("certificate", certificate),
	TEXT("key", key),
	TEXT("token", token),
};

static _Noreturn void die(const char *text)
{
	fprintf(stderr, "site_load: %s\n", text);
	exit(2);
}

void load_client_init(struct load_client *c, struct load *l, load_on_answer on_answer)
{
	*c = (struct load_client){
		.loop = &l->loop,
		.target = &l->targets[0],
		.certificate = l->shown,
		.key = l->shown_key,
		.header = l->header,
		.on_answer = on_answer,
		.once = l->once,
	};
}

void load_vm_id(char ret[LOAD_ID_SIZE], unsigned int node, unsigned int slot, unsigned int life)
{
	snprintf(ret, LOAD_ID_SIZE, "%08x-%04x-4000-8000-%012x", node * 2654435761U, slot & 0xffff,
		life);
}

void load_node_name(char ret[LOAD_NAME_SIZE], unsigned int node)
{
	snprintf(ret, LOAD_NAME_SIZE, "sim%05u", node % 100000);
}

static bool set_option(struct load *l, const char *name, const char *value)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		void *member = (char *)l + rows[i].offset;

		if (!streq(rows[i].name, name))
			continue;
		if (rows[i].number)
			*(unsigned int *)member = (unsigned int)strtoul(value, NULL, 10);
		else
			*(const char **)member = value;
		return true;
	}
	return false;
}

static void add_target(struct load *l, const char *text)
{
	struct error err = {0};

	if (l->target_count == LOAD_TARGETS_MAX)
		die("too many controllers");
	if (load_target_parse(text, &l->targets[l->target_count++], &err) < 0)
		die(err.text);
}

static void parse(struct load *l, char **argv)
{
	for (; *argv; argv++) {
		const char *name = str_after(*argv, "--");

		if (!name)
			add_target(l, *argv);
		else if (streq(name, "check"))
			l->check = true;
		else if (streq(name, "once"))
			l->once = true;
		else if (!argv[1] || !set_option(l, name, *++argv))
			die("see the head of site_load.c for its options");
	}
	if (l->target_count == 0)
		die("which controller?");
}

/* The certificate's file, and its key's. */
static void load_identity(struct load *l)
{
	FILE *certificate = l->certificate ? fopen(l->certificate, "re") : NULL;
	FILE *key = l->key ? fopen(l->key, "re") : NULL;

	if (l->token)
		snprintf(l->header, sizeof(l->header), "Authorization: Bearer %s\r\n", l->token);
	if (certificate && key) {
		l->shown = PEM_read_X509(certificate, NULL, NULL, NULL);
		l->shown_key = PEM_read_PrivateKey(key, NULL, NULL, NULL);
	}
	if (l->certificate && (!l->shown || !l->shown_key))
		die("the certificate or its key cannot be read");
	if (certificate)
		fclose(certificate);
	if (key)
		fclose(key);
}

/* A descriptor for each node. */
static void raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int main(int argc, char **argv)
{
	struct load l = {.clients = 64,
		.seconds = 10,
		.nodes = 1000,
		.vms = 10,
		.ramp_s = 30,
		.interval_s = 30,
		.pool = "load",
		.kind = "vm",
		.digest = ""};
	struct error err = {0};
	bool good = false;

	if (argc < 3)
		die("MODE [OPTION...] TARGET...; see the head of site_load.c");
	signal(SIGPIPE, SIG_IGN);
	raise_limit();
	parse(&l, argv + 2);
	if (load_loop_init(&l.loop, l.ca, &err) < 0)
		die(err.text);
	load_identity(&l);
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		if (streq(modes[i].name, argv[1]))
			good = modes[i].run(&l);
	X509_free(l.shown);
	EVP_PKEY_free(l.shown_key);
	load_loop_done(&l.loop);
	return good ? 0 : 1;
}
