#include "hypervisor/ledger.h"

#include <errno.h>
#include <stdio.h>

#include "engine/record.h"
#include "engine/spool.h"
#include "hypervisor/ledger_disk.h"
#include "hypervisor/witness.h"
#include "hypervisor/worker.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/path.h"
#include "lib/timestamp.h"

/* How often the spool is read, VMs that nobody tells of are looked for, and what could not be
 * written is tried again. */
#ifndef SWEEP_US /* a test does so more often */
#define SWEEP_US (5 * UINT64_C(1000000))
#endif

/* Records that wait for the disk, and those that are written in one go. */
#define WAITING_MAX 4096
#define BATCH_MAX   256

/* For how long a VM without a process that can be looked for may come back. */
#define RETURN_US (60 * UINT64_C(1000000))

/* Records of VMs that nothing is known of, which a user may leave in an hour: a daemon that is
 * killed just when a VM starts is rare. */
#define STRANGERS_MAX    20
#define STRANGERS_USERS  256
#define STRANGERS_AGE_US (3600 * UINT64_C(1000000))

/* A VM that has no record yet. */
struct loan {
	struct ledger_note note;
	bool held;           /* by a connection */
	bool ending;         /* its record is being written */
	uint64_t dead_since; /* the reading of the spool in which it was seen dead; 0: it was not */
	struct loan *next;
};

struct entry {
	json_t *record;
	char id[UUID_TEXT_SIZE];
	char *spooled; /* the file that it was left in; NULL: none */
	ledger_fn done;
	void *userdata;
	struct entry *next;
};

/* What the thread works on. */
struct batch {
	struct worker_job job; /* first */
	struct ledger *ledger;
	json_t *records[BATCH_MAX];
	struct entry *entries[BATCH_MAX];
	size_t count;
	int result;
	struct error err;
};

struct noting {
	struct worker_job job;
	struct ledger *ledger;
	struct ledger_note note;
};

/* A record, noted whole, before it is on the disk. */
struct accepting {
	struct worker_job job; /* first */
	struct ledger *ledger;
	struct ledger_note note;
	int result;
};

struct reading {
	struct worker_job job;
	struct ledger *ledger;
	struct spool_items items;
	bool *written; /* of each: its id has a record already */
	int result;
	struct error err;
};

struct stranger {
	uid_t uid;
	unsigned int count;
	uint64_t since_us;
};

struct ledger {
	sd_event_source *sweep;
	struct worker *worker;
	struct ledger_disk disk; /* the thread's */
	char *spool, *node;
	struct loan *loans;
	struct entry *waiting;
	size_t waiting_count;
	struct batch *batch;     /* that is being written */
	struct reading *reading; /* of the spool */
	uint64_t readings;       /* that have been done */
	uint64_t started_us;
	void (*written)(void *userdata);
	void *userdata;
	bool failing; /* it has been said that records cannot be written */
	struct stranger strangers[STRANGERS_USERS];
};

static void write_next(struct ledger *l);

static struct loan *find_loan(struct ledger *l, const char *id)
{
	for (struct loan *i = l->loans; i; i = i->next)
		if (streq(i->note.id, id))
			return i;
	return NULL;
}

static void remove_loan(struct ledger *l, const char *id)
{
	for (struct loan **i = &l->loans; *i; i = &(*i)->next)
		if (streq((*i)->note.id, id)) {
			struct loan *loan = *i;

			*i = loan->next;
			json_decref(loan->note.known);
			free(loan);
			return;
		}
}

static struct loan *add_loan(struct ledger *l, const struct ledger_note *note, bool held)
{
	struct loan *loan = calloc(1, sizeof(*loan));

	if (!loan)
		return NULL;
	loan->note = *note;
	loan->held = held;
	loan->next = l->loans;
	l->loans = loan;
	return loan;
}

static uid_t uid_of(const json_t *record)
{
	return (uid_t)json_integer_value(json_object_get(record, "uid"));
}

