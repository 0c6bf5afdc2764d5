/* wnodes vm console: what the guest's kernel says on its serial line. */
#include <errno.h>

#include "cli/vm.h"
#include "engine/attach.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/printable.h"

struct console_options {
	bool follow;
};

static const struct verb_option options[] = {
	{"follow", 'f', OPTION_FLAG, offsetof(struct console_options, follow),
		.help = "Goes on until the VM ends"},
	{.name = NULL},
};

static int copy_console(int from, bool follow)
{
	bool harmless = isatty(STDOUT_FILENO);
	char data[4096];
	ssize_t n;
	int r = file_set_nonblocking(from, !follow);

	while (r == 0 && (n = read(from, data, sizeof(data))) != 0) {
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		if (harmless)
			printable_make(data, (size_t)n);
		r = file_write_all(STDOUT_FILENO, data, (size_t)n);
	}
	return r;
}

static int run_console(const void *options_struct, int arg_count, const char *const *args)
{
	const struct console_options *o = options_struct;
	struct error err = {0};
	autoclose int socket = vm_connect(args[0], &err);
	autoclose int stream = -1;
	json_t *answer = NULL;
	int r = socket < 0 ? socket : attach_call(socket, "console", &answer, &stream, &err);

	json_decref(answer);
	if (r == 0 && stream >= 0)
		r = copy_console(stream, o->follow);
	if (r < 0)
		log_error("%s", err.text[0] ? err.text : strerror(-r));
	return r < 0 ? EXIT_WNODES : 0;
}

const struct verb verb_vm_console = {
	.name = "vm console",
	.synopsis = "[options] VM",
	.summary = "Show what a VM wrote to its console",
	.about =
		"Prints the last 64 KiB that the VM's kernel wrote to its serial console, where it "
		"reports trouble.",
	.examples = "wnodes vm console vm-1f2e3d4c\n"
		    "wnodes vm console --follow vm-1f2e3d4c\n",
	.options = options,
	.options_size = sizeof(struct console_options),
	.min_args = 1,
	.max_args = 1,
	.args_complete = "vm",
	.run = run_console,
};
