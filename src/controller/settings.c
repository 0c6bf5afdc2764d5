#include "controller/settings.h"

#include <errno.h>

#include "config.h"
#include "lib/log.h"

#define SECOND UINT64_C(1000000)
#define HOUR   (3600 * SECOND)

#define ROW(key, type, fallback, min, max, choices, help)                                      \
	{                                                                                      \
		"controller", #key, type, offsetof(struct controller_settings, key), fallback, \
			min, max, choices, help                                                \
	}

const struct conf_setting controller_settings_table[] = {
	ROW(listen, CONF_STRINGS, "*:8443", 0, 0, NULL,
		"ADDRESS:PORT where the controller is asked by HTTPS; * is every address of the machine. "
		"May be repeated."),
	ROW(socket, CONF_STRING, "/run/wnodes-controller/socket", 0, 0, NULL,
		"Socket where users of this machine ask, known by their account; none: nowhere."),
	ROW(database, CONF_STRING, "sqlite:/var/lib/wnodes-controller/site.db", 0, 0, NULL,
		"Where all is kept: sqlite:/PATH, or postgresql://... for any number of controllers."),
	ROW(state, CONF_STRING, "/var/lib/wnodes-controller", 0, 0, NULL,
		"Directory of the controller's own files."),
	ROW(depot, CONF_STRING, "auto", 0, 0, NULL,
		"Directory of published images, which the controller serves under /depot; auto: depot in "
		"the directory of state; none: images are published elsewhere."),
	ROW(depot_slots, CONF_NUMBER, "8", 1, 256, NULL,
		"How many answers with chunks of the depot, of 1 MiB before they are compressed, are sent "
		"to nodes at a time; who asks when all are taken is told to come again. Files of the "
		"depot that are asked for one by one do not count."),
	ROW(user, CONF_STRING, "wnodes-controller", 0, 0, NULL,
		"Account without rights that the controller becomes when root starts it."),
	ROW(certificate, CONF_STRING, NULL, 0, 0, NULL,
		"File with the certificate (PEM) of the controller; made from the site's own authority "
		"when not set."),
	ROW(key, CONF_STRING, NULL, 0, 0, NULL, "File with the certificate's key (PEM)."),
	ROW(names, CONF_STRINGS, NULL, 0, 0, NULL,
		"Name or address of the controller for the certificate that is made, beside the host's "
		"name and localhost; may be repeated."),
	ROW(threads, CONF_NUMBER, "0", 0, 64, NULL,
		"Threads that answer requests; 0: as many as there are CPUs, at most 4."),
	ROW(connections, CONF_NUMBER, "12000", 16, 1000000, NULL,
		"Connections at a time; more are closed at once."),
	ROW(address_connections, CONF_NUMBER, "4000", 1, 1000000, NULL,
		"Connections at a time from one address."),
	ROW(user_connections, CONF_NUMBER, "1000", 1, 1000000, NULL,
		"Connections at a time of one user on the socket."),
	ROW(streams, CONF_NUMBER, "256", 0, 100000, NULL,
		"Streams of events at a time; more are refused."),
	ROW(user_streams, CONF_NUMBER, "16", 0, 100000, NULL,
		"Streams of events at a time of one user; 0: as many as there may be."),
	ROW(user_tokens, CONF_NUMBER, "100", 0, 1000000, NULL,
		"Tokens of one user that are good; 0: any number."),
	ROW(failures, CONF_NUMBER, "60", 0, 1000000, NULL,
		"Failed attempts to say who one is, by a token, MUNGE or a token to join, that one "
		"address (of IPv6: one network) has in a minute; then it has to wait, with good ones as "
		"well. Certificates are not concerned. 0: any number."),
	ROW(request_time, CONF_DURATION, "30s", SECOND, HOUR, NULL,
		"How long a client may take to send a request, or to take an answer."),
	ROW(idle_time, CONF_DURATION, "60s", SECOND, HOUR, NULL,
		"How long a connection without a request is kept; 5s where there are more than 2000."),
	ROW(lost_after, CONF_DURATION, "90s", SECOND, 24 * HOUR, NULL,
		"After what time without a heartbeat a node is lost."),
	ROW(lease_grace, CONF_DURATION, "10m", 0, 720 * HOUR, NULL,
		"After what time more the names and addresses of a lost node's VMs are lent to others."),
	ROW(administrators, CONF_STRINGS, NULL, 0, 0, NULL,
		"User, or @group, who administers the site beside root; may be repeated."),
	ROW(endorsers, CONF_STRINGS, NULL, 0, 0, NULL,
		"User, or @group, who endorses images; may be repeated."),
	ROW(private_images, CONF_NUMBER, "5", 0, 100000, NULL,
		"How many private images a user may have in the catalogue; 0: none."),
	ROW(private_size, CONF_SIZE, "20G", 0, 0, NULL,
		"How large a user's private images may be together."),
	ROW(volumes, CONF_NUMBER, "20", 0, 100000, NULL,
		"How many volumes a user may have; 0: none."),
	ROW(volume_size, CONF_SIZE, "100G", 0, 0, NULL,
		"How large a user's volumes may be together."),
	ROW(four_eyes, CONF_BOOL, "no", 0, 0, NULL,
		"Whether who has endorsed an image may not approve it, too."),
	ROW(depot_keep, CONF_DURATION, "30d", 0, 0, NULL,
		"How long the depot keeps images that are expired or revoked."),
	ROW(munge, CONF_STRING, "auto", 0, 0, NULL,
		"Socket of munged, which says who users of the cluster are; auto: the usual one; none: "
		"credentials of MUNGE are not taken. Whoever is root on a machine with the cluster's "
		"munge.key can be any user by it."),
	ROW(metrics_open, CONF_BOOL, "no", 0, 0, NULL,
		"Whether /metrics is answered to everybody; else to those on the socket, and to known "
		"users and nodes."),
	ROW(log_format, CONF_CHOICE, "text", 0, 0, "text|json",
		"How the log is written to stderr: text, or json, an object a line."),
	ROW(log_level, CONF_CHOICE, "info", 0, 0, "error|warning|info|debug",
		"What the log has: info also has each change and what was refused, debug each request."),
	{.key = NULL},
};

