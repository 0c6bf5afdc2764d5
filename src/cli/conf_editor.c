#include "cli/conf_editor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "lib/child.h"
#include "lib/file.h"
#include "lib/path.h"

#define TEXT_MAX 262144

int conf_editor_init(struct conf_editor *e, const char *text, struct error *err)
{
	const char *directory = getenv("TMPDIR");
	autoclose int fd = -1;
	int r;

	*e = (struct conf_editor){.text = strdup(text)};
	e->path =
		path_format("%s/wnodes-XXXXXX.conf", directory && *directory ? directory : "/tmp");
	if (!e->text || !e->path)
		return fail(err, -ENOMEM, "out of memory");
	fd = mkostemps(e->path, strlen(".conf"), O_CLOEXEC);
	r = fd < 0 ? -errno : file_write_all(fd, text, strlen(text));
	return r < 0 ? fail_errno(err, r, "cannot write '%s'", e->path) : 0;
}

void conf_editor_done(struct conf_editor *e)
{
	free(e->path);
	free(e->text);
}

static const char *editor_name(void)
{
	const char *name = getenv("VISUAL");

	if (!name || !*name)
		name = getenv("EDITOR");
	return name && *name ? name : "vi";
}

/* $EDITOR may be a command with options. */
static int run_editor(const char *path, struct error *err)
{
	autofree char *command = path_format("%s \"$1\"", editor_name());
	const char *argv[] = {"sh", "-c", command, "sh", path, NULL};
	struct child_spec spec = CHILD_SPEC_INIT;
	autoclose int pidfd = -1;
	int r, status;
	pid_t pid;

	if (!command)
		return fail(err, -ENOMEM, "out of memory");
	spec.argv = argv;
	spec.stdin_fd = STDIN_FILENO;
	spec.stdout_fd = STDOUT_FILENO;
	r = child_spawn(&spec, &pid, &pidfd, err);
	if (r < 0)
		return r;
	status = child_wait(pidfd, -1);
	if (status < 0)
		return fail_errno(err, status, "cannot wait for the editor");
	return WIFEXITED(status) && WEXITSTATUS(status) == 0
		       ? 0
		       : fail(err, -ECANCELED, "'%s' failed; your text is in %s", editor_name(),
				 path);
}

int conf_editor_run(struct conf_editor *e, struct error *err)
{
	/* What is typed in the editor is for the editor. */
	void (*interrupt)(int) = signal(SIGINT, SIG_IGN);
	void (*quit)(int) = signal(SIGQUIT, SIG_IGN);
	autofree char *text = NULL;
	size_t length;
	bool changed;
	int r = run_editor(e->path, err);

	signal(SIGINT, interrupt);
	signal(SIGQUIT, quit);
	if (r < 0)
		return r;
	r = file_read(AT_FDCWD, e->path, TEXT_MAX, &text, &length);
	if (r < 0)
		return fail_errno(err, r, "cannot read '%s'", e->path);
	if (strlen(text) != length)
		return fail(err, -EINVAL, "%s is no text", e->path);
	changed = !streq(text, e->text);
	free(e->text);
	e->text = TAKE_PTR(text);
	return changed;
}

bool conf_editor_ask(const struct conf_editor *e, const char *question)
{
	char answer[16];

	if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
		return false;
	fprintf(stderr, "%s [Y/n] ", question);
	return fgets(answer, sizeof(answer), stdin) && answer[0] != 'n' && answer[0] != 'N';
}

void conf_editor_remove(struct conf_editor *e)
{
	unlink(e->path);
}
