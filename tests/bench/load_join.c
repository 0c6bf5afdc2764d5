#include "load_join.h"

#include <jansson.h>
#include <openssl/pem.h>
#include <stdio.h>

#include "lib/clock.h"
#include "lib/uuid.h"

#define BODY_MAX 4096

struct joins;

/* Makes nodes, one after the other: a token, then a certificate. */
struct usher {
	struct load_client http;
	struct joins *joins;
	unsigned int node;
	bool has_token;
};

struct joins {
	struct load *load;
	struct load_identity *identity;
	char *csr;
	unsigned int next, running;
	bool failed;
};

static char *bio_take_text(BIO *bio)
{
	char *data = NULL;
	long n = BIO_get_mem_data(bio, &data);
	char *text = strndup(data, (size_t)n);

	BIO_free(bio);
	return text;
}

/* A request for a certificate, as PEM. */
static char *make_csr(EVP_PKEY *key)
{
	X509_REQ *request = X509_REQ_new();
	BIO *bio = BIO_new(BIO_s_mem());

	if (!request || !bio || X509_REQ_set_pubkey(request, key) != 1 ||
		X509_REQ_sign(request, key, EVP_sha256()) == 0 ||
		PEM_write_bio_X509_REQ(bio, request) != 1)
		abort();
	X509_REQ_free(request);
	return bio_take_text(bio);
}

static X509 *parse_certificate(const char *text)
{
	BIO *bio = text ? BIO_new_mem_buf(text, -1) : NULL;
	X509 *certificate = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;

	BIO_free(bio);
	return certificate;
}

static void begin_node(struct usher *u)
{
	char id[UUID_TEXT_SIZE], path[64], name[LOAD_NAME_SIZE], body[128];
	int n;

	u->has_token = false;
	u->node = u->joins->next;
	if (u->joins->failed || u->node == u->joins->identity->count || uuid_new(id) < 0) {
		u->joins->running--;
		return;
	}
	u->joins->next++;
	load_node_name(name, u->node);
	n = snprintf(body, sizeof(body), "{\"kind\":\"join\",\"name\":\"%s\",\"lifetime_s\":3600}",
		name);
	snprintf(path, sizeof(path), "/v1/tokens/%s", id);
	load_client_send(&u->http, "PUT", path, body, (size_t)n);
}

static void join(struct usher *u, json_t *answer)
{
	char name[LOAD_NAME_SIZE], *body;
	json_t *wish;

	load_node_name(name, u->node);
	wish = json_pack("{s:O, s:s, s:s}", "token", json_object_get(answer, "token"), "node", name,
		"csr", u->joins->csr);
	body = wish ? json_dumps(wish, JSON_COMPACT) : NULL;
	if (!body)
		abort();
	u->has_token = true;
	load_client_send(&u->http, "POST", "/v1/join", body, strlen(body));
	free(body);
	json_decref(wish);
}

static void complain(struct usher *u, const struct load_answer *answer)
{
	if (!u->joins->failed)
		fprintf(stderr, "site-load: node %u: %d %.*s\n", u->node, answer->status,
			answer->reason ? 200 : (int)answer->length,
			answer->reason ? answer->reason : answer->body);
	u->joins->failed = true;
	u->joins->running--;
}

static void on_answer(struct load_client *c, const struct load_answer *answer)
{
	struct usher *u = c->userdata;
	json_t *body = json_loadb(answer->body ? answer->body : "", answer->length, 0, NULL);

	if (answer->status == 0 || answer->status >= 300 || !body) {
		complain(u, answer);
	} else if (!u->has_token) {
		join(u, body);
	} else {
		u->joins->identity->certificates[u->node] =
			parse_certificate(json_string_value(json_object_get(body, "certificate")));
		begin_node(u);
	}
	json_decref(body);
}

static void run(struct joins *j)
{
	struct usher *ushers = calloc(j->load->clients, sizeof(*ushers));

	if (!ushers)
		abort();
	for (unsigned int i = 0; i < j->load->clients; i++) {
		load_client_init(&ushers[i].http, j->load, on_answer);
		ushers[i].http.userdata = &ushers[i];
		ushers[i].http.once = false;
		ushers[i].joins = j;
		j->running++;
		begin_node(&ushers[i]);
	}
	while (j->running > 0)
		load_loop_wait(&j->load->loop, 100);
	for (unsigned int i = 0; i < j->load->clients; i++)
		load_client_done(&ushers[i].http);
	free(ushers);
}

bool load_join(struct load *l, struct load_identity *ret)
{
	struct joins j = {.load = l, .identity = ret};

	*ret = (struct load_identity){
		.key = EVP_EC_gen("P-256"),
		.certificates = calloc(l->nodes, sizeof(void *)),
		.count = l->nodes,
	};
	if (!ret->key || !ret->certificates)
		abort();
	j.csr = make_csr(ret->key);
	run(&j);
	free(j.csr);
	for (unsigned int i = 0; i < ret->count && !j.failed; i++)
		j.failed = !ret->certificates[i];
	return !j.failed;
}

void load_identity_done(struct load_identity *i)
{
	for (unsigned int n = 0; n < i->count; n++)
		X509_free(i->certificates[n]);
	free(i->certificates);
	EVP_PKEY_free(i->key);
}
