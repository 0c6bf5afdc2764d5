#include "hypervisor/block.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "lib/fields.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/path.h"
#include "lib/uuid.h"
#include "lrms/process.h"

#define BLOCK_DIRECTORY "site/leases"
#define LEASE_FILE_MAX  8192
#define LEASES_MAX      8192 /* of a node: those ready and one for each VM */
#define POOL_MAX        65
#define JOB_MAX         80

enum lease_state {
	LEASE_WANTED, /* asked for, or about to be */
	LEASE_READY,
	LEASE_USED,
	LEASE_RETURNED, /* to be given back */
	LEASE_STATES
};

static const char *const states[LEASE_STATES] = {"wanted", "ready", "used", "returned"};

/* As it is on the disk. */
struct lease {
	char id[UUID_TEXT_SIZE], pool[POOL_MAX], vm[UUID_TEXT_SIZE];
	enum lease_state state;
	struct process keeper; /* of one that is used; pid 0: not known */
	uid_t uid;             /* the same, as is: */
	char job[JOB_MAX];
	bool told;     /* the controllers know what it is used for */
	uint64_t turn; /* of those ready, the least is next */
	json_t *said;  /* by the controllers; NULL while it is wanted */
	bool held;     /* by a connection */
	bool lost;     /* the controllers do not know of it: not used again */
	struct lease *next;
};

struct block {
	char *directory, pool[POOL_MAX];
	uint64_t wanted, turn;
	struct lease *leases;
	size_t count;
};

/* What a lease must have, to be one. */
struct lease_told {
	char id[UUID_TEXT_SIZE], name[65], mac[18], address[46], gateway[46];
	uint64_t prefix, vlan;
	json_t *nameservers;
};

#define AT(member) offsetof(struct lease_told, member)

static const struct field told_fields[] = {
	{"id", FIELD_ID, AT(id), .required = true},
	{"name", FIELD_TEXT, AT(name), 0, 65, true},
	{"mac", FIELD_TEXT, AT(mac), 0, 18, true},
	{"address", FIELD_TEXT, AT(address), 0, 46, true},
	{"prefix", FIELD_NUMBER, AT(prefix), 0, 128},
	{"gateway", FIELD_TEXT, AT(gateway), 0, 46},
	{"nameservers", FIELD_LIST, AT(nameservers), 0, 8},
	{"vlan", FIELD_NUMBER, AT(vlan), 0, 4094},
	{.name = NULL},
};

/* What VMs are told of it. */
static const char *const told_keys[] = {
	"id", "name", "mac", "address", "prefix", "gateway", "nameservers", "vlan"};

static char *lease_path(const struct block *b, const char *id)
{
	return path_format("%s/%s", b->directory, id);
}

static int lease_save(struct block *b, struct lease *l)
{
	autofree char *path = lease_path(b, l->id), *text = NULL;
	json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:b, s:O*, s:I, s:s}", "id",
		l->id, "pool", l->pool, "state", states[l->state], "vm", l->vm, "pid",
		(json_int_t)l->keeper.pid, "start", (json_int_t)l->keeper.start, "turn",
		(json_int_t)l->turn, "lost", l->lost, "lease", l->said, "uid", (json_int_t)l->uid,
		"job", l->job);
	int r;

	text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	json_decref(json);
	r = path && text ? file_replace_soon(path, text, strlen(text), 0600) : -ENOMEM;
	if (r < 0)
		log_warning("cannot note a lease in '%s': %s", b->directory, strerror(-r));
	return r;
}

static void lease_free(struct lease *l)
{
	json_decref(l->said);
	free(l);
}

static struct lease *lease_find(const struct block *b, const char *id)
{
	for (struct lease *l = b->leases; l; l = l->next)
		if (streq(l->id, id))
			return l;
	return NULL;
}

static void lease_remove(struct block *b, struct lease *l)
{
	autofree char *path = lease_path(b, l->id);
	struct lease **at = &b->leases;

	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	b->count--;
	if (path && unlink(path) < 0 && errno != ENOENT)
		log_warning("cannot remove '%s': %s, ignoring", path, strerror(errno));
	lease_free(l);
}

static void lease_add(struct block *b, struct lease *l)
{
	l->next = b->leases;
	b->leases = l;
	b->count++;
	b->turn = MAX_OF(b->turn, l->turn);
}

static bool lease_is_told(json_t *json, const char *id)
{
	struct lease_told told = {.id = ""};
	struct error err = {0};

	return json_is_object(json) && fields_parse(told_fields, json, &told, &err) == 0 &&
	       streq(told.id, id);
}

