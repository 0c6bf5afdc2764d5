#include "depot/assembly.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "depot/sample_test.h"

/* A part on its way, which can be left and taken up again. */
struct work {
	struct sample sample;
	int fd, have_fd;
	struct assembly *assembly;
};

static void work_open(struct work *w)
{
	struct error err = {0};

	w->assembly = assembly_free(w->assembly);
	assert_int_equal(assembly_open(w->sample.index, w->sample.digest, w->fd, w->have_fd,
				 &w->assembly, &err),
		0);
}

static void work_begin(struct work *w, const char *pattern)
{
	*w = (struct work){.fd = sample_file(), .have_fd = sample_file()};
	sample_make(&w->sample, pattern, 1);
	work_open(w);
}

static void work_done(struct work *w)
{
	assembly_free(w->assembly);
	sample_done(&w->sample);
	close(w->fd);
	close(w->have_fd);
}

static int put(struct work *w, size_t i)
{
	return assembly_put(
		w->assembly, i, sample_chunk(&w->sample, i), w->sample.index->chunks[i].size, NULL);
}

static void put_all(struct work *w)
{
	for (size_t i = 0; i < w->sample.index->count; i++)
		assert_int_equal(put(w, i), 0);
}

/* How many chunks are there after all were checked. */
static size_t check_all(struct work *w)
{
	struct assembly_state state;

	for (size_t i = 0; i < w->sample.index->count; i++) {
		int r = assembly_check(w->assembly, i, NULL);

		assert_int_equal(r, !assembly_wants(w->assembly, i));
	}
	assembly_get_state(w->assembly, &state);
	return state.chunks;
}

static void assert_whole(const struct work *w)
{
	size_t size = w->sample.index->size;
	uint8_t *data = malloc(size + 1);
	struct stat st;

	assert_non_null(data);
	assert_int_equal(pread(w->fd, data, size + 1, 0), size);
	assert_memory_equal(data, w->sample.data, size);
	assert_int_equal(fstat(w->fd, &st), 0);
	assert_int_equal(st.st_size, size);
	free(data);
}

static void part_is_whole_when_all_chunks_were_put(void **state)
{
	struct work w;

	work_begin(&w, "abcdefghijklmnopqrstuvwxyzA");
	for (size_t i = w.sample.index->count; i-- > 0;) {
		assert_int_equal(assembly_finish(w.assembly, NULL), -EAGAIN);
		assert_int_equal(put(&w, i), 0);
		assert_true(assembly_has(w.assembly, i));
	}
	assert_int_equal(assembly_finish(w.assembly, NULL), 0);
	assert_whole(&w);
	work_done(&w);
}

static void zeros_are_there_from_the_start_and_take_no_room(void **state)
{
	struct assembly_state s;
	struct work w;
	struct stat st;

	work_begin(&w, "00a0000b00");
	assembly_get_state(w.assembly, &s);
	assert_int_equal(s.chunks, 8);
	assert_int_equal(s.bytes, 8 * SAMPLE_CHUNK);
	assert_int_equal(s.total_bytes, 10 * SAMPLE_CHUNK);
	assert_int_equal(put(&w, 2), 0);
	assert_int_equal(put(&w, 7), 0);
	assert_int_equal(assembly_finish(w.assembly, NULL), 0);
	assert_whole(&w);
	assert_int_equal(fstat(w.fd, &st), 0);
	assert_true((uint64_t)st.st_blocks * 512 <= UINT64_C(2) * SAMPLE_CHUNK);
	work_done(&w);
}

static void chunk_goes_to_all_its_places(void **state)
{
	struct work w;

	work_begin(&w, "abaaca");
	assert_int_equal(put(&w, 3), 0);
	assert_true(assembly_has(w.assembly, 0));
	assert_true(assembly_has(w.assembly, 2));
	assert_true(assembly_has(w.assembly, 5));
	assert_false(assembly_has(w.assembly, 1));
	assert_int_equal(put(&w, 1), 0);
	assert_int_equal(put(&w, 4), 0);
	assert_int_equal(assembly_finish(w.assembly, NULL), 0);
	assert_whole(&w);
	work_done(&w);
}

