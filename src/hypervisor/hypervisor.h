/* The daemon of a node: one pointer a concern, made and ended in order. */
#pragma once

#include "engine/settings.h"
#include "hypervisor/allowance.h"
#include "hypervisor/drain.h"
#include "hypervisor/exports.h"
#include "hypervisor/imagevolumes.h"
#include "hypervisor/jobnets.h"
#include "hypervisor/ledger.h"
#include "hypervisor/maker.h"
#include "hypervisor/names.h"
#include "hypervisor/servant.h"
#include "hypervisor/slots.h"
#include "hypervisor/taps.h"
#include "hypervisor/volumes.h"

struct hypervisor {
	sd_event *event;
	struct settings settings;
	const char *config; /* the file of the settings; NULL: the machine's */
	char *state;        /* the directory with the machine's store and all that is kept */
	char *instances;    /* where the files of VMs are, which have no name */
	int lock_fd;        /* one daemon a directory */
	int keeper_fd;      /* to who may use LVM; -1: nobody may */
	int export_fd;      /* to who may tell the NFS server; -1: nobody may */
	uint64_t started_us;
	bool ending;         /* nothing that is lent is taken back: VMs go on */
	struct store *store; /* of the machine's images; the worker's alone */
	struct worker *worker;
	struct ledger *ledger;
	struct allowances allowances;
	struct slots *slots;
	struct shelf *shelf;
	struct servant *servant; /* NULL: there is no account for one */
	struct maker *maker;
	struct trial *trial;
	struct drain *drain;
	struct volumes *volumes;           /* NULL: there is no volume group */
	struct imagevolumes *imagevolumes; /* likewise */
	struct exports *exports;           /* NULL: no directories are served by NFS */
	struct taps *taps;                 /* VMs' network cards */
	struct names *names;               /* of VMs, for the site's DNS */
	struct jobnets *jobnets;
	/* Of images: */
	struct worker *mover;      /* for what may take minutes */
	struct store *mover_store; /* the same store; the mover's alone */
	struct admission *admission;
	struct pulls *pulls;
	struct cache *cache;
	struct porter *porter;
	struct cloud *cloud; /* the site's volumes */
	struct liaison *liaison;
	struct listener *listener;
};

/* Reads the settings, of `config` and of what the site has pushed to `state`. Returns 0 or negative
 * errno, and then nothing has changed. */
int hypervisor_load(struct hypervisor *h, const char *state, struct error *err);

/* Reads them again: limits and what is looked up at its use change at once, accounts and
 * directories with the next start. VMs that run stay. */
void hypervisor_reload(struct hypervisor *h);

/* Starts all of it. Returns 0 or negative errno. */
int hypervisor_open(struct hypervisor *h, const char *state, const char *socket, struct error *err);

/* VMs that run do not notice. */
void hypervisor_close(struct hypervisor *h);

/* May this user drain and resume the node? */
bool hypervisor_is_administrator(const struct hypervisor *h, uid_t uid);
