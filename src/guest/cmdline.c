/* Words are separated by white space; quotes are not needed for what the agent looks for. */
#include "guest/cmdline.h"

#include <errno.h>

#include "guest/disk.h"

#define CMDLINE_MAX 4096 /* the kernel's own limit is 2048 on x86 */
#define CMDLINE_GAP " \t\n"

bool cmdline_find(const char *text, const char *key, char *ret, size_t size)
{
	size_t key_length = strlen(key), n;
	bool found = false;

	for (const char *p = text + strspn(text, CMDLINE_GAP); *p; p += strspn(p, CMDLINE_GAP)) {
		n = strcspn(p, CMDLINE_GAP);
		if (n > key_length && p[key_length] == '=' && strncmp(p, key, key_length) == 0) {
			found = n - key_length - 1 < size;
			if (found) {
				memcpy(ret, p + key_length + 1, n - key_length - 1);
				ret[n - key_length - 1] = '\0';
			}
		}
		p += n;
	}
	return found;
}

bool cmdline_contains(const char *text, const char *word)
{
	size_t length = strlen(word), n;

	for (const char *p = text + strspn(text, CMDLINE_GAP); *p; p += strspn(p, CMDLINE_GAP)) {
		n = strcspn(p, CMDLINE_GAP);
		if (n == length && strncmp(p, word, n) == 0)
			return true;
		p += n;
	}
	return false;
}

static const char *cmdline_text(void)
{
	static char text[CMDLINE_MAX];

	if (!text[0] && disk_read("/proc/cmdline", text, sizeof(text)) < 0)
		text[0] = '\0';
	return text;
}

bool cmdline_get(const char *key, char *ret, size_t size)
{
	return cmdline_find(cmdline_text(), key, ret, size);
}

bool cmdline_has(const char *word)
{
	return cmdline_contains(cmdline_text(), word);
}