/* Only what VMs are told is kept. */
static json_t *copy_told(json_t *json)
{
	json_t *copy = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(told_keys); i++)
		json_object_set(copy, told_keys[i], json_object_get(json, told_keys[i]));
	return copy;
}

static bool parse_state(const char *text, enum lease_state *ret)
{
	for (size_t i = 0; text && i < LEASE_STATES; i++)
		if (streq(states[i], text)) {
			*ret = (enum lease_state)i;
			return true;
		}
	return false;
}

static void copy_text(const json_t *json, const char *key, char *ret, size_t size)
{
	const char *text = json_string_value(json_object_get(json, key));

	snprintf(ret, size, "%s", text ? text : "");
}

static bool lease_parse(json_t *json, const char *id, struct lease *ret)
{
	json_t *said = json_object_get(json, "lease");

	*ret = (struct lease){.lost = json_is_true(json_object_get(json, "lost"))};
	snprintf(ret->id, sizeof(ret->id), "%.36s", id);
	copy_text(json, "pool", ret->pool, sizeof(ret->pool));
	copy_text(json, "vm", ret->vm, sizeof(ret->vm));
	ret->keeper.pid = (pid_t)json_integer_value(json_object_get(json, "pid"));
	ret->keeper.start = (uint64_t)json_integer_value(json_object_get(json, "start"));
	ret->turn = (uint64_t)json_integer_value(json_object_get(json, "turn"));
	ret->uid = (uid_t)json_integer_value(json_object_get(json, "uid"));
	copy_text(json, "job", ret->job, sizeof(ret->job));
	if (!parse_state(json_string_value(json_object_get(json, "state")), &ret->state))
		return false;
	if (said && !lease_is_told(said, id))
		return false;
	ret->said = json_incref(said);
	return said || ret->state == LEASE_WANTED || ret->state == LEASE_RETURNED;
}

/* One that cannot be read is given back: we do not know whose it is, but nobody has it after a
 * crash of the node, which alone damages files. */
static struct lease *lease_load(const struct block *b, const char *id)
{
	autofree char *path = lease_path(b, id), *text = NULL;
	struct lease *l = calloc(1, sizeof(*l));
	json_t *json = NULL;
	size_t length;

	if (!l || !path)
		return free(l), NULL;
	if (file_read(AT_FDCWD, path, LEASE_FILE_MAX, &text, &length) == 0)
		json = json_loadb(text, length, 0, NULL);
	if (!lease_parse(json, id, l)) {
		log_warning("the note of the lease %s is damaged; it is given back", id);
		l->state = LEASE_RETURNED;
	}
	json_decref(json);
	return l;
}

static void load(struct block *b)
{
	DIR *dir = opendir(b->directory);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)) && b->count < LEASES_MAX) {
		struct lease *l = uuid_is_text(entry->d_name) ? lease_load(b, entry->d_name) : NULL;

		if (l)
			lease_add(b, l);
	}
	if (dir)
		closedir(dir);
}

int block_new(const char *state, struct block **ret, struct error *err)
{
	struct block *b AUTO(block_freep) = calloc(1, sizeof(*b));
	int r;

	if (!b || !(b->directory = path_format("%s/" BLOCK_DIRECTORY, state)))
		return fail(err, -ENOMEM, "out of memory");
	r = file_make_dirs(b->directory, 0755);
	if (r < 0)
		return fail_errno(err, r, "cannot make '%s'", b->directory);
	load(b);
	*ret = TAKE_PTR(b);
	return 0;
}

struct block *block_free(struct block *b)
{
	if (!b)
		return NULL;
	while (b->leases) {
		struct lease *next = b->leases->next;

		lease_free(b->leases);
		b->leases = next;
	}
	free(b->directory);
	free(b);
	return NULL;
}

void block_set_wanted(struct block *b, const char *pool, uint64_t ready)
{
	snprintf(b->pool, sizeof(b->pool), "%s", pool ? pool : "");
	b->wanted = b->pool[0] ? ready : 0;
}

static bool is_wanted(const struct block *b, const struct lease *l)
{
	return b->wanted > 0 && streq(l->pool, b->pool) && !l->lost;
}

static struct lease *find_ready(const struct block *b)
{
	struct lease *next = NULL;

	for (struct lease *l = b->leases; l; l = l->next)
		if (l->state == LEASE_READY && is_wanted(b, l) && (!next || l->turn < next->turn))
			next = l;
	return next;
}

static void lease_set_use(struct lease *l, const struct block_use *use)
{
	l->state = LEASE_USED;
	l->held = true;
	l->told = false;
	l->uid = use->uid;
	snprintf(l->vm, sizeof(l->vm), "%s", use->vm);
	snprintf(l->job, sizeof(l->job), "%s", use->job);
	if (use->keeper <= 0 || process_find(use->keeper, &l->keeper) < 0)
		l->keeper = (struct process){0};
}

