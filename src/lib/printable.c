#include "lib/printable.h"

void printable_make(char *text, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c == '\r')
			text[i] = ' ';
		else if ((c < ' ' && c != '\n' && c != '\t') || c == 127)
			text[i] = '?';
	}
}

void printable_make_line(char *text, size_t length)
{
	printable_make(text, length);
	for (size_t i = 0; i < length; i++)
		if (text[i] == '\n' || text[i] == '\t')
			text[i] = ' ';
}
