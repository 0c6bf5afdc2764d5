#include "hypervisor/names.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>

#include "lib/file.h"
#include "lib/log.h"
#include "lib/path.h"
#include "lib/uuid.h"

#define NAMES_DIRECTORY "names"
#define NOTE_MAX        4096

/* As that of taps: VMs themselves have come back by then. */
#define CLAIM_US (60 * UINT64_C(1000000))

#define HOOK_US   (10 * UINT64_C(1000000))
#define PAUSE_US  (5 * UINT64_C(1000000))
#define TRIES_MAX 3

/* More are not told: each takes a file, and the program its time. */
#define NAMES_MAX 10000

struct name {
	struct name *next;
	char vm[UUID_TEXT_SIZE];
	json_t *told;      /* {"name","address","mac","address6"} */
	bool claimed;      /* its VM lives, or has ended: what is wanted is known */
	bool wanted;       /* in the DNS */
	bool is_there;     /* the program has said so */
	bool may_be_there; /* it was begun with */
	int tries;
};

struct names {
	sd_event *event;
	const struct settings *settings;
	struct servant *servant;
	char *directory;
	struct name *list, **end; /* in the order in which they came */
	size_t count;
	struct name *running; /* whom the program is told of; NULL: it does not run */
	bool running_add;
	struct servant_task task;
	sd_event_source *sweep, *pause;
	bool is_pausing;
};

static const char *text_of(const struct name *x, const char *key)
{
	const char *text = json_string_value(json_object_get(x->told, key));

	return text ? text : "";
}

static void name_free(struct name *x)
{
	json_decref(x->told);
	free(x);
}

static char *note_path(const struct names *n, const char *vm)
{
	return path_format("%s/%s", n->directory, vm);
}

static void drop(struct names *n, struct name *x)
{
	autofree char *path = note_path(n, x->vm);
	struct name **at = &n->list;

	if (path && unlink(path) < 0 && errno != ENOENT)
		log_warning("cannot remove '%s': %s", path, strerror(errno));
	while (*at != x)
		at = &(*at)->next;
	*at = x->next;
	if (n->end == &x->next)
		n->end = at;
	n->count--;
	name_free(x);
}

static void append(struct names *n, struct name *x)
{
	*n->end = x;
	n->end = &x->next;
	n->count++;
}

static bool has_hook(const struct names *n)
{
	return n->servant && n->settings->node_name_hook && n->settings->node_name_hook[0];
}

static bool is_pending(const struct name *x)
{
	return x->claimed && (x->wanted ? !x->is_there : x->may_be_there);
}

static struct name *find_pending(const struct names *n)
{
	struct name *x = n->list;

	while (x && !is_pending(x))
		x = x->next;
	return x;
}

static void run_next(struct names *n);

static int on_pause(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct names *n = userdata;

	n->pause = sd_event_source_disable_unref(n->pause);
	n->is_pausing = false;
	run_next(n);
	return 0;
}

/* Later ones wait as well: they may be about the same name. */
static void pause_names(struct names *n)
{
	n->is_pausing = sd_event_add_time_relative(n->event, &n->pause, CLOCK_MONOTONIC, PAUSE_US,
				0, on_pause, n) >= 0;
}

static void note_end(struct names *n, struct name *x, bool added, bool good)
{
	if (!good && ++x->tries < TRIES_MAX) {
		pause_names(n);
		return;
	}
	if (!good)
		log_warning("'%s' cannot %s '%s', %s; giving up", n->settings->node_name_hook,
			added ? "add" : "remove", text_of(x, "name"), text_of(x, "address"));
	x->tries = 0;
	x->is_there = added;
	if (!added)
		x->may_be_there = false;
}

static void on_done(int status, void *userdata)
{
	struct names *n = userdata;
	struct name *x = TAKE_PTR(n->running);

	note_end(n, x, n->running_add, status == 0);
	if (!x->wanted && !x->may_be_there)
		drop(n, x);
	run_next(n);
}

static int start(struct names *n, struct name *x, struct error *err)
{
	struct strv argv AUTO(strv_done) = {0};

	strv_add_all(&argv, n->settings->node_name_hook, x->wanted ? "add" : "remove",
		text_of(x, "name"), text_of(x, "address"), text_of(x, "mac"), NULL);
	if (text_of(x, "address6")[0])
		strv_add(&argv, text_of(x, "address6"));
	return servant_start_program(n->servant, n->event, &n->task, &argv, HOOK_US, err);
}

static void run_next(struct names *n)
{
	struct name *x = n->running || n->is_pausing ? NULL : find_pending(n);
	struct error err = {0};

	if (!x || !has_hook(n))
		return;
	n->running_add = x->wanted;
	x->may_be_there = true;
	if (start(n, x, &err) == 0) {
		n->running = x;
		return;
	}
	log_warning("[node] name_hook: %s", err.text);
	note_end(n, x, n->running_add, false);
	if (!n->is_pausing)
		pause_names(n);
}

static int save(const struct names *n, const struct name *x)
{
	autofree char *path = note_path(n, x->vm), *text = json_dumps(x->told, JSON_COMPACT);

	if (!path || !text)
		return -ENOMEM;
	return file_replace_soon(path, text, strlen(text), 0600);
}