json_t *block_lend(struct block *b, const struct block_use *use)
{
	struct lease *l = find_ready(b), before;

	if (!l)
		return NULL;
	before = *l;
	lease_set_use(l, use);
	/* Without a note it would be given once more by a daemon after us. */
	if (lease_save(b, l) == 0)
		return json_incref(l->said);
	*l = before;
	return NULL;
}

static struct lease *find_of_vm(const struct block *b, const char *vm)
{
	for (struct lease *l = b->leases; l; l = l->next)
		if (l->state == LEASE_USED && streq(l->vm, vm))
			return l;
	return NULL;
}

json_t *block_claim(struct block *b, const char *vm)
{
	struct lease *l = find_of_vm(b, vm);

	if (!l || l->held)
		return NULL;
	l->held = true;
	return json_incref(l->said);
}

/* What the controllers may have under its id is theirs again. */
static void lease_return(struct block *b, struct lease *l)
{
	l->state = LEASE_RETURNED;
	lease_save(b, l);
}

static void lease_end_use(struct block *b, struct lease *l)
{
	if (l->lost) {
		lease_return(b, l);
		return;
	}
	l->state = LEASE_READY;
	l->held = l->told = false;
	l->vm[0] = l->job[0] = '\0';
	l->keeper = (struct process){0};
	l->turn = ++b->turn; /* behind the others */
	lease_save(b, l);
}

void block_take_back(struct block *b, const char *vm)
{
	struct lease *l = find_of_vm(b, vm);

	if (l)
		lease_end_use(b, l);
}

static bool keeper_lives(const struct lease *l)
{
	struct process now;

	return l->keeper.pid > 0 && process_find(l->keeper.pid, &now) == 0 &&
	       now.start == l->keeper.start;
}

void block_sweep(struct block *b)
{
	struct lease *next;

	for (struct lease *l = b->leases; l; l = next) {
		next = l->next;
		if (l->state == LEASE_USED && !l->held && !keeper_lives(l))
			lease_end_use(b, l);
	}
}

/* Those that are ready or will be. */
static uint64_t count_coming(const struct block *b)
{
	uint64_t n = 0;

	for (const struct lease *l = b->leases; l; l = l->next)
		n += (l->state == LEASE_READY || l->state == LEASE_WANTED) && is_wanted(b, l);
	return n;
}

/* The ids are on the disk before anybody hears them. */
static bool want_one(struct block *b)
{
	struct lease *l = b->count < LEASES_MAX ? calloc(1, sizeof(*l)) : NULL;

	if (!l || uuid_new(l->id) < 0)
		return free(l), false;
	memcpy(l->pool, b->pool, sizeof(l->pool));
	l->state = LEASE_WANTED;
	if (lease_save(b, l) < 0)
		return free(l), false;
	lease_add(b, l);
	return true;
}

/* Gives back what is of another pool, and what is too much; wanted ones as well, which may have
 * been given without our having heard of it. */
static void plan(struct block *b)
{
	uint64_t coming = count_coming(b);

	for (struct lease *l = b->leases; l; l = l->next) {
		bool idle = l->state == LEASE_READY || l->state == LEASE_WANTED;
		bool spare = idle && is_wanted(b, l) && coming > b->wanted;

		if (!idle || (is_wanted(b, l) && !spare))
			continue;
		coming -= spare;
		lease_return(b, l);
	}
	while (coming < b->wanted && want_one(b))
		coming++;
}

static json_t *give_to_json(const struct lease *l)
{
	if (l->state == LEASE_WANTED)
		return json_pack("{s:s, s:s}", "id", l->id, "pool", l->pool);
	return json_pack("{s:s, s:s, s:s, s:s, s:o*}", "id", l->id, "pool", l->pool, "vm", l->vm,
		"job", l->job, "uid",
		l->state == LEASE_USED ? json_integer((json_int_t)l->uid) : NULL);
}

json_t *block_ask(struct block *b)
{
	json_t *give = json_array(), *take = json_array();

	plan(b);
	for (struct lease *l = b->leases; l; l = l->next) {
		if (!l->told && l->state != LEASE_RETURNED && !l->lost &&
			json_array_size(give) < BLOCK_BATCH_MAX)
			json_array_append_new(give, give_to_json(l));
		if (l->state == LEASE_RETURNED && json_array_size(take) < BLOCK_BATCH_MAX)
			json_array_append_new(take, json_string(l->id));
	}
	if (json_array_size(give) + json_array_size(take) > 0)
		return json_pack("{s:o, s:o}", "give", give, "take", take);
	json_decref(give);
	json_decref(take);
	return NULL;
}

