/* wnodes vm ssh: into a VM that runs, by OpenSSH where its image has a server, else by its agent.
 * Both go by the agent's channel: what network the VM has is of no matter. */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>

#include "cli/vm.h"
#include "engine/attach.h"
#include "engine/request.h"
#include "engine/rundir.h"
#include "engine/sshaccess.h"
#include "lib/log.h"
#include "lib/path.h"

#define CLIENT "ssh"

struct ssh_options {
	struct verb_list local, remote, dynamic, options;
	bool tty, agent, x11, config, proxy;
};

#define ROW(name, letter, type, member, ...)                                            \
	{                                                                               \
		name, letter, type, offsetof(struct ssh_options, member), ##__VA_ARGS__ \
	}

static const struct verb_option options[] = {
	ROW("tty", 't', OPTION_FLAG, tty,
		.help = "Gives COMMAND a terminal; a shell has one anyway"),
	ROW("local", 'L', OPTION_LIST, local, "SPEC",
		.help = "Forwards a port of this machine into the VM, as 8080:localhost:80. May be "
			"repeated"),
	ROW("remote", 'R', OPTION_LIST, remote, "SPEC",
		.help = "Forwards a port of the VM to this machine, as 8080:localhost:80. May be "
			"repeated"),
	ROW("dynamic", 'D', OPTION_LIST, dynamic, "SPEC",
		.help = "Makes a SOCKS server on this port, whose connections begin in the VM. May be "
			"repeated"),
	ROW("agent", 'A', OPTION_FLAG, agent, .help = "Forwards your agent of ssh"),
	ROW("x11", 'X', OPTION_FLAG, x11, .help = "Forwards X11"),
	ROW("option", 'o', OPTION_LIST, options, "NAME=VALUE",
		.help = "Option of ssh_config(5). May be repeated"),
	ROW("config", 0, OPTION_FLAG, config,
		.help = "Prints the name of a file for ssh -F, scp -F and sftp -F instead, which is there "
			"as long as the VM"),
	ROW("proxy", 0, OPTION_FLAG, proxy,
		.help = "Only connects standard input and output with a server in the VM, as ssh's "
			"ProxyCommand"),
	{.name = NULL},
};

/* The VM, and who we are in it. */
struct target {
	char *socket, *directory, *name, *program;
	struct caller caller;
	struct sshaccess access;
};

static void target_done(struct target *t)
{
	free(t->socket);
	free(t->directory);
	free(t->name);
	free(t->program);
	caller_done(&t->caller);
	sshaccess_done(&t->access);
}

static int target_open(struct target *t, const char *vm, struct error *err)
{
	int r = rundir_find(vm, &t->socket, err);

	if (r == 0)
		r = caller_load(&t->caller, err);
	if (r < 0)
		return r;
	t->directory = strdup(t->socket);
	if (t->directory && strrchr(t->directory, '/'))
		*strrchr(t->directory, '/') = '\0';
	t->name = t->directory ? strdup(strrchr(t->directory, '/') + 1) : NULL;
	t->program = path_own_program("wnodes");
	if (!t->name || !t->program)
		return fail(err, -ENOMEM, "out of memory");
	return sshaccess_open(t->directory, t->name, t->caller.name, t->program, &t->access, err);
}

static int run_in(struct target *t, struct request *request, struct attach_command *command,
	struct error *err)
{
	autoclose int socket = attach_open(t->socket, err);

	if (socket < 0)
		return socket;
	caller_fill_env(&t->caller, command->tty, &request->env);
	if (request->env.failed)
		return fail(err, -ENOMEM, "out of memory");
	command->env = strv_list(&request->env);
	command->workdir = command->workdir ? command->workdir : "/";
	return attach_exec(socket, command, err);
}

/* What is in its standard input is for what comes after it. Returns 0 if there is one, 1 if not. */
static int look_for_server(struct target *t, struct error *err)
{
	struct request request AUTO(request_done) = {.caller = &t->caller};
	autoclose int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	const int fds[] = {null, null, null};
	struct attach_command command = {.argv = sshaccess_probe, .fds = fds};

	if (null < 0)
		return fail_errno(err, -errno, "cannot open /dev/null");
	return run_in(t, &request, &command, err);
}

static int serve(struct target *t, struct error *err)
{
	struct request request AUTO(request_done) = {.caller = &t->caller};
	struct attach_command command = {.argv = sshaccess_server};

	strv_env_set(&request.env, SSHACCESS_NAME, t->name);
	strv_env_set(&request.env, SSHACCESS_HOST_KEY, t->access.host_key);
	strv_env_set(&request.env, SSHACCESS_USER_KEY, t->access.user_public);
	return run_in(t, &request, &command, err);
}

static void add_each(struct strv *argv, const char *option, const struct verb_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		strv_add_all(argv, option, list->items[i], NULL);
}

