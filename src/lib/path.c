#include "lib/path.h"

#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>

#include "config.h"

char *path_format(const char *format, ...)
{
	char *path = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&path, format, args) < 0)
		path = NULL;
	va_end(args);
	return path;
}

/* An environment variable that holds an absolute path; others are to be ignored, as the XDG base
 * directory specification says. */
static const char *path_from_env(const char *name)
{
	const char *value = getenv(name);

	return value && value[0] == '/' ? value : NULL;
}

/* A user without a home gets "/", where nothing can be made: the failure then names the path. */
static const char *path_home(void)
{
	const char *home = path_from_env("HOME");
	const struct passwd *user;

	if (home)
		return home;
	user = getpwuid(geteuid());
	return user && user->pw_dir && user->pw_dir[0] == '/' ? user->pw_dir : "/";
}

/* `below_home` is where a user's go without the variable; `system` is root's, NULL if the same. */
static char *path_xdg(const char *variable, const char *below_home, const char *system)
{
	const char *base = path_from_env(variable), *home;

	if (base)
		return path_format("%s/wnodes", base);
	if (system && geteuid() == 0)
		return strdup(system);
	home = path_home();
	return path_format("%s/%s/wnodes", streq(home, "/") ? "" : home, below_home);
}

char *path_data(void)
{
	return path_xdg("XDG_DATA_HOME", ".local/share", "/var/lib/wnodes");
}

char *path_cache(void)
{
	return path_xdg("XDG_CACHE_HOME", ".cache", "/var/cache/wnodes");
}

char *path_config(void)
{
	return path_xdg("XDG_CONFIG_HOME", ".config", NULL);
}

char *path_state(void)
{
	return path_xdg("XDG_STATE_HOME", ".local/state", NULL);
}

char *path_runtime(void)
{
	if (!path_from_env("XDG_RUNTIME_DIR") && geteuid() != 0)
		return path_format("/tmp/wnodes-%u", (unsigned int)geteuid());
	return path_xdg("XDG_RUNTIME_DIR", "", "/run/wnodes");
}

char *path_search(void)
{
	const char *path = getenv("PATH");

	return path_format("%s:/usr/sbin:/sbin", path ? path : "/usr/local/bin:/usr/bin:/bin");
}

char *path_find_program(const char *search, const char *program)
{
	for (size_t n; *search; search += n + (search[n] == ':')) {
		autofree char *file = NULL;

		n = strcspn(search, ":");
		file = path_format("%.*s/%s", (int)n, search, program);
		/* A relative entry would mean another program in each directory. */
		if (file && file[0] == '/' && n > 0 && access(file, X_OK) == 0)
			return TAKE_PTR(file);
	}
	return NULL;
}

/* Appends the components of `text` to `out` (which begins empty or with "/..."), one at a time. */
static char *path_append_normal(char *out, const char *start, const char *text)
{
	while (*text) {
		size_t n = strcspn(text, "/");

		if (n == 2 && text[0] == '.' && text[1] == '.') {
			while (out > start && *--out != '/')
				;
		} else if (n > 0 && !(n == 1 && text[0] == '.')) {
			*out++ = '/';
			memcpy(out, text, n);
			out += n;
		}
		text += n + (text[n] == '/');
	}
	return out;
}

char *path_absolute(const char *path)
{
	autofree char *directory = path[0] == '/' ? strdup("") : getcwd(NULL, 0);
	char *normal, *end;

	/* "(unreachable)/..." is what the kernel says of a directory outside the root. */
	if (!directory || (directory[0] && directory[0] != '/'))
		return NULL;
	normal = malloc(strlen(directory) + strlen(path) + 3);
	if (!normal)
		return NULL;
	end = path_append_normal(normal, normal, directory);
	end = path_append_normal(end, normal, path);
	if (end == normal)
		*end++ = '/';
	*end = '\0';
	return normal;
}

bool path_is_below(const char *path, const char *directory)
{
	const char *rest = str_after(path, directory);

	if (streq(directory, "/"))
		return path[0] == '/';
	return rest && (*rest == '\0' || *rest == '/');
}

char *path_own_program(const char *name)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	autofree char *beside = NULL;

	self[MAX_OF(n, 0)] = '\0';
	if (strrchr(self, '/'))
		*strrchr(self, '/') = '\0';
	beside = path_format("%s/%s", self, name);
	if (beside && access(beside, X_OK) == 0)
		return TAKE_PTR(beside);
	return path_format(WNODES_LIBEXECDIR "/%s", name);
}

const char *path_libexec(void)
{
	static char directory[PATH_MAX];
	char program[PATH_MAX / 2], guest[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);
	char *slash;

	if (n <= 0 || (size_t)n >= sizeof(program) - 1)
		return WNODES_LIBEXECDIR;
	program[n] = '\0';
	slash = strrchr(program, '/');
	if (!slash)
		return WNODES_LIBEXECDIR;
	*slash = '\0';
	snprintf(guest, sizeof(guest), "%s/src/guest/wnodes-guest", program);
	if (access(guest, F_OK) < 0)
		return WNODES_LIBEXECDIR;
	snprintf(directory, sizeof(directory), "%s/src/guest", program);
	return directory;
}