static bool same_text(const json_t *a, const json_t *b, const char *key)
{
	const char *one = json_string_value(json_object_get(a, key));
	const char *other = json_string_value(json_object_get(b, key));

	return one && other && streq(one, other);
}

/* Has another of ours its name or its card? Then somebody errs. */
static bool is_double(const struct block *b, const json_t *said)
{
	for (const struct lease *l = b->leases; l; l = l->next)
		if (l->said &&
			(same_text(l->said, said, "name") || same_text(l->said, said, "mac")))
			return true;
	return false;
}

/* Was it given anew under its old id? The controllers take back what a node has that they do not
 * hear of, and lend it to others; who then names it once more gets another place. */
static bool is_elsewhere(const struct lease *l, json_t *json)
{
	return lease_is_told(json, l->id) &&
	       (!same_text(l->said, json, "name") || !same_text(l->said, json, "mac") ||
		       !same_text(l->said, json, "address"));
}

/* What we have of it is another's now. */
static void leave_place(struct block *b, struct lease *l)
{
	if (l->state != LEASE_USED) {
		lease_return(b, l);
		return;
	}
	log_warning("the site has lent the name and address of a VM that runs, %s, to others "
		    "meanwhile; they are not used again",
		l->id);
	l->lost = l->told = true;
	lease_save(b, l);
}

/* Meanwhile it may be used for something else. */
static bool hear_use(struct block *b, struct lease *l, json_t *json)
{
	const char *vm = json_string_value(json_object_get(json, "vm"));
	bool before = l->told;

	if (is_elsewhere(l, json)) {
		leave_place(b, l);
		return true;
	}
	l->told = streq(vm ? vm : "", l->vm);
	return l->told && !before;
}

static bool take_in(struct block *b, json_t *json)
{
	const char *id = json_string_value(json_object_get(json, "id"));
	struct lease *l = id ? lease_find(b, id) : NULL;

	if (l && (l->state == LEASE_USED || l->state == LEASE_READY))
		return hear_use(b, l, json);
	if (!l || l->state != LEASE_WANTED)
		return false;
	if (!lease_is_told(json, id) || is_double(b, json)) {
		log_warning("a lease of the site's that is none, or another's, is passed over");
		return false;
	}
	l->said = copy_told(json);
	l->state = LEASE_READY;
	l->told = true;
	l->turn = ++b->turn;
	if (l->said && lease_save(b, l) == 0)
		return true;
	json_decref(l->said);
	l->said = NULL;
	l->state = LEASE_WANTED;
	l->told = false;
	return false;
}

size_t block_hear(struct block *b, json_t *given, json_t *taken)
{
	size_t n = 0, i;
	json_t *value;

	json_array_foreach(given, i, value) n += take_in(b, value);
	json_array_foreach(taken, i, value)
	{
		const char *id = json_string_value(value);
		struct lease *l = id ? lease_find(b, id) : NULL;

		if (l && l->state == LEASE_RETURNED) {
			lease_remove(b, l);
			n++;
		}
	}
	return n;
}

void block_forget(struct block *b, const char *id)
{
	struct lease *l = lease_find(b, id);

	if (!l || l->state == LEASE_WANTED)
		return;
	if (l->state != LEASE_USED) {
		lease_remove(b, l);
		return;
	}
	if (!l->lost)
		log_warning("the site has given the lease of a VM that runs, %s, to nobody or to "
			    "others; it is not used again",
			l->id);
	l->lost = true;
	lease_save(b, l);
}

void block_disown(struct block *b, const char *id)
{
	struct lease *l;

	if (!uuid_is_text(id) || lease_find(b, id) || b->count >= LEASES_MAX)
		return;
	l = calloc(1, sizeof(*l));
	if (!l)
		return;
	snprintf(l->id, sizeof(l->id), "%s", id);
	log_info("the site has lent this node '%s', of which it knows nothing; it is given back",
		id);
	lease_add(b, l);
	lease_return(b, l);
}

json_t *block_ids(const struct block *b)
{
	json_t *ids = json_array();

	for (const struct lease *l = b->leases; l; l = l->next)
		if (l->state == LEASE_READY || l->state == LEASE_USED)
			json_array_append_new(ids, json_string(l->id));
	return ids;
}

void block_get_usage(const struct block *b, struct block_usage *ret)
{
	*ret = (struct block_usage){0};
	for (const struct lease *l = b->leases; l; l = l->next) {
		ret->ready += l->state == LEASE_READY && is_wanted(b, l);
		ret->used += l->state == LEASE_USED;
	}
}
