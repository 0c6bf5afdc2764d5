#include "depot/inventory.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "depot/sample_test.h"

static struct inventory *with(const struct sample *s, int fd, const uint8_t *bits)
{
	struct inventory *v;

	assert_int_equal(inventory_new(&v), 0);
	assert_int_equal(inventory_add(v, "one", fd, s->index, bits), 0);
	return v;
}

static void chunk_of_a_file_is_read(void **state)
{
	struct inventory *v;
	uint8_t data[SAMPLE_CHUNK];
	struct sample s, other;
	int fd;

	sample_make(&s, "abc0A", 1);
	sample_make(&other, "bxA", 1);
	fd = sample_write(&s);
	v = with(&s, fd, NULL);
	close(fd); /* it has its own */
	assert_int_equal(inventory_read(v, &other.index->chunks[0], data), 1);
	assert_memory_equal(data, sample_chunk(&s, 1), SAMPLE_CHUNK);
	assert_int_equal(inventory_read(v, &other.index->chunks[1], data), 0);
	assert_int_equal(inventory_read(v, &other.index->chunks[2], data), 1);
	assert_false(inventory_has(v, &s.index->chunks[3])); /* zeros */
	inventory_free(v);
	sample_done(&s);
	sample_done(&other);
}

static void chunk_that_is_not_there_yet_is_not_listed(void **state)
{
	const uint8_t bits = 0x5;
	struct inventory *v;
	struct sample s;
	int fd;

	sample_make(&s, "abc", 1);
	fd = sample_write(&s);
	v = with(&s, fd, &bits);
	assert_true(inventory_has(v, &s.index->chunks[0]));
	assert_false(inventory_has(v, &s.index->chunks[1]));
	assert_true(inventory_has(v, &s.index->chunks[2]));
	inventory_free(v);
	close(fd);
	sample_done(&s);
}

static void damaged_file_is_passed_over(void **state)
{
	struct inventory *v;
	uint8_t data[SAMPLE_CHUNK];
	struct sample s;
	int fd, sound;

	sample_make(&s, "abc", 1);
	fd = sample_write(&s);
	sound = sample_write(&s);
	v = with(&s, fd, NULL);
	assert_int_equal(pwrite(fd, "!!", 2, SAMPLE_CHUNK), 2);
	assert_int_equal(ftruncate(fd, 2 * SAMPLE_CHUNK + 1), 0);
	assert_int_equal(inventory_read(v, &s.index->chunks[0], data), 1);
	assert_int_equal(inventory_read(v, &s.index->chunks[1], data), 0);
	assert_int_equal(inventory_read(v, &s.index->chunks[2], data), 0);
	assert_int_equal(inventory_add(v, "two", sound, s.index, NULL), 0);
	assert_int_equal(inventory_read(v, &s.index->chunks[1], data), 1);
	assert_memory_equal(data, sample_chunk(&s, 1), SAMPLE_CHUNK);
	inventory_free(v);
	close(fd);
	close(sound);
	sample_done(&s);
}

static void removed_file_is_forgotten(void **state)
{
	struct inventory *v;
	uint8_t data[SAMPLE_CHUNK];
	struct sample s, many;
	int fd;

	sample_make(&s, "abc", 1);
	fd = sample_write(&s);
	v = with(&s, fd, NULL);
	inventory_remove(v, "one");
	inventory_remove(v, "one");
	assert_int_equal(inventory_read(v, &s.index->chunks[0], data), 0);
	/* It may come back, and the table may grow meanwhile. */
	sample_make(&many, "nopqrstuvw", 2);
	for (int i = 0; i < 200; i++)
		assert_int_equal(inventory_add(v, i % 2 ? "x" : "y", fd, many.index, NULL), 0);
	assert_int_equal(inventory_add(v, "one", fd, s.index, NULL), 0);
	assert_int_equal(inventory_read(v, &s.index->chunks[0], data), 1);
	inventory_free(v);
	close(fd);
	sample_done(&s);
	sample_done(&many);
}

static void large_files_are_found_again(void **state)
{
	struct inventory *v;
	uint8_t data[SAMPLE_CHUNK];
	struct sample s[40];
	int fd[40];

	assert_int_equal(inventory_new(&v), 0);
	for (unsigned int i = 0; i < 40; i++) {
		char name[8];

		sample_make(&s[i], "abcdefghijklmnopqrstuvwxyzabcabc", i + 1);
		fd[i] = sample_write(&s[i]);
		snprintf(name, sizeof(name), "%u", i);
		assert_int_equal(inventory_add(v, name, fd[i], s[i].index, NULL), 0);
	}
	for (size_t i = 0; i < 40; i++) {
		for (size_t c = 0; c < s[i].index->count; c++) {
			assert_int_equal(inventory_read(v, &s[i].index->chunks[c], data), 1);
			assert_memory_equal(data, sample_chunk(&s[i], c), SAMPLE_CHUNK);
		}
		close(fd[i]);
	}
	inventory_free(v);
	for (size_t i = 0; i < 40; i++)
		sample_done(&s[i]);
}

static void new_version_is_made_from_the_old_one(void **state)
{
	struct sample old, new;
	struct inventory *v;
	struct assembly *a;
	int old_fd, fd = sample_file(), have_fd = sample_file();
	uint8_t *data;

	sample_make(&old, "abcdefgh0A", 1);
	sample_make(&new, "zabdefgg0fA", 1);
	old_fd = sample_write(&old);
	v = with(&old, old_fd, NULL);
	assert_int_equal(assembly_open(new.index, new.digest, fd, have_fd, &a, NULL), 0);
	assert_int_equal(inventory_copy(v, a, 0, NULL), 0);
	for (size_t i = 1; i < new.index->count; i++)
		if (!assembly_has(a, i))
			assert_int_equal(inventory_copy(v, a, i, NULL), 1);
	assert_int_equal(assembly_put(a, 0, sample_chunk(&new, 0), SAMPLE_CHUNK, NULL), 0);
	assert_int_equal(assembly_finish(a, NULL), 0);
	data = malloc(new.index->size);
	assert_non_null(data);
	assert_int_equal(pread(fd, data, new.index->size, 0), new.index->size);
	assert_memory_equal(data, new.data, new.index->size);
	free(data);
	assembly_free(a);
	inventory_free(v);
	close(old_fd);
	close(fd);
	close(have_fd);
	sample_done(&old);
	sample_done(&new);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chunk_of_a_file_is_read),
		cmocka_unit_test(chunk_that_is_not_there_yet_is_not_listed),
		cmocka_unit_test(damaged_file_is_passed_over),
		cmocka_unit_test(removed_file_is_forgotten),
		cmocka_unit_test(large_files_are_found_again),
		cmocka_unit_test(new_version_is_made_from_the_old_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