static const char *id_of(const json_t *record)
{
	const char *id = json_string_value(json_object_get(record, "id"));

	return id ? id : "";
}

const char *ledger_node(const struct ledger *l)
{
	return l->node;
}

int ledger_set_node(struct ledger *l, const char *node)
{
	char *copy = strdup(node);

	if (!copy)
		return -ENOMEM;
	free(l->node);
	l->node = copy;
	return 0;
}

void ledger_watch(struct ledger *l, void (*written)(void *userdata), void *userdata)
{
	l->written = written;
	l->userdata = userdata;
}

static void noting_work(struct worker_job *job)
{
	struct noting *n = (struct noting *)(void *)job;

	ledger_disk_note(&n->ledger->disk, &n->note);
}

static void noting_done(struct worker_job *job, bool cancelled)
{
	struct noting *n = (struct noting *)(void *)job;

	if (cancelled)
		noting_work(job);
	json_decref(n->note.known);
	free(n);
}

int ledger_add(struct ledger *l, const char *id, json_t *known, pid_t keeper)
{
	struct noting *n = calloc(1, sizeof(*n));
	struct loan *loan;

	if (!n)
		return -ENOMEM;
	n->job = (struct worker_job){.work = noting_work, .done = noting_done};
	n->ledger = l;
	snprintf(n->note.id, sizeof(n->note.id), "%s", id);
	if (keeper > 0 && process_find(keeper, &n->note.keeper) < 0)
		n->note.keeper = (struct process){0};
	n->note.known = json_deep_copy(known);
	loan = n->note.known ? add_loan(l, &n->note, true) : NULL;
	if (!loan) {
		json_decref(n->note.known);
		free(n);
		return -ENOMEM;
	}
	/* The thread has a copy of its own: counting references is not for two. */
	loan->note.known = json_deep_copy(known);
	worker_add(l->worker, &n->job);
	return 0;
}

json_t *ledger_claim(struct ledger *l, const char *id, uid_t uid)
{
	struct loan *loan = find_loan(l, id);

	if (!loan || loan->held || loan->ending || uid_of(loan->note.known) != uid)
		return NULL;
	loan->held = true;
	loan->dead_since = 0;
	return json_deep_copy(loan->note.known);
}

void ledger_release(struct ledger *l, const char *id)
{
	struct loan *loan = find_loan(l, id);

	if (loan)
		loan->held = false;
}

static void free_entry(struct entry *e)
{
	json_decref(e->record);
	free(e->spooled);
	free(e);
}

static void batch_work(struct worker_job *job)
{
	struct batch *b = (struct batch *)(void *)job;
	struct ledger *l = b->ledger;

	b->result = ledger_disk_append(&l->disk, b->records, b->count, &b->err);
	for (size_t i = 0; i < b->count && b->result == 0; i++) {
		ledger_disk_remove_note(&l->disk, b->entries[i]->id);
		if (b->entries[i]->spooled)
			spool_remove(l->spool, b->entries[i]->spooled);
	}
}

static void tell(struct entry *e, const char *err)
{
	ledger_fn done = e->done;

	e->done = NULL;
	if (done)
		done(err, e->userdata);
}

static struct entry *find_entry(struct ledger *l, const char *id)
{
	for (struct entry *e = l->waiting; e; e = e->next)
		if (streq(e->id, id))
			return e;
	for (size_t i = 0; l->batch && i < l->batch->count; i++)
		if (streq(l->batch->entries[i]->id, id))
			return l->batch->entries[i];
	return NULL;
}

static void accepting_work(struct worker_job *job)
{
	struct accepting *a = (struct accepting *)(void *)job;

	a->result = ledger_disk_note(&a->ledger->disk, &a->note);
}

/* A daemon that is killed finds it. Else its writer is told when it is on the disk. */
static void accepting_done(struct worker_job *job, bool cancelled)
{
	struct accepting *a = (struct accepting *)(void *)job;
	struct entry *e = cancelled || a->result < 0 ? NULL : find_entry(a->ledger, a->note.id);

	if (e)
		tell(e, NULL);
	json_decref(a->note.known);
	free(a);
}

