#include "engine/sshkey.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <openssl/evp.h>
#include <sys/random.h>

#include "lib/path.h"

#define KEY_TYPE  "ssh-ed25519"
#define KEY_BYTES 32

/* Columns of base64 in the file. */
#define KEY_COLUMNS 70

/* The private part is padded to the block size of the cipher that is not used. */
#define KEY_BLOCK 8

/* Longer ones are cut. */
#define KEY_COMMENT_MAX 64

struct key {
	uint8_t seed[KEY_BYTES], point[KEY_BYTES];
};

/* All that is written has a known largest size: a private key file's content is the longest. */
struct wire {
	uint8_t bytes[512];
	size_t length;
};

static int key_make(struct key *ret)
{
	EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	size_t seed = KEY_BYTES, point = KEY_BYTES;
	bool ok = pkey && EVP_PKEY_get_raw_private_key(pkey, ret->seed, &seed) == 1 &&
		  EVP_PKEY_get_raw_public_key(pkey, ret->point, &point) == 1;

	EVP_PKEY_free(pkey);
	return ok ? 0 : -EIO;
}

/* RFC 4251, section 5: big endian numbers, strings with their length before them. */
static void put_raw(struct wire *w, const void *bytes, size_t length)
{
	assert(length <= sizeof(w->bytes) - w->length);
	memcpy(w->bytes + w->length, bytes, length);
	w->length += length;
}

static void put_number(struct wire *w, uint32_t number)
{
	uint32_t big_endian = htobe32(number);

	put_raw(w, &big_endian, sizeof(big_endian));
}

static void put_bytes(struct wire *w, const void *bytes, size_t length)
{
	put_number(w, (uint32_t)length);
	put_raw(w, bytes, length);
}

static void put_string(struct wire *w, const char *text)
{
	put_bytes(w, text, strlen(text));
}

static void put_public(struct wire *w, const struct key *key)
{
	put_string(w, KEY_TYPE);
	put_bytes(w, key->point, KEY_BYTES);
}

static void put_private(struct wire *w, const struct key *key, const char *comment)
{
	uint8_t both[2 * KEY_BYTES];
	uint32_t check = 0;

	memcpy(both, key->seed, KEY_BYTES);
	memcpy(both + KEY_BYTES, key->point, KEY_BYTES);
	/* The same number twice: with a cipher, that shows that the passphrase was right. */
	if (getrandom(&check, sizeof(check), 0) != sizeof(check))
		check = 0;
	put_number(w, check);
	put_number(w, check);
	put_public(w, key);
	put_bytes(w, both, sizeof(both));
	put_bytes(w, comment, strnlen(comment, KEY_COMMENT_MAX));
	for (uint8_t pad = 1; w->length % KEY_BLOCK != 0; pad++)
		put_raw(w, &pad, 1);
	explicit_bzero(both, sizeof(both));
}

/* Base64, in lines of at most `columns`, each ended by a line feed; the caller frees. */
static char *encode(const struct wire *w, size_t columns)
{
	uint8_t text[(sizeof(w->bytes) + 2) / 3 * 4 + 1];
	size_t length = (size_t)EVP_EncodeBlock(text, w->bytes, (int)w->length);
	char *lines = malloc(length + length / columns + 2), *out = lines;

	for (size_t at = 0; lines && at < length; at += columns) {
		size_t n = MIN_OF(length - at, columns);

		memcpy(out, text + at, n);
		out[n] = '\n';
		out += n + 1;
	}
	if (lines)
		*out = '\0';
	explicit_bzero(text, sizeof(text));
	return lines;
}

static char *format_private(const struct key *key, const char *comment)
{
	struct wire file = {.length = 0}, part = {.length = 0};
	autofree char *base64 = NULL;

	put_raw(&file, "openssh-key-v1", 15); /* with its NUL */
	put_string(&file, "none");            /* cipher */
	put_string(&file, "none");            /* key derivation, and its options */
	put_string(&file, "");
	put_number(&file, 1);
	put_public(&part, key);
	put_bytes(&file, part.bytes, part.length);
	part.length = 0;
	put_private(&part, key, comment);
	put_bytes(&file, part.bytes, part.length);
	base64 = encode(&file, KEY_COLUMNS);
	explicit_bzero(&part, sizeof(part));
	explicit_bzero(&file, sizeof(file));
	return base64 ? path_format("-----BEGIN OPENSSH PRIVATE KEY-----\n%s"
				    "-----END OPENSSH PRIVATE KEY-----\n",
				base64)
		      : NULL;
}

static char *format_public(const struct key *key, const char *comment)
{
	struct wire blob = {.length = 0};
	autofree char *base64 = NULL;

	put_public(&blob, key);
	base64 = encode(&blob, sizeof(blob.bytes) * 2);
	if (!base64)
		return NULL;
	base64[strcspn(base64, "\n")] = '\0';
	return path_format(KEY_TYPE " %s %.*s", base64, KEY_COMMENT_MAX, comment);
}

int sshkey_make(const char *comment, char **ret_private, char **ret_public)
{
	autofree char *private_text = NULL, *public_text = NULL;
	struct key key;
	int r = key_make(&key);

	if (r < 0)
		return r;
	private_text = format_private(&key, comment);
	public_text = format_public(&key, comment);
	explicit_bzero(&key, sizeof(key));
	if (!private_text || !public_text)
		return -ENOMEM;
	*ret_private = TAKE_PTR(private_text);
	*ret_public = TAKE_PTR(public_text);
	return 0;
}
