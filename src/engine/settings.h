/* The settings of wnodes.conf: one table gives parsing, defaults, ranges and the manual page. */
#pragma once

#include "lib/conf.h"

struct settings {
	/* [run]: defaults of the options of `wnodes run` */
	char *image;
	uint64_t cpus;
	uint64_t memory;               /* bytes */
	uint64_t disk_iops, disk_rate; /* a second; 0: no limit */
	uint64_t scratch;              /* bytes; 0: none */
	char *network;                 /* "none", "user" or a name */
	char **env;                    /* as --env */
	char **mount;                  /* as --mount */
	uint64_t timeout;              /* us; 0: none */
	char *start;                   /* "auto", "clone" or "boot" */
	/* [vm] */
	char *accel;      /* "auto", "kvm" or "tcg" */
	char *qemu;       /* program; NULL: found in PATH */
	char *huge_pages; /* "no", "auto" or "yes" */
	char *disk_cache; /* "host" or "none" */
	char *disk_aio;   /* "auto", "io_uring", "native" or "threads"; without the cache */
	bool disk_thread;
	bool cpu_pinning;
	char *directory;    /* where overlays and scratch disks are; NULL: the cache directory */
	char *broker;       /* "auto", "none" or the path of a socket */
	char *virtiofsd;    /* program; NULL: the installed one */
	char *user_network; /* "qemu" or "passt" */
	char *gateway;      /* a word of SETTINGS_GATEWAYS */
	char *root;         /* a word of SETTINGS_ROOTS */
	/* [template] */
	bool template_automatic;
	uint64_t template_budget; /* bytes */
	char *template_memory;    /* "shared" or "own" */
	/* [deadline], all us */
	uint64_t clone, boot, prepare, gather, stop, grace;
	/* [node]: of the node's daemon; 0 is no limit */
	uint64_t node_vms, node_memory; /* bytes, as all sizes */
	uint64_t node_user_vms, node_user_memory;
	uint64_t node_image_vms;
	uint64_t node_vm_disk;
	uint64_t node_disk_iops, node_disk_rate;  /* of a VM, a second */
	char *node_scratch;                       /* "auto", "lvm", "sparse" or "preallocated" */
	char *node_volume_group, *node_thin_pool; /* the group may be NULL: none */
	uint64_t node_volumes_ready;
	bool node_nfs; /* VMs may have directories by the node's NFS server */
	char *node_volumes, *node_volume_address;
	uint64_t node_volume_port;
	uint64_t node_queue;
	uint64_t node_connections, node_requests; /* of a user; the latter a second */
	uint64_t node_template_memory;
	uint64_t node_templates_an_hour; /* of a user */
	char *node_user;
	char **node_administrators;
	uint64_t node_failures;
	char *node_lrms, *node_name;
	char **node_vlans;      /* numbers and ranges */
	char *node_name_hook;   /* program; NULL: none */
	uint64_t node_job_port; /* 0: none */
	char **node_job_hosts;  /* networks: "10.0.0.0/8" */
	/* [lrms] */
	char *lrms_type;                 /* "auto", "local" or "slurm" */
	uint64_t lrms_cpus, lrms_memory; /* bytes; 0: the machine's */
	uint64_t lrms_grace, lrms_keep;  /* us */
	uint64_t lrms_requeues;
	/* [record] */
	char *record_file; /* the user's own; NULL: the usual one, for jobs; "" or "none": none */
	char *record_site, *record_submit_host; /* of records for APEL; NULL: not known */
	char *record_infrastructure, *record_infrastructure_type, *record_cloud_service;
	char *record_benchmark, *record_benchmark_value; /* "none", "0": not known */
	/* [site] */
	char **site_controllers; /* addresses; none: the local socket, if there is one */
	char *site_ca;           /* file; NULL: the system's authorities */
	char *site_token_file;
	char *site_munge;                       /* "auto", "yes" or "no" */
	uint64_t site_heartbeat, site_autonomy; /* us */
	char *site_user;
	char *site_pool; /* NULL: none */
	uint64_t site_lease_block;
	/* [images]: of a node of a site */
	bool images_local;
	char **images_origins;              /* http://, https:// or a directory */
	char *images_listen;                /* "ADDRESS:PORT", or "none" */
	char *images_address, *images_rack; /* NULL: not set */
	uint64_t images_rate;               /* bytes a second; 0: no limit */
	uint64_t images_slots;
	char *images_high_water, *images_low_water; /* as settings_parse_water() reads */
	char **images_pinned;
};

extern const struct conf_setting settings_table[];

#define SETTINGS_STARTS   "auto|clone|boot"
#define SETTINGS_GATEWAYS "auto|9p|virtiofs|sshfs|nfs"
#define SETTINGS_ROOTS    "overlay|lvm"

/* As APEL knows them. */
#define SETTINGS_BENCHMARKS "none|si2k|hepspec|HEPscore23"

/* Is it a number, as "15.3"? Returns 0 or -EINVAL. */
int settings_check_benchmark(const char *text, struct error *err);

/* "85%" of a file system, or "200G": one of the two is 0 then. Returns 0 or -EINVAL. */
int settings_parse_water(
	const char *text, uint64_t *ret_percent, uint64_t *ret_bytes, struct error *err);

/* The system's file, /etc/wnodes/wnodes.conf. */
const char *settings_site_file(void);

/* What the site's controllers have pushed to this node: as the system's file, which is read after
 * it, so that what stands there holds. */
#define SETTINGS_PUSHED "site/wnodes.conf" /* in the node's daemon's directory */
const char *settings_pushed_file(void);

/* Defaults, then the pushed and the system's file, then the user's own, which wins. The system's
 * may have policies (policy.h), which are checked; a user's may not. Returns 0 or negative errno;
 * files that do not exist are no error. */
int settings_load(struct settings *ret, struct error *err);
/* The same from the `pushed` file, if it is there, and `path`, which must be; NULL: the machine's,
 * if it is there. */
int settings_load_from(
	struct settings *ret, const char *pushed, const char *path, struct error *err);
void settings_done(struct settings *s);