/* Its writer need not wait for the disk: the note will do if we are killed. */
static void accept_early(struct ledger *l, const struct entry *e)
{
	struct accepting *a = l->worker ? calloc(1, sizeof(*a)) : NULL;

	if (!a)
		return;
	a->job = (struct worker_job){.work = accepting_work, .done = accepting_done};
	a->ledger = l;
	a->note.told = true;
	snprintf(a->note.id, sizeof(a->note.id), "%s", e->id);
	a->note.known = json_deep_copy(e->record); /* the thread's own */
	if (a->note.known)
		worker_add(l->worker, &a->job);
	else
		free(a);
}

static void tell_failing(struct ledger *l, const struct batch *b)
{
	if (b->result < 0 && !l->failing)
		log_warning("%s, trying again", b->err.text);
	else if (b->result == 0 && l->failing)
		log_warning("usage records are written again");
	l->failing = b->result < 0;
}

/* Back to the beginning of those that wait, in their order. */
static void put_back(struct ledger *l, struct batch *b)
{
	for (size_t i = b->count; i-- > 0;) {
		tell(b->entries[i], b->err.text);
		b->entries[i]->next = l->waiting;
		l->waiting = b->entries[i];
		l->waiting_count++;
	}
}

static void batch_finish(struct ledger *l, struct batch *b)
{
	l->batch = NULL;
	tell_failing(l, b);
	if (b->result < 0) {
		put_back(l, b);
	} else {
		for (size_t i = 0; i < b->count; i++) {
			remove_loan(l, b->entries[i]->id);
			tell(b->entries[i], NULL);
			free_entry(b->entries[i]);
		}
	}
	free(b);
}

static void batch_done(struct worker_job *job, bool cancelled)
{
	struct batch *b = (struct batch *)(void *)job;
	struct ledger *l = b->ledger;
	bool failed;

	/* The thread has ended: there is nobody else who could. */
	if (cancelled)
		batch_work(job);
	failed = b->result < 0;
	batch_finish(l, b);
	if (!failed && !cancelled && l->written)
		l->written(l->userdata);
	if (!failed && !cancelled)
		write_next(l);
}

static struct batch *make_batch(struct ledger *l)
{
	struct batch *b = l->waiting ? calloc(1, sizeof(*b)) : NULL;

	if (!b)
		return NULL;
	b->job = (struct worker_job){.work = batch_work, .done = batch_done};
	b->ledger = l;
	while (l->waiting && b->count < BATCH_MAX) {
		struct entry *e = l->waiting;

		l->waiting = e->next;
		l->waiting_count--;
		b->records[b->count] = e->record;
		b->entries[b->count++] = e;
	}
	return b;
}

/* One at a time: those that come meanwhile are written together. */
static void write_next(struct ledger *l)
{
	if (l->batch || !l->worker)
		return;
	l->batch = make_batch(l);
	if (l->batch)
		worker_add(l->worker, &l->batch->job);
}

static int add_entry(
	struct ledger *l, json_t *record, const char *spooled, ledger_fn done, void *userdata)
{
	const char *id = id_of(record);
	struct entry *e = calloc(1, sizeof(*e)), **last = &l->waiting;
	struct loan *loan;

	if (!e || l->waiting_count >= WAITING_MAX || (spooled && !(e->spooled = strdup(spooled)))) {
		json_decref(record);
		free(e);
		return l->waiting_count >= WAITING_MAX ? -EBUSY : -ENOMEM;
	}
	snprintf(e->id, sizeof(e->id), "%s", id);
	e->record = record;
	e->done = done;
	e->userdata = userdata;
	while (*last)
		last = &(*last)->next;
	*last = e;
	l->waiting_count++;
	loan = find_loan(l, e->id);
	if (loan)
		loan->ending = true;
	if (done)
		accept_early(l, e);
	write_next(l);
	return 0;
}

