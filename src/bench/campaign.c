#include "bench/campaign.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/attempt.h"
#include "bench/server.h"
#include "lib/child.h"
#include "lib/file.h"
#include "lib/path.h"

#define QUICK_MS         (10 * 60 * 1000)
#define FULL_MS          (3 * 60 * 60 * 1000)
#define WARM_MS          (10 * 60 * 1000)
#define REPORT_BYTES_MAX (1 << 20)

static bool campaign_has(const struct campaign *c, enum place_kind kind)
{
	for (size_t i = 0; i < c->place_count; i++)
		if (c->places[i].kind == kind)
			return true;
	return false;
}

/* Clones need a template of just their shape. */
static int campaign_warm(const struct campaign *c, struct error *err)
{
	struct strv argv AUTO(strv_done) = {0};
	struct child_spec spec = CHILD_SPEC_INIT;

	if (!campaign_has(c, PLACE_CLONE))
		return 0;
	strv_add_all(&argv, c->vm.program, "image", "warm", "--network", "none", "--shares", "0",
		"--scratch", "--quiet", NULL);
	strv_add_format(&argv, "--cpus=%llu", (unsigned long long)c->vm.cpus);
	strv_add_format(&argv, "--memory=%lluM", (unsigned long long)c->vm.memory_mib);
	strv_add(&argv, c->vm.image);
	if (argv.failed)
		return fail(err, -ENOMEM, "out of memory");
	spec.argv = strv_list(&argv);
	return child_run(&spec, WARM_MS, err);
}

/* How the VM ran, as it has said itself. */
static void campaign_learn(struct campaign *c, const char *report)
{
	autofree char *text = NULL;
	size_t length;
	json_t *json;
	const char *accel, *digest;

	if (c->accel[0] || file_read(AT_FDCWD, report, REPORT_BYTES_MAX, &text, &length) < 0)
		return;
	json = json_loadb(text, length, 0, NULL);
	accel = json_string_value(json_object_get(json, "accel"));
	digest = json_string_value(json_object_get(json_object_get(json, "image"), "digest"));
	if (accel && digest) {
		snprintf(c->accel, sizeof(c->accel), "%s", accel);
		snprintf(c->digest, sizeof(c->digest), "%s", digest);
	}
	json_decref(json);
}

static int campaign_try(struct campaign *c, size_t trial, size_t place, const struct server *server,
	const char *report, struct error *err)
{
	struct result *result = &c->results[trial][place];
	const struct attempt attempt = {
		.trial = c->trials[trial],
		.place = &c->places[place],
		.vm = &c->vm,
		.quick = c->quick,
		.verbose = c->verbose,
		.iperf_port = server->iperf_port,
		.sockperf_port = server->sockperf_port,
		.report = report,
		.timeout_ms = c->quick ? QUICK_MS : FULL_MS,
	};
	int r = attempt_run(&attempt, &result->readings[result->count], err);

	if (r == 0)
		result->count++;
	if (r == 0 && place_is_vm(attempt.place))
		campaign_learn(c, report);
	return r;
}

/* What has not worked once is not tried again. */
static bool campaign_wants(const struct campaign *c, size_t trial, size_t place)
{
	const struct result *r = &c->results[trial][place];

	return place_suits(&c->places[place], c->trials[trial]) && !result_why(r)[0];
}

static int campaign_round(struct campaign *c, uint64_t round, const struct server *server,
	const char *report, struct error *err)
{
	int r = 0;

	for (size_t t = 0; t < c->trial_count; t++)
		for (size_t p = 0; p < c->place_count && r == 0; p++) {
			if (!campaign_wants(c, t, p))
				continue;
			if (c->on_run)
				c->on_run(c->trials[t], &c->places[p], round, c->userdata);
			r = campaign_try(c, t, p, server, report, err);
		}
	return r;
}

static int campaign_prepare(struct campaign *c, struct error *err)
{
	for (size_t t = 0; t < c->trial_count; t++)
		for (size_t p = 0; p < c->place_count; p++) {
			struct result *r = &c->results[t][p];

			*r = (struct result){.trial = c->trials[t], .place = &c->places[p]};
			r->readings = calloc(RESULT_RUNS_MAX, sizeof(r->readings[0]));
			if (!r->readings)
				return fail(err, -ENOMEM, "out of memory");
		}
	return campaign_warm(c, err);
}

/* Only who is measured in a network that others are in as well needs more than the loopback. */
static const char *campaign_address(const struct campaign *c)
{
	for (size_t i = 0; i < c->place_count; i++)
		if (c->places[i].kind == PLACE_NETWORK && !streq(c->places[i].name, "user"))
			return "0.0.0.0";
	return "127.0.0.1";
}

static int campaign_rounds(struct campaign *c, const struct server *server, struct error *err)
{
	char report[] = "/tmp/wnodes-bench.XXXXXX";
	int fd autoclose = mkostemp(report, O_CLOEXEC);
	int r = 0;

	if (fd < 0)
		return fail_errno(err, -errno, "cannot make a temporary file in /tmp");
	for (uint64_t round = 1; round <= c->runs && r == 0; round++)
		r = campaign_round(c, round, server, report, err);
	unlink(report);
	return r;
}

int campaign_run(struct campaign *c, struct error *err)
{
	struct server server AUTO(server_stop) = SERVER_INIT;
	bool network = false;
	int r = campaign_prepare(c, err);

	for (size_t t = 0; t < c->trial_count; t++)
		network |= c->trials[t]->kind == TRIAL_NETWORK;
	if (r == 0 && network)
		r = server_start(&server, campaign_address(c), err);
	return r < 0 ? r : campaign_rounds(c, &server, err);
}

void campaign_done(struct campaign *c)
{
	for (size_t t = 0; t < c->trial_count; t++)
		for (size_t p = 0; p < c->place_count; p++)
			free(c->results[t][p].readings);
}

const struct result *campaign_base(const struct campaign *c, size_t trial)
{
	for (size_t p = 0; p < c->place_count; p++)
		if (c->places[p].kind == PLACE_BARE)
			return &c->results[trial][p];
	return NULL;
}
