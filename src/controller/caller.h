/* Who asks: by what they have shown (a certificate, a MUNGE credential, a token, the credentials of
 * a local socket), never by what they say. */
#pragma once

#include "lib/base.h"

#define CALLER_NAME_MAX 128

enum caller_kind {
	CALLER_NOBODY, /* has shown nothing */
	CALLER_NODE,   /* a node's certificate */
	CALLER_USER,   /* a user of the cluster, or the owner of a token */
};

/* What a caller may; several at once. A route names those of which one is needed. */
enum caller_role {
	ROLE_ANYONE = 1 << 0,        /* everybody, also who has shown nothing */
	ROLE_USER = 1 << 1,          /* every user */
	ROLE_NODE = 1 << 2,          /* a node */
	ROLE_ENDORSER = 1 << 3,      /* endorses images */
	ROLE_GROUP_ADMIN = 1 << 4,   /* administers at least one host group; see caller_groups() */
	ROLE_ADMINISTRATOR = 1 << 5, /* of the site */
};

struct caller {
	enum caller_kind kind;
	unsigned int roles;         /* of enum caller_role */
	char name[CALLER_NAME_MAX]; /* of the user or the node; "" for nobody */
	int64_t uid;                /* of a user of the cluster; -1: none */
	char serial[64];            /* of the certificate, hex; "" without one */
	char **groups;   /* host groups that it administers, NULL-terminated; may be NULL */
	const char *how; /* "socket", "munge", "token", "certificate", "none": for the log */
};

/* May it administer the nodes of this host group (NULL: of none)? Administrators of the site may
 * all. */
bool caller_administers(const struct caller *c, const char *group);

void caller_done(struct caller *c);
