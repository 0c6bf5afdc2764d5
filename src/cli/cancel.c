/* wnodes cancel: ends jobs, or sends them signals. */
#include <errno.h>
#include <signal.h>

#include "cli/batch.h"
#include "lib/log.h"
#include "lib/parse.h"

struct cancel_options {
	const char *signal;
};

static const struct verb_option options[] = {
	{"signal", 's', OPTION_STRING, offsetof(struct cancel_options, signal), "SIGNAL",
		.help = "Only sends this signal to the running jobs, for example USR1; KILL ends "
			"them without a grace"},
	{.name = NULL},
};

/* "USR1", "SIGUSR1", "usr1" or "10". */
static int parse_signal(const char *text, int *ret, struct error *err)
{
	const char *name = strncasecmp(text, "SIG", 3) == 0 ? text + 3 : text;
	uint64_t number;

	if (parse_number(text, 1, NSIG - 1, &number, NULL) == 0) {
		*ret = (int)number;
		return 0;
	}
	for (int signo = 1; signo < NSIG; signo++) {
		const char *known = sigabbrev_np(signo);

		if (known && strcasecmp(name, known) == 0) {
			*ret = signo;
			return 0;
		}
	}
	return fail(
		err, -EINVAL, "--signal: there is no signal '%s'; write for example USR1", text);
}

static int run_cancel(const void *options_struct, int arg_count, const char *const *args)
{
	const struct cancel_options *o = options_struct;
	struct batch batch AUTO(batch_done) = {0};
	struct error err = {0};
	int signo = 0, status = 0;

	if ((o->signal && parse_signal(o->signal, &signo, &err) < 0) ||
		batch_open(&batch, &err) < 0) {
		log_error("%s", err.text);
		return EXIT_WNODES;
	}
	for (int i = 0; i < arg_count; i++)
		if (batch.lrms->operations->cancel(batch.lrms, args[i], signo, &err) < 0) {
			log_error("%s", err.text);
			status = EXIT_WNODES;
		}
	return status;
}

const struct verb verb_cancel = {
	.name = "cancel",
	.synopsis = "[options] ID...",
	.summary = "Cancel jobs",
	.about =
		"Takes queued jobs out of the queue, and ends running ones with all that they have "
		"started: with SIGTERM, and with SIGKILL after a grace ([lrms] grace in wnodes.conf; "
		"Slurm has its own). Does not wait for their end.\n"
		"\n"
		"A job that has ended already is an error; the other jobs are cancelled all the same.",
	.examples = "wnodes cancel 12 13\n"
		    "wnodes cancel $(wnodes queue --quiet)\n"
		    "# Tell a job to write a checkpoint, if that is what it does then\n"
		    "wnodes cancel --signal USR1 12\n",
	.options = options,
	.options_size = sizeof(struct cancel_options),
	.min_args = 1,
	.max_args = -1,
	.args_complete = "job",
	.run = run_cancel,
};
