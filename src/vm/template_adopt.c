/* Templates that change hands: made by a user without rights, kept by one who lends them to all. */
#include "lib/file.h"
#include "vm/template_private.h"

static int copy_files(
	const struct template *from, const struct template_making *to, struct error *err)
{
	const int pairs[][2] = {
		{from->memory_fd, to->memory_fd},
		{from->state_fd, to->state_fd},
		{from->overlay_fd, to->overlay_fd},
	};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(pairs) && r == 0; i++)
		r = file_copy(pairs[i][0], pairs[i][1], NULL, NULL);
	return r < 0 ? fail_errno(err, r, "cannot copy a template") : 0;
}

int template_adopt(
	const char *from, uid_t owner, const char *to, const char *key, struct error *err)
{
	struct template_making *making AUTO(template_make_freep) = NULL;
	struct template *t AUTO(template_closep) = NULL;
	autoclose int from_fd = template_directory_open_of(from, owner, err);
	int r = from_fd < 0 ? from_fd : template_open_at(from_fd, key, owner, &t, err);

	if (r == 0)
		r = template_make_start(to, key, false, &making, err);
	if (r == 0)
		r = copy_files(t, making, err);
	/* Looks at the copies, whatever becomes of the files that they were made from. */
	return r < 0 ? r : template_make_commit(making, &t->info, err);
}
