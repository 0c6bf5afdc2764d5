#include "imagelist/version.h"

#define DIGITS "0123456789"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Two runs of digits of any length, which are passed. */
static int compare_numbers(const char **a, const char **b)
{
	size_t m, n;
	int r;

	*a += strspn(*a, "0");
	*b += strspn(*b, "0");
	m = strspn(*a, DIGITS);
	n = strspn(*b, DIGITS);
	r = m != n ? (m < n ? -1 : 1) : memcmp(*a, *b, m);
	*a += m;
	*b += n;
	return r;
}

int version_compare(const char *a, const char *b)
{
	while (*a || *b) {
		int r;

		if (is_digit(*a) && is_digit(*b))
			r = compare_numbers(&a, &b);
		else
			r = (unsigned char)*a++ - (unsigned char)*b++;
		if (r != 0)
			return r;
	}
	return 0;
}