static struct name *find(const struct names *n, const char *vm)
{
	struct name *x = n->list;

	while (x && !streq(x->vm, vm))
		x = x->next;
	return x;
}

static void set_unwanted(struct names *n, struct name *x)
{
	x->claimed = true;
	x->wanted = false;
	if (!x->may_be_there && x != n->running)
		drop(n, x);
}

/* A lease that is lent anew was given back: its VM is gone, if nobody has seen it end, too. */
static void end_forerunners(struct names *n, const struct name_told *told)
{
	for (struct name *x = n->list, *next; x; x = next) {
		next = x->next;
		if (streq(text_of(x, "name"), told->name) ||
			streq(text_of(x, "address"), told->address))
			set_unwanted(n, x);
	}
}

void names_add(struct names *n, const struct name_told *told)
{
	struct name *x;

	if (!has_hook(n) || !uuid_is_text(told->vm) || n->count >= NAMES_MAX)
		return;
	end_forerunners(n, told);
	x = calloc(1, sizeof(*x));
	if (!x)
		return;
	*x = (struct name){.claimed = true, .wanted = true};
	memcpy(x->vm, told->vm, sizeof(x->vm));
	x->told = json_pack("{s:s, s:s, s:s, s:s}", "name", told->name, "address", told->address,
		"mac", told->mac, "address6", told->address6);
	/* Noted before it is told: else nobody would ever tell that it is gone. */
	if (!x->told || save(n, x) < 0) {
		log_warning("the name '%s' cannot be noted and is not told to the DNS", told->name);
		name_free(x);
		return;
	}
	append(n, x);
	run_next(n);
}

void names_claim(struct names *n, const char *vm)
{
	struct name *x = find(n, vm);

	if (!x || x->claimed)
		return;
	x->claimed = x->wanted = true;
	run_next(n);
}

void names_remove(struct names *n, const char *vm)
{
	struct name *x = find(n, vm);

	if (!x)
		return;
	set_unwanted(n, x);
	run_next(n);
}

size_t names_pending(const struct names *n)
{
	size_t count = 0;

	for (const struct name *x = n->list; x; x = x->next)
		count += is_pending(x);
	return count;
}

static int on_sweep(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct names *n = userdata;

	for (struct name *x = n->list, *next; x; x = next) {
		next = x->next;
		if (!x->claimed)
			set_unwanted(n, x);
	}
	run_next(n);
	return 0;
}

static void load_one(struct names *n, const char *vm)
{
	autofree char *path = note_path(n, vm), *text = NULL;
	struct name *x = calloc(1, sizeof(*x));
	size_t length;

	if (x && path && file_read(AT_FDCWD, path, NOTE_MAX, &text, &length) == 0)
		x->told = json_loads(text, 0, NULL);
	if (!x || !text_of(x, "name")[0] || !text_of(x, "address")[0]) {
		log_warning("the note '%s' of a VM's name is damaged; ignoring", vm);
		if (x)
			name_free(x);
		return;
	}
	x->may_be_there = true;
	memcpy(x->vm, vm, sizeof(x->vm));
	append(n, x);
}

static int load(struct names *n, struct error *err)
{
	int r = file_make_dirs(n->directory, 0700);
	DIR *directory = r < 0 ? NULL : opendir(n->directory);

	if (!directory)
		return fail_errno(err, r < 0 ? r : -errno, "cannot use '%s'", n->directory);
	for (const struct dirent *entry = readdir(directory); entry; entry = readdir(directory))
		if (uuid_is_text(entry->d_name) && n->count < NAMES_MAX)
			load_one(n, entry->d_name);
	closedir(directory);
	return 0;
}

int names_new(sd_event *event, const struct settings *settings, struct servant *servant,
	const char *state, struct names **ret, struct error *err)
{
	struct names *n AUTO(names_freep) = calloc(1, sizeof(*n));
	int r;

	if (!n)
		return fail(err, -ENOMEM, "out of memory");
	*n = (struct names){.event = sd_event_ref(event),
		.settings = settings,
		.servant = servant,
		.end = &n->list,
		.task = {.done = on_done, .userdata = n, .pidfd = -1}};
	n->directory = path_format("%s/" NAMES_DIRECTORY, state);
	if (!n->directory)
		return fail(err, -ENOMEM, "out of memory");
	r = load(n, err);
	if (r == 0 && n->list &&
		sd_event_add_time_relative(
			event, &n->sweep, CLOCK_MONOTONIC, CLAIM_US, 0, on_sweep, n) < 0)
		r = fail(err, -ENOMEM, "out of memory");
	if (r == 0)
		*ret = TAKE_PTR(n);
	return r;
}

struct names *names_free(struct names *n)
{
	if (!n)
		return NULL;
	servant_stop(&n->task);
	sd_event_source_disable_unref(n->sweep);
	sd_event_source_disable_unref(n->pause);
	while (n->list) {
		struct name *x = n->list;

		n->list = x->next;
		name_free(x);
	}
	free(n->directory);
	sd_event_unref(n->event);
	free(n);
	return NULL;
}