/* Of a daemon before us: a VM, or a record that did not get to the disk. */
static void on_note_found(const struct ledger_note *note, void *userdata)
{
	struct ledger *l = userdata;

	if (note->told)
		add_entry(l, note->known, NULL, NULL, NULL);
	else if (!add_loan(l, note, false))
		json_decref(note->known);
}

int ledger_write(struct ledger *l, json_t *record, ledger_fn done, void *userdata)
{
	return add_entry(l, record, NULL, done, userdata);
}

void ledger_forget(struct ledger *l, void *userdata)
{
	for (struct entry *e = l->waiting; e; e = e->next)
		if (e->userdata == userdata)
			e->done = NULL;
	for (size_t i = 0; l->batch && i < l->batch->count; i++)
		if (l->batch->entries[i]->userdata == userdata)
			l->batch->entries[i]->done = NULL;
}

/* May this user leave one more record of a VM that nothing is known of? */
static bool take_stranger(struct ledger *l, uid_t uid)
{
	uint64_t now = clock_now_us();
	struct stranger *s = NULL;

	for (size_t i = 0; i < STRANGERS_USERS && (!s || s->uid != uid || !s->count); i++)
		if (l->strangers[i].count == 0 || l->strangers[i].uid == uid ||
			now - l->strangers[i].since_us > STRANGERS_AGE_US)
			s = &l->strangers[i];
	if (!s)
		return false;
	if (s->uid != uid || now - s->since_us > STRANGERS_AGE_US)
		*s = (struct stranger){.uid = uid, .since_us = now};
	return ++s->count <= STRANGERS_MAX;
}

static bool is_waiting(const struct ledger *l, const char *spooled)
{
	for (const struct entry *e = l->waiting; e; e = e->next)
		if (e->spooled && streq(e->spooled, spooled))
			return true;
	for (size_t i = 0; l->batch && i < l->batch->count; i++)
		if (l->batch->entries[i]->spooled && streq(l->batch->entries[i]->spooled, spooled))
			return true;
	return false;
}

static void refuse_item(struct ledger *l, const struct spool_item *item, const char *why)
{
	log_warning("a usage record that uid %u has left is not taken: %s", (unsigned int)item->uid,
		why);
	spool_remove(l->spool, item->name);
}

/* Only whose file it is counts. */
static void take_item(struct ledger *l, struct spool_item *item, bool written)
{
	const char *id = id_of(item->record);
	uint64_t ended_us = MIN_OF(item->written_us, timestamp_now_us());
	struct loan *loan = find_loan(l, id);

	if (is_waiting(l, item->name) || (loan && loan->held && !loan->ending))
		return; /* it is heard when its connection has ended */
	if (!id[0]) {
		refuse_item(l, item, "it has no id");
		return;
	}
	if (loan && uid_of(loan->note.known) != item->uid) {
		refuse_item(l, item, "the VM is another user's");
		return;
	}
	if (!loan && !written && !take_stranger(l, item->uid)) {
		refuse_item(l, item, "there were too many of VMs that were never lent");
		return;
	}
	if (loan)
		witness_correct(item->record, loan->note.known, ended_us);
	else
		witness_correct_stranger(item->record, l->node, item->uid, item->gid, ended_us);
	add_entry(l, TAKE_PTR(item->record), item->name, NULL, NULL);
}

static void reading_work(struct worker_job *job)
{
	struct reading *r = (struct reading *)(void *)job;

	struct ledger *l = r->ledger;

	r->result = spool_read(l->spool, &r->items, &r->err);
	r->written = calloc(r->items.count + 1, sizeof(bool));
	for (size_t i = 0; r->written && i < r->items.count; i++)
		r->written[i] = ledger_disk_has(&l->disk, id_of(r->items.items[i].record));
}

