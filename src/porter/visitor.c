#include "porter/visitor.h"

#include <sys/socket.h>

struct visitor {
	gnutls_session_t session;
	int fd;
	bool checked, node;
	struct handshake *handshake;
};

struct visitor *visitor_new(struct handshakes *handshakes, struct MHD_Connection *mhd)
{
	struct visitor *v = calloc(1, sizeof(*v));
	const union MHD_ConnectionInfo *info;

	if (!v)
		return NULL;
	info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
	v->fd = info ? info->connect_fd : -1;
	info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	v->session = info ? info->tls_session : NULL;
	if (v->session)
		v->handshake = handshake_new(handshakes, mhd, v->session, v->fd);
	return v;
}

struct visitor *visitor_free(struct visitor *v)
{
	if (!v)
		return NULL;
	handshake_free(v->handshake);
	free(v);
	return NULL;
}

/* Certificates of nodes are for clients; a controller's, which is for servers, is none. */
static bool check(gnutls_session_t session)
{
	gnutls_typed_vdata_st purpose = {.type = GNUTLS_DT_KEY_PURPOSE_OID,
		.data = (unsigned char *)(uintptr_t)GNUTLS_KP_TLS_WWW_CLIENT};
	unsigned int count = 0, status = 0;

	return gnutls_certificate_get_peers(session, &count) && count > 0 &&
	       gnutls_certificate_verify_peers(session, &purpose, 1, &status) == 0 && status == 0;
}

bool visitor_is_node(struct visitor *v)
{
	if (!v || !v->session)
		return false;
	if (!v->checked)
		v->node = check(v->session);
	v->checked = true;
	return v->node;
}

void visitor_shut(struct visitor *v)
{
	if (v)
		shutdown(v->fd, SHUT_RDWR);
}
