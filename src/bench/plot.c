#include "bench/plot.h"

#include <string.h>

#include "lib/base.h"

/* In pixels of the drawing. */
#define WIDTH       760
#define LABEL_WIDTH 260
#define VALUE_WIDTH 110
#define BAR_HEIGHT  16
#define BAR_GAP     4
#define GROUP_GAP   12
#define HEAD        56
#define FOOT        34

#define BAR_ROOM (WIDTH - LABEL_WIDTH - VALUE_WIDTH)

/* Places keep their colours; those who do not see them have the names beside the bars. */
static const char *const colours[] = {
	"#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#888888"};

struct plot {
	json_t *report;
	const char *trial;
	FILE *out;
	double scale; /* ratio that fills the room */
	int y;
	const char *places[ARRAY_SIZE(colours)];
};

static const char *text_of(json_t *row, const char *member)
{
	const char *text = json_string_value(json_object_get(row, member));

	return text ? text : "";
}

static void print_text(FILE *out, const char *text)
{
	for (; *text; text++)
		switch (*text) {
		case '<':
			fputs("&lt;", out);
			break;
		case '>':
			fputs("&gt;", out);
			break;
		case '&':
			fputs("&amp;", out);
			break;
		case '"':
			fputs("&quot;", out);
			break;
		default:
			fputc(*text, out);
		}
}

static bool is_bar(const struct plot *p, json_t *row)
{
	return streq(text_of(row, "trial"), p->trial) && json_object_get(row, "ratio");
}

static const char *plot_colour(struct plot *p, const char *place)
{
	for (size_t i = 0; i < ARRAY_SIZE(colours); i++) {
		if (!p->places[i])
			p->places[i] = place;
		if (streq(p->places[i], place))
			return colours[i];
	}
	return colours[ARRAY_SIZE(colours) - 1];
}

static void draw_label(const struct plot *p, int x, const char *anchor, const char *text)
{
	fprintf(p->out, "<text x=\"%d\" y=\"%d\" text-anchor=\"%s\">", x, p->y + BAR_HEIGHT - 4,
		anchor);
	print_text(p->out, text);
	fputs("</text>\n", p->out);
}

static void draw_bar(struct plot *p, json_t *row)
{
	double ratio = json_number_value(json_object_get(row, "ratio"));
	int length = (int)(ratio / p->scale * BAR_ROOM);
	char value[64];

	draw_label(p, LABEL_WIDTH - 8, "end", text_of(row, "place"));
	fprintf(p->out, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"%s\"/>\n",
		LABEL_WIDTH, p->y, MAX_OF(length, 1), BAR_HEIGHT,
		plot_colour(p, text_of(row, "place")));
	snprintf(value, sizeof(value), "%.2f (%.4g %s)", ratio,
		json_number_value(json_object_get(row, "median")), text_of(row, "unit"));
	draw_label(p, LABEL_WIDTH + MAX_OF(length, 1) + 6, "start", value);
	p->y += BAR_HEIGHT + BAR_GAP;
}

/* All places of the figure that `first` is the first row of. */
static void draw_figure(struct plot *p, json_t *first)
{
	json_t *row;
	size_t i;

	fputs("<g font-weight=\"bold\">", p->out);
	draw_label(p, 8, "start", text_of(first, "what"));
	fputs("</g>\n", p->out);
	p->y += BAR_HEIGHT + BAR_GAP;
	json_array_foreach(json_object_get(p->report, "results"), i,
		row) if (is_bar(p, row) && streq(text_of(row, "figure"), text_of(first, "figure")))
		draw_bar(p, row);
	p->y += GROUP_GAP;
}

static bool is_first_of_figure(const struct plot *p, size_t at, json_t *row)
{
	json_t *results = json_object_get(p->report, "results");

	for (size_t i = 0; i < at; i++) {
		json_t *other = json_array_get(results, i);

		if (is_bar(p, other) && streq(text_of(other, "figure"), text_of(row, "figure")))
			return false;
	}
	return true;
}

/* Counts bars and figures, and finds the longest. */
static size_t plot_measure(struct plot *p, size_t *ret_figures)
{
	size_t bars = 0, i;
	json_t *row;

	*ret_figures = 0;
	p->scale = 1;
	json_array_foreach(json_object_get(p->report, "results"), i, row)
	{
		if (!is_bar(p, row))
			continue;
		bars++;
		*ret_figures += is_first_of_figure(p, i, row);
		p->scale = MAX_OF(p->scale, json_number_value(json_object_get(row, "ratio")));
	}
	return bars;
}

static void draw_head(const struct plot *p, const char *title, int height)
{
	json_t *vm = json_object_get(p->report, "vm"),
	       *machine = json_object_get(p->report, "machine");

	fprintf(p->out,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
		"height=\"%d\" font-family=\"sans-serif\" font-size=\"12\">\n"
		"<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
		"<text x=\"8\" y=\"22\" font-size=\"16\">",
		WIDTH, height, WIDTH, height);
	print_text(p->out, title);
	fputs("</text>\n<text x=\"8\" y=\"40\" fill=\"#555\">", p->out);
	print_text(p->out, text_of(machine, "cpu"));
	fprintf(p->out, "; VMs of %lld CPUs, ",
		(long long)json_integer_value(json_object_get(vm, "cpus")));
	print_text(p->out, streq(text_of(vm, "accel"), "tcg") ? "software emulation" : "KVM");
	fputs("; the host itself is 1, longer is better</text>\n", p->out);
}

/* Where the host is. */
static void draw_host(const struct plot *p, int bottom)
{
	int x = LABEL_WIDTH + (int)(BAR_ROOM / p->scale);

	fprintf(p->out,
		"<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\" stroke=\"#555\" "
		"stroke-dasharray=\"3 3\"/>\n",
		x, HEAD - 8, x, bottom);
}

size_t plot_write(json_t *report, const char *trial, FILE *out)
{
	struct plot p = {.report = report, .trial = trial, .out = out, .y = HEAD};
	size_t figures, bars = plot_measure(&p, &figures), i;
	bool headed = false;
	json_t *row;
	int height = HEAD + FOOT + (int)(bars + figures) * (BAR_HEIGHT + BAR_GAP) +
		     (int)figures * GROUP_GAP;

	json_array_foreach(json_object_get(report, "results"), i, row)
	{
		if (!is_bar(&p, row) || !is_first_of_figure(&p, i, row))
			continue;
		if (!headed)
			draw_head(&p, text_of(row, "title"), height);
		headed = true;
		draw_figure(&p, row);
	}
	if (!headed)
		return 0;
	draw_host(&p, p.y);
	fputs("</svg>\n", out);
	return bars;
}
