/* The text of references, without a store: "NAME[:TAG]". A file of its own, so that who only checks
 * what was typed links nothing else. */
#include <errno.h>

#include "image/store_private.h"

bool reference_word_is_valid(const char *word)
{
	static const char first[] = "abcdefghijklmnopqrstuvwxyz0123456789";
	size_t n = strlen(word);

	return n > 0 && n <= REFERENCE_WORD_MAX && strchr(first, word[0]) &&
	       strspn(word, "abcdefghijklmnopqrstuvwxyz0123456789._-") == n;
}

int store_parse_reference(const char *text, char **ret_name, char **ret_tag, struct error *err)
{
	const char *colon = strchr(text, ':');
	autofree char *name = colon ? strndup(text, (size_t)(colon - text)) : strdup(text);
	autofree char *tag = strdup(colon ? colon + 1 : STORE_TAG_DEFAULT);

	if (!name || !tag)
		return fail(err, -ENOMEM, "out of memory");
	if (!reference_word_is_valid(name) || !reference_word_is_valid(tag))
		return fail(err, -EINVAL,
			"'%.100s' is not an image's name: NAME or NAME:TAG, each of at most %d of"
			" a-z 0-9 . _ - and beginning with a letter or digit",
			text, REFERENCE_WORD_MAX);
	*ret_name = TAKE_PTR(name);
	*ret_tag = TAKE_PTR(tag);
	return 0;
}