static void reading_done(struct worker_job *job, bool cancelled)
{
	struct reading *r = (struct reading *)(void *)job;
	struct ledger *l = r->ledger;

	l->reading = NULL;
	if (!cancelled && r->result < 0)
		log_warning("%s, ignoring", r->err.text);
	for (size_t i = 0; i < r->items.count && !cancelled; i++)
		take_item(l, &r->items.items[i], r->written && r->written[i]);
	l->readings += !cancelled && !r->items.more;
	spool_items_done(&r->items);
	free(r->written);
	free(r);
}

static void read_spool(struct ledger *l)
{
	if (l->reading)
		return;
	l->reading = calloc(1, sizeof(*l->reading));
	if (!l->reading)
		return;
	l->reading->job = (struct worker_job){.work = reading_work, .done = reading_done};
	l->reading->ledger = l;
	worker_add(l->worker, &l->reading->job);
}

/* Can nobody tell of this VM any more? */
static bool is_orphan(const struct ledger *l, const struct loan *loan)
{
	const struct process *keeper = &loan->note.keeper;
	struct process now;

	if (keeper->pid <= 0)
		return clock_now_us() - l->started_us > RETURN_US;
	return process_find(keeper->pid, &now) < 0 || now.start != keeper->start;
}

/* What its program may have left is read once more before its VM is written off. */
static void sweep_loan(struct ledger *l, struct loan *loan)
{
	json_t *record;

	if (loan->held || loan->ending || !is_orphan(l, loan))
		return;
	if (loan->dead_since == 0) {
		loan->dead_since = l->readings + 1;
		return;
	}
	/* The reading that was under way then may have passed its file by already. */
	if (l->readings < loan->dead_since + 1)
		return;
	record = witness_alone(loan->note.known, NULL, timestamp_now_us(),
		"the program that ran the VM was killed while there was no daemon of the node; when "
		"the VM ended is not known");
	if (record)
		ledger_write(l, record, NULL, NULL);
}

static int on_sweep(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct ledger *l = userdata;

	for (struct loan *i = l->loans; i; i = i->next)
		sweep_loan(l, i);
	write_next(l);
	read_spool(l);
	sd_event_source_set_time_relative(source, SWEEP_US);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

int ledger_new(sd_event *event, const char *state, const char *spool, const char *node,
	struct ledger **ret, struct error *err)
{
	struct ledger *l AUTO(ledger_freep) = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return fail(err, -ENOMEM, "out of memory");
	l->started_us = clock_now_us();
	l->spool = strdup(spool);
	l->node = strdup(node);
	if (!l->spool || !l->node)
		return fail(err, -ENOMEM, "out of memory");
	r = ledger_disk_open(&l->disk, state, err);
	if (r == 0)
		r = spool_make(spool, err);
	if (r < 0)
		return r;
	/* Before there is a thread that writes what of it is to be written: the disk has one user.
	 */
	ledger_disk_list(&l->disk, on_note_found, l);
	r = worker_new(event, &l->worker, err);
	if (r < 0)
		return r;
	r = sd_event_add_time_relative(event, &l->sweep, CLOCK_MONOTONIC, 0, 0, on_sweep, l);
	if (r < 0)
		return fail_errno(err, r, "cannot set up the event loop");
	*ret = TAKE_PTR(l);
	return 0;
}

static void write_rest(struct ledger *l)
{
	struct batch *b;
	bool failed = false;

	while (!failed && (b = make_batch(l))) {
		batch_work(&b->job);
		failed = b->result < 0;
		batch_finish(l, b);
	}
}

struct ledger *ledger_free(struct ledger *l)
{
	if (!l)
		return NULL;
	/* Its last jobs are done without it. */
	l->worker = worker_free(l->worker);
	write_rest(l);
	while (l->waiting) {
		struct entry *e = l->waiting;

		l->waiting = e->next;
		free_entry(e);
	}
	while (l->loans)
		remove_loan(l, l->loans->note.id);
	sd_event_source_disable_unref(l->sweep);
	ledger_disk_done(&l->disk);
	free(l->spool);
	free(l->node);
	free(l);
	return NULL;
}
