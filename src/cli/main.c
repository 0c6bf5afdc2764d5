#include "cli/verb.h"
#include "lib/file.h"

int main(int argc, char **argv)
{
	/* Else the first thing we open could take the place of stdout. */
	if (file_open_stdio() < 0)
		return EXIT_WNODES;
	return verb_dispatch(argc, (const char **)(uintptr_t)argv);
}
