/* The tables of version 1, as sql_script() takes them. Times are microseconds since the epoch;
 * texts that are JSON are named so; 0 and 1 are no and yes. `revision` grows with each change of a
 * row that people change, and is its ETag. A version that is released is never changed: the next
 * one has its own text, which changes the tables of the one before.
 *
 * - site: the controllers' own, what must be the same for all of them
 * - role: subject is "user:NAME", or "group:NAME" of the operating system's group; hostgroup ''
 *   is the whole site
 * - token: kind is join (a node may join once) or bearer (whose user it is); kept is the SHA-256.
 *   serial: of the certificate that it was given for
 * - certificate: csr is the SHA-256 of the request, by which an answer that was lost is given again
 * - node: state is joined (never heard of since), up, drained or lost. status_json is all that the
 *   node told; autonomous: since when it is on its own, as it told; boot and sequence: of its last
 *   heartbeat; wish: drained or not, as people want it, NULL: the node's own affair
 * - vm: id is that of the usage record which the VM will have
 * - job: key is "SYSTEM.ID", "slurm.4711". Counted are VMs that run, and records that came
 * - place: all that a pool can lend; one that is lent has its lease. Those that were given back
 *   first are lent first
 * - lease: id is the client's choice, so that a request may be repeated. Without a VM it is in the
 *   node's block
 * - record, event: by their number, in the order in which they became visible; username of an
 *   event: whom it is about, NULL: nobody in particular
 * - configuration: scope is "site", "group:NAME" or "node:NAME"; text as of wnodes.conf
 */
#pragma once