static void wrong_bytes_change_nothing(void **state)
{
	struct error err = {0};
	struct work w;
	uint8_t byte;

	work_begin(&w, "abc");
	assert_int_equal(
		assembly_put(w.assembly, 0, sample_chunk(&w.sample, 1), SAMPLE_CHUNK, &err),
		-EBADMSG);
	assert_int_equal(
		assembly_put(w.assembly, 0, sample_chunk(&w.sample, 0), SAMPLE_CHUNK - 1, &err),
		-EBADMSG);
	assert_int_equal(
		assembly_put_packed(w.assembly, 0, sample_chunk(&w.sample, 0), SAMPLE_CHUNK, &err),
		-EBADMSG);
	assert_int_equal(assembly_copy(w.assembly, 0, w.have_fd, 0, &err), -EBADMSG);
	assert_false(assembly_has(w.assembly, 0));
	assert_int_equal(pread(w.fd, &byte, 1, 0), 1);
	assert_int_equal(byte, 0);
	work_done(&w);
}

static void packed_chunk_is_put(void **state)
{
	struct buffer packed = {0};
	struct work w;

	work_begin(&w, "aA");
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(chunk_pack(sample_chunk(&w.sample, i),
					 w.sample.index->chunks[i].size, &packed),
			0);
		assert_int_equal(
			assembly_put_packed(w.assembly, i, buffer_head(&packed), packed.len, NULL),
			0);
		buffer_done(&packed);
	}
	assert_int_equal(assembly_finish(w.assembly, NULL), 0);
	assert_whole(&w);
	work_done(&w);
}

static void chunk_is_copied_from_a_file(void **state)
{
	struct work w;
	int fd;

	work_begin(&w, "abcA");
	fd = sample_write(&w.sample);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(
			assembly_copy(w.assembly, i, fd, w.sample.index->chunks[i].offset, NULL),
			0);
	assert_int_equal(assembly_finish(w.assembly, NULL), 0);
	assert_whole(&w);
	close(fd);
	work_done(&w);
}

static void part_is_taken_up_where_it_was_synced(void **state)
{
	struct work w;

	work_begin(&w, "abcdefghij0kA");
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(put(&w, i), 0);
	assert_int_equal(assembly_sync(w.assembly, NULL), 0);
	assert_int_equal(put(&w, 7), 0); /* not synced: is lost */
	work_open(&w);
	assert_false(assembly_has(w.assembly, 0));
	assert_true(assembly_is_claimed(w.assembly, 0));
	assert_false(assembly_is_claimed(w.assembly, 7));
	assert_int_equal(check_all(&w), 6); /* with the zeros */
	assert_true(assembly_has(w.assembly, 4));
	assert_false(assembly_has(w.assembly, 5));
	put_all(&w);
	assert_int_equal(assembly_finish(w.assembly, NULL), 0);
	assert_whole(&w);
	work_done(&w);
}

static void what_was_damaged_meanwhile_is_found(void **state)
{
	struct work w;

	work_begin(&w, "abc00A");
	put_all(&w);
	assert_int_equal(assembly_finish(w.assembly, NULL), 0);
	assert_int_equal(pwrite(w.fd, "x", 1, SAMPLE_CHUNK + 17), 1);
	assert_int_equal(pwrite(w.fd, "x", 1, INT64_C(3) * SAMPLE_CHUNK + 5), 1);
	work_open(&w);
	assert_int_equal(check_all(&w), 5);
	assert_false(assembly_has(w.assembly, 1));
	assert_int_equal(assembly_finish(w.assembly, NULL), -EAGAIN);
	/* That it is wrong is remembered as well. */
	assert_int_equal(assembly_sync(w.assembly, NULL), 0);
	work_open(&w);
	assert_false(assembly_is_claimed(w.assembly, 1));
	assert_int_equal(check_all(&w), 5);
	assert_int_equal(put(&w, 1), 0);
	assert_int_equal(assembly_finish(w.assembly, NULL), 0);
	assert_whole(&w);
	work_done(&w);
}

