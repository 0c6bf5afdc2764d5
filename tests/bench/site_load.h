/* What the modes of site_load share. */
#pragma once

#include "load_client.h"
#include "load_latency.h"

#define LOAD_TARGETS_MAX 8

struct load {
	/* Of the command line: */
	struct load_target targets[LOAD_TARGETS_MAX];
	size_t target_count;
	const char *ca, *certificate, *key, *token, *pool, *kind, *digest;
	unsigned int clients, seconds, nodes, vms, ramp_s, interval_s, rate;
	bool check, once;
	/* Of the run: */
	struct load_loop loop;
	X509 *shown; /* the certificate */
	EVP_PKEY *shown_key;
	char header[LOAD_HEADER_MAX];
	uint64_t end_us; /* no new work after it */
};

/* A client of the command line's identity. */
void load_client_init(struct load_client *c, struct load *l, load_on_answer on_answer);

/* A request is tried so long, and after such a pause. */
#define LOAD_ANSWER_US   UINT64_C(5000000)
#define LOAD_PATIENCE_US UINT64_C(30000000)
#define LOAD_PAUSE_US    UINT64_C(50000)

/* The modes. Return whether what was to be is so. */
bool load_leases(struct load *l);
bool load_nodes(struct load *l);
bool load_images(struct load *l);
bool load_reads(struct load *l);

/* The id of a simulated VM, and the name of a node. */
#define LOAD_ID_SIZE   37
#define LOAD_NAME_SIZE 16
void load_vm_id(char ret[LOAD_ID_SIZE], unsigned int node, unsigned int slot, unsigned int life);
void load_node_name(char ret[LOAD_NAME_SIZE], unsigned int node);