const char *controller_settings_file(void)
{
	return WNODES_SYSCONFDIR "/controller.conf";
}

static int check(const struct controller_settings *s, struct error *err)
{
	if (!s->certificate != !s->key)
		return fail(err, -EINVAL, "certificate and key are set together, or neither");
	if (!s->listen[0] && streq(s->socket, "none"))
		return fail(err, -EINVAL, "there is neither an address to listen on nor a socket");
	return 0;
}

int controller_settings_load(struct controller_settings *ret, const char *path, struct error *err)
{
	int r;

	*ret = (struct controller_settings){0};
	r = conf_init(controller_settings_table, ret, err);
	if (r < 0)
		return r;
	r = conf_load(
		controller_settings_table, ret, path ? path : controller_settings_file(), err);
	if (r == -ENOENT && !path)
		r = 0;
	if (r == 0)
		r = check(ret, err);
	if (r < 0)
		controller_settings_done(ret);
	return r;
}

/* Whoever uses these looks at them each time. */
static const char *const reloadable[] = {"request_time", "idle_time", "lost_after", "lease_grace",
	"user_streams", "user_tokens", "failures", "administrators", "endorsers", "private_images",
	"private_size", "volumes", "volume_size", "four_eyes", "depot_keep", "metrics_open",
	"log_format", "log_level", "certificate", "key", "names"};

static bool is_reloadable(const struct conf_setting *row)
{
	for (size_t i = 0; i < ARRAY_SIZE(reloadable); i++)
		if (streq(reloadable[i], row->key))
			return true;
	return false;
}

static bool lists_are_equal(char *const *a, char *const *b)
{
	while (*a && *b && streq(*a, *b)) {
		a++;
		b++;
	}
	return !*a && !*b;
}

static int keep_list(const struct conf_setting *row, struct controller_settings *fresh,
	char *const *old, struct error *err)
{
	int r = 0;

	conf_clear(row, fresh);
	if (!*old)
		return conf_set(row, fresh, "", err);
	for (; *old && r == 0; old++)
		r = conf_set(row, fresh, *old, err);
	return r;
}

/* Returns 1 if it was another. */
static int keep(const struct conf_setting *row, struct controller_settings *fresh,
	const struct controller_settings *old, struct error *err)
{
	char *to = (char *)fresh + row->offset;
	const char *from = (const char *)old + row->offset;
	uint64_t *number = (uint64_t *)(void *)to;
	const uint64_t *old_number = (const uint64_t *)(const void *)from;
	char *const *text = (char *const *)(const void *)from;
	bool same;
	int r;

	switch (row->type) {
	case CONF_STRINGS:
		same = lists_are_equal(*(char ***)(void *)to, *(char **const *)(const void *)from);
		r = same ? 0 : keep_list(row, fresh, *(char **const *)(const void *)from, err);
		break;
	case CONF_STRING:
		same = streq(*(char **)(void *)to, *text);
		r = same ? 0 : conf_set(row, fresh, *text, err);
		break;
	default:
		same = *number == *old_number;
		*number = *old_number;
		r = 0;
		break;
	}
	return r < 0 ? r : !same;
}

int controller_settings_keep(
	struct controller_settings *fresh, const struct controller_settings *old, struct error *err)
{
	int r = 0;

	for (const struct conf_setting *row = controller_settings_table; row->key && r >= 0;
		row++) {
		if (is_reloadable(row))
			continue;
		r = keep(row, fresh, old, err);
		if (r > 0)
			log_notice("%s is taken over at the next start only", row->key);
	}
	if (r < 0)
		controller_settings_done(fresh);
	return MIN_OF(r, 0);
}

void controller_settings_print(bool man, FILE *out)
{
	if (!man) {
		conf_print_example(controller_settings_table, out);
		return;
	}
	fprintf(out,
		".TH CONTROLLER.CONF 5 \"\" \"WNoDeS %s\" \"WNoDeS Manual\"\n"
		".SH NAME\n"
		"controller.conf \\- settings of wnodes\\-controller\n"
		".SH DESCRIPTION\n"
		"Settings are read from %s/controller.conf.\n"
		"Sections stand in brackets, a setting is a line\n"
		"\\fIkey\\fR = \\fIvalue\\fR, and # begins a comment. A key that does not exist is\n"
		"an error. On SIGHUP these are read again:\n",
		WNODES_VERSION, WNODES_SYSCONFDIR);
	for (size_t i = 0; i < ARRAY_SIZE(reloadable); i++)
		fprintf(out, "%s%s\n", reloadable[i], i + 1 < ARRAY_SIZE(reloadable) ? "," : ".");
	fprintf(out, "All others are at the next start.\n.SH SETTINGS\n");
	conf_print_man(controller_settings_table, out);
	fprintf(out, ".SH SEE ALSO\n.BR wnodes\\-controller (8)\n");
}

void controller_settings_done(struct controller_settings *s)
{
	conf_done(controller_settings_table, s);
}