/* Each way in which what is there is not of this index. */
static void other_index_begins_anew(void **state)
{
	for (int way = 0; way < 4; way++) {
		struct work w;

		work_begin(&w, "abc0");
		put_all(&w);
		assert_int_equal(assembly_finish(w.assembly, NULL), 0);
		if (way == 0)
			w.sample.digest[31] ^= 1;
		else if (way == 1)
			assert_int_equal(ftruncate(w.have_fd, 40), 0);
		else if (way == 2)
			assert_int_equal(ftruncate(w.fd, 100), 0);
		else
			assert_int_equal(pwrite(w.have_fd, "w", 1, 0), 1);
		work_open(&w);
		for (size_t i = 0; i < 3; i++) {
			uint8_t byte = 1;

			assert_false(assembly_is_claimed(w.assembly, i));
			assert_false(assembly_has(w.assembly, i));
			assert_int_equal(pread(w.fd, &byte, 1, (off_t)(i * SAMPLE_CHUNK)), 1);
			assert_int_equal(byte, 0);
		}
		work_done(&w);
	}
}

static void torn_have_file_claims_less(void **state)
{
	struct work w;

	work_begin(&w, "abcdefghijklmnopqrst");
	put_all(&w);
	assert_int_equal(assembly_sync(w.assembly, NULL), 0);
	assert_int_equal(ftruncate(w.have_fd, 64 + 1), 0);
	work_open(&w);
	assert_int_equal(check_all(&w), 8);
	work_done(&w);
}

static void place_that_is_damaged_is_mended_from_another(void **state)
{
	struct work w;

	work_begin(&w, "abaaca");
	put_all(&w);
	assert_int_equal(assembly_finish(w.assembly, NULL), 0);
	assert_int_equal(pwrite(w.fd, "x", 1, 0), 1);
	assert_int_equal(pwrite(w.fd, "x", 1, INT64_C(3) * SAMPLE_CHUNK), 1);
	work_open(&w);
	assert_int_equal(check_all(&w), 6);
	assert_int_equal(assembly_finish(w.assembly, NULL), 0);
	assert_whole(&w);
	work_done(&w);
}

static void reset_forgets_all(void **state)
{
	struct work w;

	work_begin(&w, "ab0");
	put_all(&w);
	assert_int_equal(assembly_finish(w.assembly, NULL), 0);
	assert_int_equal(assembly_reset(w.assembly, NULL), 0);
	assert_false(assembly_has(w.assembly, 0));
	assert_true(assembly_has(w.assembly, 2));
	put_all(&w);
	assert_int_equal(assembly_finish(w.assembly, NULL), 0);
	assert_whole(&w);
	work_done(&w);
}

static void empty_part_is_complete(void **state)
{
	struct work w;

	work_begin(&w, "");
	assert_true(assembly_is_complete(w.assembly));
	assert_int_equal(assembly_finish(w.assembly, NULL), 0);
	work_open(&w);
	assert_int_equal(assembly_finish(w.assembly, NULL), 0);
	work_done(&w);
}

