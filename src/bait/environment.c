/* A batch system gives a job the environment that it was submitted with, and scripts count on it.
 * What points into the host's software would only break programs of the VM. */
#include "bait/environment.h"

#include <errno.h>
#include <fnmatch.h>
#include <sys/stat.h>

#include "lib/parse.h"

/* Above are the numbers that Slurm gives to what is no step of srun. */
#define STEPS_MAX 0xfffffff0u

extern char **environ;

static const char *const left_out[] = {
	/* where the host's programs and libraries are */
	"PATH",
	"LD_*",
	"MANPATH",
	"INFOPATH",
	"PKG_CONFIG_PATH",
	"PYTHONHOME",
	"PYTHONPATH",
	"PERL5LIB",
	"CPATH",
	"LIBRARY_PATH",
	"C_INCLUDE_PATH",
	"CMAKE_PREFIX_PATH",
	/* environment modules, and shell functions such as theirs */
	"MODULE*",
	"LOADEDMODULES",
	"_LM*",
	"__LMOD*",
	"LMOD_*",
	"BASH_FUNC_*",
	"BASH_ENV",
	"ENV",
	/* sessions of the host */
	"XDG_*",
	"DBUS_*",
	"SSH_*",
	"DISPLAY",
	"XAUTHORITY",
	"WAYLAND_DISPLAY",
	"GPG_*",
	"SESSION_MANAGER",
	"INVOCATION_ID",
	"JOURNAL_STREAM",
	"NOTIFY_SOCKET",
	"LISTEN_*",
	/* directories that the VM has its own of */
	"TMPDIR",
	"TMP",
	"TEMP",
	/* what the account of the VM says */
	"HOME",
	"USER",
	"LOGNAME",
	"SHELL",
	"PWD",
	"OLDPWD",
	"SHLVL",
	"_",
	"MAIL",
	"HOSTNAME",
	/* how the VM was asked for */
	"WNODES_*",
	"SLURM_WNODES_*",
};

/* An image's mpirun sees the batch system's variables, and would start its ranks by srun, which the
 * VM does not have: its hosts are the VM, and its launcher is fork. What the job has set counts. */
static const struct {
	const char *name, *value;
} mpi[] = {
	{"HYDRA_BOOTSTRAP", "fork"}, /* MPICH */
	{"HYDRA_RMK", "user"},
	{"OMPI_MCA_plm", "isolated"}, /* Open MPI */
	{"OMPI_MCA_ras", "^slurm,tm,gridengine,loadleveler"},
};

static bool is_left_out(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(left_out); i++)
		if (fnmatch(left_out[i], name, 0) == 0)
			return true;
	return false;
}

int environment_pass(struct strv *ret, const struct crew *crew, struct error *err)
{
	for (char **entry = environ; *entry; entry++) {
		size_t n = strcspn(*entry, "=");
		autofree char *name = strndup(*entry, n);

		if (!name)
			return fail(err, -ENOMEM, "out of memory");
		if ((*entry)[n] == '=' && n > 0 && !is_left_out(name))
			strv_add(ret, *entry);
	}
	if (crew)
		crew_fill_env(crew, ret);
	for (size_t i = 0; i < ARRAY_SIZE(mpi); i++)
		if (!strv_env_get(ret, mpi[i].name))
			strv_env_set(ret, mpi[i].name, mpi[i].value);
	return ret->failed ? fail(err, -ENOMEM, "out of memory") : 0;
}

/* Slurm sets it in batch scripts, and steps that are started there inherit it. */
bool environment_is_awaited(void)
{
	const char *kind = getenv("ENVIRONMENT"), *step = getenv("SLURM_STEP_ID");

	uint64_t number;

	if (!step || parse_number(step, 0, STEPS_MAX, &number, NULL) < 0)
		return false;
	return !kind || !streq(kind, "BATCH");
}

void environment_settle(void)
{
	const char *directory = getenv("XDG_RUNTIME_DIR");
	struct stat st;

	if (directory &&
		(stat(directory, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid()))
		unsetenv("XDG_RUNTIME_DIR");
}
