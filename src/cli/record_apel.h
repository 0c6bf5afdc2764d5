/* Usage records as messages of APEL, the accounting of EGI and WLCG: individual jobs (v0.3) and
 * virtual machines of clouds (v0.4). A message is a header and records, each of which is lines
 * "Name: value" and "%%".
 *
 * Values are printable ASCII without "%%", as a line's end or "%%" would be another field or record
 * to who reads them, and 255 bytes at most, which is what APEL's tables take. Sizes are rounded up
 * to whole units of 1024. */
#pragma once

#include <jansson.h>
#include <stdio.h>

#include "lib/error.h"

/* Records of a message. */
#define RECORD_APEL_MESSAGE_MAX 1000

enum record_apel_kind {
	RECORD_APEL_JOB,   /* only VMs of jobs */
	RECORD_APEL_CLOUD, /* all VMs */
};

/* What is not in the records; NULL and "": not known. */
struct record_apel_site {
	const char *name; /* of the site; must be there */
	const char *submit_host,
		*infrastructure;                 /* of jobs; the latter NULL: by the batch system */
	const char *infrastructure_type;         /* "grid" or "local" */
	const char *cloud_service;               /* of VMs */
	const char *benchmark, *benchmark_value; /* "HEPscore23", "15.3"; both or none */
};

/* The message's first line. */
const char *record_apel_header(enum record_apel_kind kind);

/* Can it be told, so that APEL takes it? What it would refuse, it refuses with all the records of
 * the message. `now_us`: since the epoch; what ends later than two days from now cannot. Returns 0,
 * or -EINVAL with the reason. */
int record_apel_check(
	enum record_apel_kind kind, const json_t *record, uint64_t now_us, struct error *err);

/* Writes a record that can be told, and the line "%%". */
void record_apel_print(enum record_apel_kind kind, const json_t *record,
	const struct record_apel_site *site, FILE *out);