/* A child with less room for files than the part takes; the limit makes the write fail. */
static void full_disk_is_this_machines_fault_and_harms_nothing(void **state)
{
	struct work w;
	int status;
	pid_t pid;

	work_begin(&w, "abcdef");
	pid = fork();
	if (pid == 0) {
		const struct rlimit limit = {3 * SAMPLE_CHUNK + 5, 3 * SAMPLE_CHUNK + 5};
		int r = 0;

		signal(SIGXFSZ, SIG_IGN);
		setrlimit(RLIMIT_FSIZE, &limit);
		for (size_t i = 0; i < 6 && r == 0; i++)
			r = put(&w, i);
		_exit(r == -EFBIG && !assembly_has(w.assembly, 3) &&
					assembly_sync(w.assembly, NULL) == 0
				? 0
				: 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	work_open(&w);
	assert_int_equal(check_all(&w), 3);
	put_all(&w);
	assert_int_equal(assembly_finish(w.assembly, NULL), 0);
	assert_whole(&w);
	work_done(&w);
}

static void *put_from_thread(void *userdata)
{
	struct work *w = userdata;

	for (size_t i = 0; i < w->sample.index->count; i++)
		if (put(w, i) < 0 || (i % 8 == 0 && assembly_sync(w->assembly, NULL) < 0))
			return w;
	return NULL;
}

static void several_threads_may_put_the_same(void **state)
{
	pthread_t threads[4];
	struct work w;
	void *failed;

	work_begin(&w, "abcdefghijklmnopqrstuvwxyz0abcdefghijklm0nopqrstuvwxyzA");
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, put_from_thread, &w), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		assert_int_equal(pthread_join(threads[i], &failed), 0);
		assert_null(failed);
	}
	assert_int_equal(assembly_finish(w.assembly, NULL), 0);
	assert_whole(&w);
	work_done(&w);
}

/* A child puts and syncs as fast as it can and is killed at some moment: what it left is never
 * wrong, and in the end the part is whole. */
static void killed_at_any_moment_it_goes_on(void **state)
{
	struct work w;
	size_t most = 0;

	work_begin(&w, "abcdefghijklmnopqrstuvwxyz0000zyxwvutsrqponmlkjihgfedcbaABCDEFG");
	/* Its last ones are as short as only the last may be in an index; here that is no matter.
	 */
	for (int round = 0; round < 60 && most < w.sample.index->count; round++) {
		pid_t pid = fork();

		if (pid == 0) {
			work_open(&w);
			for (size_t i = 0; i < w.sample.index->count; i++)
				if (assembly_check(w.assembly, i, NULL) < 0 || put(&w, i) < 0 ||
					assembly_sync(w.assembly, NULL) < 0)
					_exit(1);
			_exit(0);
		}
		usleep((useconds_t)(random() % 3000));
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		work_open(&w);
		for (size_t i = 0; i < w.sample.index->count; i++)
			if (assembly_is_claimed(w.assembly, i))
				assert_int_equal(assembly_check(w.assembly, i, NULL), 1);
		most = 0;
		for (size_t i = 0; i < w.sample.index->count; i++)
			most += assembly_has(w.assembly, i);
	}
	put_all(&w);
	assert_int_equal(assembly_finish(w.assembly, NULL), 0);
	assert_whole(&w);
	work_done(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(part_is_whole_when_all_chunks_were_put),
		cmocka_unit_test(zeros_are_there_from_the_start_and_take_no_room),
		cmocka_unit_test(chunk_goes_to_all_its_places),
		cmocka_unit_test(wrong_bytes_change_nothing),
		cmocka_unit_test(packed_chunk_is_put),
		cmocka_unit_test(chunk_is_copied_from_a_file),
		cmocka_unit_test(part_is_taken_up_where_it_was_synced),
		cmocka_unit_test(what_was_damaged_meanwhile_is_found),
		cmocka_unit_test(other_index_begins_anew),
		cmocka_unit_test(torn_have_file_claims_less),
		cmocka_unit_test(place_that_is_damaged_is_mended_from_another),
		cmocka_unit_test(reset_forgets_all),
		cmocka_unit_test(empty_part_is_complete),
		cmocka_unit_test(full_disk_is_this_machines_fault_and_harms_nothing),
		cmocka_unit_test(several_threads_may_put_the_same),
		cmocka_unit_test(killed_at_any_moment_it_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
