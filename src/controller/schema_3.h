/* The tables that version 3 adds: volumes. As schema_1.h has it.
 *
 * - volume: node has its data; state is making, available, growing, failed or deleting, since
 *   state_since. source: the volume that it is a copy of, ''. generation: of the attachment that
 *   was given last
 * - volume_store: a node that keeps volumes; address: where others reach it, ''
 * - attachment: id is the node's choice, so that a request may be repeated. A row is what may be
 *   using the volume, and goes when that is over: at its node's word, by force, or when the node
 *   was lost for long enough. state is attaching, attached or failed; key: what both ends of the
 *   connection show each other, of this attachment alone; port: where it is served, 0: not yet
 */
#pragma once

#define SCHEMA_3                                                                          \
	"CREATE TABLE volume (id TEXT PRIMARY KEY, name TEXT NOT NULL, owner TEXT NOT"    \
	" NULL, node TEXT NOT NULL, size_bytes BIGINT NOT NULL, state TEXT NOT NULL,"     \
	" reason TEXT NOT NULL, source TEXT NOT NULL, generation BIGINT NOT NULL,"        \
	" created BIGINT NOT NULL, state_since BIGINT NOT NULL, revision BIGINT NOT"      \
	" NULL, UNIQUE (owner, name));\n"                                                 \
	"CREATE INDEX volume_node ON volume (node, state);\n"                             \
	"CREATE INDEX volume_source ON volume (source, state);\n"                         \
	"CREATE TABLE volume_store (node TEXT PRIMARY KEY, address TEXT NOT NULL,"        \
	" free_bytes BIGINT NOT NULL, seen BIGINT NOT NULL);\n"                           \
	"CREATE TABLE attachment (id TEXT PRIMARY KEY, volume TEXT NOT NULL, node TEXT"   \
	" NOT NULL, vm TEXT NOT NULL, username TEXT NOT NULL, read_only BIGINT NOT NULL," \
	" generation BIGINT NOT NULL, key TEXT NOT NULL, state TEXT NOT NULL, reason"     \
	" TEXT NOT NULL, port BIGINT NOT NULL, given BIGINT NOT NULL);\n"                 \
	"CREATE INDEX attachment_volume ON attachment (volume, id);\n"                    \
	"CREATE INDEX attachment_node ON attachment (node, id);\n"