/* Does not return where it works. */
static int become_client(const struct target *t, const char *client, const struct ssh_options *o,
	const char *const *args, struct error *err)
{
	struct strv argv AUTO(strv_done) = {0};

	strv_add_all(&argv, client, "-F", t->access.config, NULL);
	add_each(&argv, "-o", &o->options);
	add_each(&argv, "-L", &o->local);
	add_each(&argv, "-R", &o->remote);
	add_each(&argv, "-D", &o->dynamic);
	if (o->tty)
		strv_add(&argv, "-tt"); /* also where we have none */
	if (o->agent)
		strv_add(&argv, "-A");
	if (o->x11)
		strv_add(&argv, "-X");
	strv_add_all(&argv, "--", t->name, NULL);
	for (; *args; args++)
		strv_add(&argv, *args);
	if (argv.failed)
		return fail(err, -ENOMEM, "out of memory");
	execv(client, argv.items);
	return fail_errno(err, -errno, "cannot run '%s'", client);
}

/* As sshd would: the user's shell, in the home directory, with all words as one text. */
#define SHELL                                                  \
	"cd 2>/dev/null; [ -x \"$SHELL\" ] || SHELL=/bin/sh\n" \
	"[ $# -gt 0 ] || exec \"$SHELL\" -l\n"                 \
	"exec \"$SHELL\" -c \"$*\"\n"

static int use_agent(
	struct target *t, const struct ssh_options *o, const char *const *args, struct error *err)
{
	struct request request AUTO(request_done) = {.caller = &t->caller};
	struct strv argv AUTO(strv_done) = {0};
	struct attach_command command = {
		.tty = o->tty || (!*args && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))};

	strv_add_all(&argv, "/bin/sh", "-c", SHELL, "sh", NULL);
	for (; *args; args++)
		strv_add(&argv, *args);
	if (argv.failed)
		return fail(err, -ENOMEM, "out of memory");
	command.argv = strv_list(&argv);
	return run_in(t, &request, &command, err);
}

/* ssh does not run as a user without an account. */
static char *find_client(void)
{
	autofree char *search = path_search();

	return search && getpwuid(getuid()) ? path_find_program(search, CLIENT) : NULL;
}

static int enter(
	struct target *t, const struct ssh_options *o, const char *const *args, struct error *err)
{
	autofree char *client = find_client();
	bool needs_ssh = o->agent || o->x11 || o->local.count || o->remote.count ||
			 o->dynamic.count || o->options.count;
	int r = client ? look_for_server(t, err) : 1;

	if (r == 0)
		return become_client(t, client, o, args, err);
	if (r < 0)
		return r;
	if (needs_ssh && !client)
		return fail(err, -ENOENT,
			"ssh's options need the program ssh, which is not here, or does not run for "
			"users without an account; install the package openssh-client, or do "
			"without");
	if (needs_ssh)
		return fail(err, -ENOENT,
			"ssh's options need sshd, which the VM's image does not have; add the package "
			"openssh-server to the image, or do without");
	log_debug("no sshd in the image, or no ssh here: a shell by the agent");
	return use_agent(t, o, args, err);
}

static int run_ssh(const void *options_struct, int arg_count, const char *const *args)
{
	const struct ssh_options *o = options_struct;
	struct target target AUTO(target_done) = {0};
	struct error err = {0};
	int r = target_open(&target, args[0], &err);

	if (r == 0 && o->config)
		puts(target.access.config);
	else if (r == 0)
		r = o->proxy ? serve(&target, &err) : enter(&target, o, args + 1, &err);
	if (err.text[0])
		log_error("%s", err.text);
	return r < 0 ? EXIT_WNODES : r;
}

const struct verb verb_vm_ssh = {
	.name = "vm ssh",
	.synopsis = "[options] VM -- [COMMAND [ARG...]]",
	.summary = "Log in to a VM that is running, or run a command there by ssh",
	.about =
		"Gives you a shell in a VM that you have started, or runs COMMAND by one, as ssh would: "
		"all words are one text for your shell in the VM, and it begins in your home directory. "
		"The connection is made by the agent's channel, so that it does not matter which "
		"network the VM has, if any; nobody but you can connect. The VM ends with the command "
		"that it was started for, and sessions with it.\n"
		"\n"
		"Where the image has OpenSSH's sshd, and this machine ssh, they are used, with keys that "
		"are made for this VM and gone with it; the configuration of your own ssh is not read. "
		"No server need run in the VM, and none is reachable by a network. Otherwise the agent "
		"runs the shell itself, and there are no forwardings.\n"
		"\n"
		"Of a VM of a job, log in on the node where it runs. The exit status is that of the "
		"command, or 255 if ssh fails.",
	.examples = "wnodes vm ssh vm-1f2e3d4c\n"
		    "wnodes vm ssh -L 8888:localhost:8888 vm-1f -- jupyter notebook --no-browser\n"
		    "rsync -a -e 'wnodes vm ssh' results/ vm-1f2e3d4c:results/\n"
		    "scp -F $(wnodes vm ssh --config vm-1f) input.dat vm-1f:\n",
	.options = options,
	.options_size = sizeof(struct ssh_options),
	.min_args = 1,
	.max_args = -1,
	.args_complete = "vm",
	.run = run_ssh,
};
