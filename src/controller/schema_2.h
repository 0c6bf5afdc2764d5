/* The tables that version 2 adds: images, and what nodes have of them. As schema_1.h has it.
 *
 * - token: account: whether its owner had one when it was made; it ends with it then
 * - image: one a digest, for ever; tag: the one that it is to have when it is approved; state:
 *   pending, endorsed, approved, expired or revoked, since state_since by changed_by for a reason;
 *   private: for its owner only; expires: 0 is never; parts_json: kind, digest, size, index
 * - image_tag: reference is "NAME:TAG", of private images "USER/NAME:TAG"
 * - image_history: never changed, and nothing of it is removed. username: whom a private image is
 *   of, NULL: everybody may know
 * - porter: how a node's images are had by others; told: SHA-256 of what it told last, so that the
 *   same again changes one row
 * - node_image: state is complete, fetching or failed; done: per mille
 * - peer_report: who has complained of whom last
 * - staging: state is running, done or cancelled; wave: how many nodes fetch at a time
 * - staging_node: state is waiting, fetching, done or failed
 */
#pragma once

#define SCHEMA_2                                                                         \
	"ALTER TABLE token ADD COLUMN account BIGINT NOT NULL DEFAULT 0;\n"              \
	"CREATE TABLE image (digest TEXT PRIMARY KEY, name TEXT NOT NULL, tag TEXT NOT"  \
	" NULL, state TEXT NOT NULL, private BIGINT NOT NULL, owner TEXT NOT NULL, os"   \
	" TEXT NOT NULL, size BIGINT NOT NULL, parts_json TEXT NOT NULL, published"      \
	" BIGINT NOT NULL, endorsed_by TEXT NOT NULL, endorsed BIGINT NOT NULL,"         \
	" approved_by TEXT NOT NULL, approved BIGINT NOT NULL, expires BIGINT NOT"       \
	" NULL, state_since BIGINT NOT NULL, changed_by TEXT NOT NULL, reason TEXT NOT"  \
	" NULL, revision BIGINT NOT NULL);\n"                                            \
	"CREATE INDEX image_name ON image (name, digest);\n"                             \
	"CREATE INDEX image_owner ON image (owner, digest);\n"                           \
	"CREATE INDEX image_expires ON image (state, expires);\n"                        \
	"CREATE TABLE image_tag (reference TEXT PRIMARY KEY, name TEXT NOT NULL, tag"    \
	" TEXT NOT NULL, owner TEXT NOT NULL, private BIGINT NOT NULL, digest TEXT NOT"  \
	" NULL, previous TEXT, moved BIGINT NOT NULL, moved_by TEXT NOT NULL, revision"  \
	" BIGINT NOT NULL);\n"                                                           \
	"CREATE INDEX image_tag_digest ON image_tag (digest);\n"                         \
	"CREATE TABLE image_history (sequence BIGINT PRIMARY KEY, time BIGINT NOT NULL," \
	" action TEXT NOT NULL, digest TEXT NOT NULL, name TEXT NOT NULL, reference"     \
	" TEXT, actor TEXT NOT NULL, reason TEXT NOT NULL, username TEXT, detail_json"   \
	" TEXT NOT NULL);\n"                                                             \
	"CREATE INDEX image_history_digest ON image_history (digest, sequence);\n"       \
	"CREATE INDEX image_history_name ON image_history (name, sequence);\n"           \
	"CREATE INDEX vm_digest ON vm (digest, id);\n"                                   \
	"CREATE TABLE porter (node TEXT PRIMARY KEY, address TEXT NOT NULL, rack TEXT"   \
	" NOT NULL, told TEXT NOT NULL, seen BIGINT NOT NULL);\n"                        \
	"CREATE TABLE node_image (node TEXT NOT NULL, digest TEXT NOT NULL, state TEXT"  \
	" NOT NULL, done BIGINT NOT NULL, reason TEXT NOT NULL, updated BIGINT NOT"      \
	" NULL, PRIMARY KEY (node, digest));\n"                                          \
	"CREATE INDEX node_image_digest ON node_image (digest, node);\n"                 \
	"CREATE TABLE peer_report (peer TEXT NOT NULL, node TEXT NOT NULL, chunk TEXT"   \
	" NOT NULL, reason TEXT NOT NULL, time BIGINT NOT NULL, PRIMARY KEY (peer,"      \
	" node));\n"                                                                     \
	"CREATE TABLE staging (id TEXT PRIMARY KEY, digest TEXT NOT NULL, reference"     \
	" TEXT NOT NULL, hostgroup TEXT NOT NULL, wave BIGINT NOT NULL, reason TEXT"     \
	" NOT NULL, state TEXT NOT NULL, created_by TEXT NOT NULL, created BIGINT NOT"   \
	" NULL, ended BIGINT NOT NULL, revision BIGINT NOT NULL);\n"                     \
	"CREATE INDEX staging_state ON staging (state, id);\n"                           \
	"CREATE TABLE staging_node (staging TEXT NOT NULL, node TEXT NOT NULL, state"    \
	" TEXT NOT NULL, reason TEXT NOT NULL, since BIGINT NOT NULL, PRIMARY KEY"       \
	" (staging, node));\n"                                                           \
	"CREATE INDEX staging_node_node ON staging_node (node, state);\n"                \
	"CREATE INDEX staging_node_state ON staging_node (staging, state, node);\n"
