#include "courier/authority.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <jansson.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "lib/buffer.h"
#include "lib/path.h"

#define ANSWER_MAX 65536
#define TIMEOUT_MS 15000

static size_t on_body(char *data, size_t size, size_t count, void *userdata)
{
	struct buffer *body = userdata;

	return count > ANSWER_MAX - body->len || buffer_append(body, data, count) < 0 ? 0 : count;
}

static void set_options(CURL *curl, const char *url, struct buffer *body)
{
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)TIMEOUT_MS);
	/* Nothing is believed yet: the fingerprint decides, and no secret is sent. */
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
}

static int parse(const struct buffer *body, char **ret, struct error *err)
{
	json_t *json = json_loadb((const char *)buffer_head(body), body->len, 0, NULL);
	const char *text = json_string_value(json_object_get(json, "certificate"));

	*ret = text ? strdup(text) : NULL;
	json_decref(json);
	return *ret ? 0
		    : fail(err, -EPROTO,
			      "it does not tell the authority's certificate; is it a "
			      "controller?");
}

int authority_fetch(const char *controller, char **ret, struct error *err)
{
	size_t n = strlen(controller);
	autofree char *url = NULL;
	struct buffer body AUTO(buffer_done) = {0};
	CURL *curl = curl_easy_init();
	CURLcode code;

	*ret = NULL;
	while (n > 0 && controller[n - 1] == '/')
		n--;
	url = path_format("%.*s/v1/ca", (int)n, controller);
	if (!url || !curl) {
		curl_easy_cleanup(curl);
		return fail(err, -ENOMEM, "out of memory");
	}
	set_options(curl, url, &body);
	code = curl_easy_perform(curl);
	curl_easy_cleanup(curl);
	if (code != CURLE_OK)
		return fail(err, -ENOTCONN, "'%s' does not answer: %s", controller,
			curl_easy_strerror(code));
	return parse(&body, ret, err) < 0 ? fail_within(err, "'%s'", controller) : 0;
}

int authority_fingerprint(const char *certificate, char ret[DIGEST_HEX_SIZE], struct error *err)
{
	BIO *bio = BIO_new_mem_buf(certificate, -1);
	X509 *x = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
	unsigned char *der = NULL;
	int length = x ? i2d_X509(x, &der) : -1;
	int r = length > 0 ? digest_bytes(der, (size_t)length, ret)
			   : fail(err, -EINVAL, "the authority's certificate is none");

	OPENSSL_free(der);
	X509_free(x);
	BIO_free(bio);
	return r;
}

bool authority_is_fingerprint(const char *hex, const char *written)
{
	const char *rest = strncasecmp(written, "SHA256:", 7) == 0 ? written + 7 : written;

	for (; *hex; hex++) {
		rest += *rest == ':';
		if (tolower((unsigned char)*rest) != *hex)
			return false;
		rest++;
	}
	return *rest == '\0';
}
