#include "lib/pattern.h"

#include <errno.h>
#include <regex.h>

/* How deep parentheses may be nested; a line of a file has no room for many more. */
#define PATTERN_DEPTH_MAX 32

struct pattern {
	char *text;
	regex_t compiled;
};

/* How large an expression gets when its repetitions are written out, as regcomp(3) does it: its
 * memory is that many small structs. `sum` is what stands on each level of parentheses, `last` the
 * piece that a repetition would multiply. */
struct pattern_size {
	size_t sum[PATTERN_DEPTH_MAX], last;
	int depth;
};

static int size_open(struct pattern_size *s, struct error *err)
{
	if (s->depth + 1 == PATTERN_DEPTH_MAX)
		return fail(err, -EINVAL, "more than %d nested parentheses", PATTERN_DEPTH_MAX - 1);
	s->sum[s->depth++] += s->last;
	s->sum[s->depth] = s->last = 0;
	return 0;
}

static void size_close(struct pattern_size *s)
{
	if (s->depth == 0)
		return;
	s->last += s->sum[s->depth--] + 1;
}

static void size_piece(struct pattern_size *s)
{
	s->sum[s->depth] += s->last;
	s->last = 1;
}

/* The end of "[...]": a ']' that comes first, and those of "[:alpha:]", do not end it. */
static const char *skip_bracket(const char *at)
{
	at += 1 + (at[1] == '^');
	at += *at == ']';
	for (; *at && *at != ']'; at++)
		if (*at == '[' && (at[1] == ':' || at[1] == '.' || at[1] == '=')) {
			char kind = at[1];

			for (at += 2; *at && !(at[0] == kind && at[1] == ']');)
				at++;
			at += *at != '\0';
			if (!*at)
				break;
		}
	return at;
}

/* "{2,5}": returns its last character, and the greater of its numbers. */
static const char *read_bounds(const char *at, size_t *ret)
{
	char *end;

	*ret = 1;
	while (*at && *at != '}') {
		size_t n = strtoul(++at, &end, 10);

		*ret = MAX_OF(*ret, MIN_OF(n, (size_t)PATTERN_SIZE_MAX));
		at = end + strcspn(end, ",}");
	}
	return at;
}

static int size_repeat(struct pattern_size *s, size_t times, struct error *err)
{
	s->last *= times;
	return s->last <= PATTERN_SIZE_MAX
		       ? 0
		       : fail(err, -EINVAL, "its repetitions are more than %d characters long",
				 PATTERN_SIZE_MAX);
}

/* Takes in what stands at `*at` and moves that to its last character. */
static int size_step(struct pattern_size *s, const char **at, struct error *err)
{
	size_t times;

	switch (**at) {
	case '(':
		return size_open(s, err);
	case ')':
		size_close(s);
		return 0;
	case '*':
	case '+':
	case '?': /* a copy for "once", and one for what may follow */
		return size_repeat(s, 2, err);
	case '{':
		*at = read_bounds(*at, &times);
		return size_repeat(s, times + 1, err);
	case '[':
		*at = skip_bracket(*at);
		break;
	case '\\':
		if ((*at)[1] >= '1' && (*at)[1] <= '9')
			return fail(err, -EINVAL, "back references (\\%c) are not taken", (*at)[1]);
		*at += (*at)[1] != '\0';
		break;
	}
	size_piece(s);
	return 0;
}

static int pattern_check(const char *text, struct error *err)
{
	struct pattern_size s = {0};
	int r = 0;

	for (const char *at = text; *at && r == 0; at += *at != '\0')
		r = size_step(&s, &at, err);
	for (size_t total = s.last; r == 0 && s.depth >= 0; s.depth--) {
		total += s.sum[s.depth];
		if (total > PATTERN_SIZE_MAX)
			r = fail(err, -EINVAL, "it is more than %d characters long",
				PATTERN_SIZE_MAX);
	}
	return r;
}

static int pattern_compile(struct pattern *p, const char *text, struct error *err)
{
	int code = regcomp(&p->compiled, text, REG_EXTENDED | REG_NOSUB);
	char why[128];

	if (code == 0)
		return 0;
	regerror(code, &p->compiled, why, sizeof(why));
	return fail(err, code == REG_ESPACE ? -ENOMEM : -EINVAL, "%s", why);
}

int pattern_new(const char *text, struct pattern **ret, struct error *err)
{
	autofree struct pattern *p = calloc(1, sizeof(*p));
	autofree char *copy = strdup(text);
	int r;

	if (!p || !copy)
		return fail(err, -ENOMEM, "out of memory");
	r = *text ? pattern_check(text, err) : fail(err, -EINVAL, "it is empty");
	if (r == 0)
		r = pattern_compile(p, text, err);
	if (r < 0)
		return err ? fail_within(
				     err, "'%s' is no regular expression that can be used", text)
			   : r;
	p->text = TAKE_PTR(copy);
	*ret = TAKE_PTR(p);
	return 0;
}

struct pattern *pattern_free(struct pattern *p)
{
	if (!p)
		return NULL;
	regfree(&p->compiled);
	free(p->text);
	free(p);
	return NULL;
}

const char *pattern_text(const struct pattern *p)
{
	return p->text;
}

bool pattern_matches(const struct pattern *p, const char *text)
{
	regmatch_t whole = {0, (regoff_t)strnlen(text, PATTERN_TEXT_MAX)};

	return regexec(&p->compiled, text, 0, &whole, REG_STARTEND) == 0;
}
