#include "lrms/slurm/plugin/loader_test.h"

#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

struct loader loader;

/* Slurm's headers do not tell of these. */
extern int opt;
bool slurm_option_isset(void *options, const char *name);
char *slurm_option_get(void *options, const char *name);
void slurm_xfree_ptr(void *text);

static const char *no_words[] = {NULL};
static char built_major[8], built_minor[8];

static spank_f *hook(const char *name)
{
	/* ISO C has no cast from an object to a function. */
	union {
		void *object;
		spank_f *function;
	} symbol = {.object = dlsym(loader.handle, name)};

	assert_non_null(symbol.object);
	return symbol.function;
}

void loader_open(spank_context_t context)
{
	loader_close();
	snprintf(built_major, sizeof(built_major), "%d", SLURM_VERSION_MAJOR(SLURM_VERSION_NUMBER));
	snprintf(built_minor, sizeof(built_minor), "%02d",
		SLURM_VERSION_MINOR(SLURM_VERSION_NUMBER));
	loader = (struct loader){
		.context = context,
		.major = built_major,
		.minor = built_minor,
		.local_tasks = 1,
		.argv = no_words,
		.env = no_words,
	};
	loader.handle = dlopen(PLUGIN, RTLD_NOW | RTLD_LOCAL);
	if (!loader.handle)
		fail_msg("%s", dlerror());
	loader.init = hook("slurm_spank_init");
	loader.init_post_opt = hook("slurm_spank_init_post_opt");
	loader.task_init = hook("slurm_spank_task_init");
}

void loader_close(void)
{
	for (int i = 0; i < loader.option_count; i++) {
		free(loader.options[i].name);
		free(loader.options[i].usage);
	}
	loader.option_count = 0;
	if (loader.handle) {
		hook("slurm_spank_exit")(NULL, 0, NULL);
		dlclose(loader.handle);
	}
	loader.handle = NULL;
}

int loader_set_option(const char *name, const char *value, int remote)
{
	for (int i = 0; i < loader.option_count; i++)
		if (streq(loader.options[i].name, name))
			return loader.options[i].cb(loader.options[i].val, value, remote);
	return -2;
}

spank_context_t spank_context(void)
{
	return loader.context;
}

spank_err_t spank_option_register(spank_t spank, struct spank_option *option)
{
	struct spank_option *copy = &loader.options[loader.option_count++];

	*copy = *option;
	copy->name = strdup(option->name);
	copy->usage = strdup(option->usage);
	return ESPANK_SUCCESS;
}

static spank_err_t get_remote_item(spank_item_t item, va_list args)
{
	switch ((int)item) {
	case S_JOB_ARGV:
		*va_arg(args, int *) = 1;
		*va_arg(args, const char ***) = loader.argv;
		return ESPANK_SUCCESS;
	case S_JOB_ENV:
		*va_arg(args, const char ***) = loader.env;
		return ESPANK_SUCCESS;
	case S_STEP_ALLOC_MEM:
		*va_arg(args, uint64_t *) = loader.step_memory;
		return ESPANK_SUCCESS;
	case S_JOB_ALLOC_MEM:
		*va_arg(args, uint64_t *) = loader.job_memory;
		return ESPANK_SUCCESS;
	case S_JOB_NCPUS:
		*va_arg(args, uint16_t *) = loader.cpus;
		return ESPANK_SUCCESS;
	case S_JOB_STEPID:
		*va_arg(args, uint32_t *) = loader.step;
		return ESPANK_SUCCESS;
	case S_JOB_LOCAL_TASK_COUNT:
		*va_arg(args, uint32_t *) = loader.local_tasks;
		return ESPANK_SUCCESS;
	default:
		return ESPANK_BAD_ARG;
	}
}

spank_err_t spank_get_item(spank_t spank, spank_item_t item, ...)
{
	spank_err_t r = ESPANK_SUCCESS;
	va_list args;

	va_start(args, item);
	if (item == S_SLURM_VERSION_MAJOR)
		*va_arg(args, const char **) = loader.major;
	else if (item == S_SLURM_VERSION_MINOR)
		*va_arg(args, const char **) = loader.minor;
	else if (loader.context == S_CTX_REMOTE)
		r = get_remote_item(item, args);
	else
		r = ESPANK_NOT_REMOTE;
	va_end(args);
	return r;
}

static const char **find_variable(const char *name)
{
	size_t n = strlen(name);

	for (const char **entry = loader.env; *entry; entry++)
		if (strncmp(*entry, name, n) == 0 && (*entry)[n] == '=')
			return entry;
	return NULL;
}

spank_err_t spank_getenv(spank_t spank, const char *name, char *buffer, int size)
{
	const char **entry = find_variable(name);

	if (!entry)
		return ESPANK_ENV_NOEXIST;
	snprintf(buffer, (size_t)size, "%s", *entry + strlen(name) + 1);
	return ESPANK_SUCCESS;
}

spank_err_t spank_unsetenv(spank_t spank, const char *name)
{
	const char **entry = find_variable(name);

	for (; entry && *entry; entry++)
		entry[0] = entry[1];
	return ESPANK_SUCCESS;
}

spank_err_t spank_job_control_setenv(
	spank_t spank, const char *name, const char *value, int overwrite)
{
	size_t used = strlen(loader.job_control);

	if (loader.context != S_CTX_LOCAL && loader.context != S_CTX_ALLOCATOR)
		return ESPANK_NOT_LOCAL;
	snprintf(loader.job_control + used, sizeof(loader.job_control) - used, "%s=%s\n", name,
		value);
	return ESPANK_SUCCESS;
}

/* What srun, sbatch and salloc have of their own options. */
int opt;

bool slurm_option_isset(void *options, const char *name)
{
	assert_ptr_equal(options, &opt);
	return streq(name, "mem") && loader.mem;
}

char *slurm_option_get(void *options, const char *name)
{
	return slurm_option_isset(options, name) ? strdup(loader.mem) : NULL;
}

void slurm_xfree_ptr(void *text)
{
	free(text);
}

void slurm_error(const char *format, ...)
{
	size_t used = strlen(loader.messages);
	va_list args;

	va_start(args, format);
	vsnprintf(loader.messages + used, sizeof(loader.messages) - used, format, args);
	va_end(args);
	/* A child's are read by its parent. */
	fprintf(stderr, "%s\n", loader.messages + used);
}