#define SCHEMA_1                                                                       \
	"CREATE TABLE site (name TEXT PRIMARY KEY, value TEXT NOT NULL);\n"            \
	"CREATE TABLE hostgroup (name TEXT PRIMARY KEY, description TEXT NOT NULL,"    \
	" revision BIGINT NOT NULL);\n"                                                \
	"CREATE TABLE role (id TEXT PRIMARY KEY, subject TEXT NOT NULL, role TEXT NOT" \
	" NULL, hostgroup TEXT NOT NULL, granted_by TEXT NOT NULL, granted BIGINT NOT" \
	" NULL, UNIQUE (subject, role, hostgroup));\n"                                 \
	"CREATE TABLE token (id TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, kind"     \
	" TEXT NOT NULL, name TEXT NOT NULL, hostgroup TEXT NOT NULL, roles TEXT NOT"  \
	" NULL, created_by TEXT NOT NULL, created BIGINT NOT NULL, expires BIGINT NOT" \
	" NULL, used BIGINT NOT NULL, serial TEXT NOT NULL DEFAULT '');\n"             \
	"CREATE TABLE certificate (serial TEXT PRIMARY KEY, node TEXT NOT NULL,"       \
	" issued BIGINT NOT NULL, not_after BIGINT NOT NULL, revoked BIGINT NOT NULL," \
	" reason TEXT NOT NULL, csr TEXT NOT NULL DEFAULT '', pem TEXT NOT NULL"       \
	" DEFAULT '');\n"                                                              \
	"CREATE INDEX certificate_node ON certificate (node);\n"                       \
	"CREATE TABLE node (name TEXT PRIMARY KEY, hostgroup TEXT NOT NULL, state"     \
	" TEXT NOT NULL, reason TEXT NOT NULL, version TEXT NOT NULL, status_json"     \
	" TEXT NOT NULL, vms BIGINT NOT NULL, memory_bytes BIGINT NOT NULL, cpus"      \
	" BIGINT NOT NULL, joined BIGINT NOT NULL, seen BIGINT NOT NULL, state_since"  \
	" BIGINT NOT NULL, autonomous BIGINT NOT NULL, config_seen TEXT NOT NULL,"     \
	" revision BIGINT NOT NULL, boot TEXT NOT NULL DEFAULT '', sequence BIGINT"    \
	" NOT NULL DEFAULT 0, wish BIGINT, wish_reason TEXT NOT NULL DEFAULT '');\n"   \
	"CREATE INDEX node_seen ON node (state, seen);\n"                              \
	"CREATE INDEX node_group ON node (hostgroup, name);\n"                         \
	"CREATE TABLE vm (id TEXT PRIMARY KEY, name TEXT NOT NULL, node TEXT NOT"      \
	" NULL, state TEXT NOT NULL, username TEXT NOT NULL, uid BIGINT NOT NULL, job" \
	" TEXT, image TEXT NOT NULL, digest TEXT NOT NULL, cpus BIGINT NOT NULL,"      \
	" memory_bytes BIGINT NOT NULL, started BIGINT NOT NULL, updated BIGINT NOT"   \
	" NULL);\n"                                                                    \
	"CREATE INDEX vm_node ON vm (node, id);\n"                                     \
	"CREATE INDEX vm_user ON vm (username, id);\n"                                 \
	"CREATE INDEX vm_job ON vm (job);\n"                                           \
	"CREATE INDEX vm_state ON vm (state, id);\n"                                   \
	"CREATE TABLE job (key TEXT PRIMARY KEY, system TEXT NOT NULL, id TEXT NOT"    \
	" NULL, username TEXT NOT NULL, name TEXT, partition_name TEXT, account TEXT," \
	" first_seen BIGINT NOT NULL, last_seen BIGINT NOT NULL, vms BIGINT NOT NULL," \
	" records BIGINT NOT NULL);\n"                                                 \
	"CREATE INDEX job_user ON job (username, key);\n"                              \
	"CREATE INDEX job_seen ON job (last_seen);\n"                                  \
	"CREATE TABLE pool (name TEXT PRIMARY KEY, vlan BIGINT NOT NULL, domain TEXT"  \
	" NOT NULL, host_pattern TEXT NOT NULL, first_address TEXT NOT NULL,"          \
	" mac_prefix TEXT NOT NULL, prefix BIGINT NOT NULL, gateway TEXT NOT NULL,"    \
	" nameservers_json TEXT NOT NULL, size BIGINT NOT NULL,"                       \
	" created BIGINT NOT NULL, revision BIGINT NOT NULL);\n"                       \
	"CREATE TABLE place (pool TEXT NOT NULL, number BIGINT NOT NULL, name TEXT"    \
	" NOT NULL, mac TEXT NOT NULL UNIQUE, address TEXT NOT NULL, vlan BIGINT NOT"  \
	" NULL, lease TEXT, released BIGINT NOT NULL, PRIMARY KEY (pool, number),"     \
	" UNIQUE (name), UNIQUE (vlan, address));\n"                                   \
	"CREATE INDEX place_free ON place (pool, released, number) WHERE lease IS"     \
	" NULL;\n"                                                                     \
	"CREATE TABLE lease (id TEXT PRIMARY KEY, pool TEXT NOT NULL, number BIGINT"   \
	" NOT NULL, name TEXT NOT NULL, mac TEXT NOT NULL, address TEXT NOT NULL,"     \
	" vlan BIGINT NOT NULL, node TEXT NOT NULL, vm TEXT, job TEXT, username TEXT," \
	" given BIGINT NOT NULL, revision BIGINT NOT NULL, UNIQUE (pool, number));\n"  \
	"CREATE INDEX lease_node ON lease (node);\n"                                   \
	"CREATE INDEX lease_job ON lease (job);\n"                                     \
	"CREATE TABLE record (id TEXT PRIMARY KEY, sequence BIGINT NOT NULL UNIQUE,"   \
	" received BIGINT NOT NULL, ended BIGINT NOT NULL, started BIGINT NOT NULL,"   \
	" month TEXT NOT NULL, node TEXT NOT NULL, username TEXT NOT NULL, account"    \
	" TEXT, image TEXT, job TEXT, wall_us BIGINT NOT NULL, cpu_us BIGINT NOT"      \
	" NULL, cpus BIGINT NOT NULL, memory_bytes BIGINT NOT NULL, body_json TEXT"    \
	" NOT NULL);\n"                                                                \
	"CREATE INDEX record_ended ON record (ended);\n"                               \
	"CREATE INDEX record_user ON record (username, sequence);\n"                   \
	"CREATE INDEX record_job ON record (job);\n"                                   \
	"CREATE INDEX record_month ON record (month, username);\n"                     \
	"CREATE TABLE event (sequence BIGINT PRIMARY KEY, time BIGINT NOT NULL, kind"  \
	" TEXT NOT NULL, subject TEXT NOT NULL, actor TEXT NOT NULL, username TEXT,"   \
	" detail_json TEXT NOT NULL);\n"                                               \
	"CREATE TABLE configuration (scope TEXT PRIMARY KEY, text TEXT NOT NULL,"      \
	" changed_by TEXT NOT NULL, changed BIGINT NOT NULL, revision BIGINT NOT"      \
	" NULL);\n"
