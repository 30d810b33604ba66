/*
 * Serves requests in several threads of one process, as a thread-safe web server does:
 *
 *     threads THREADS REQUESTS SCRIPT
 *
 * Each thread runs the script REQUESTS times; its output goes to standard output. After a fifth of the
 * requests, and after all of them, the process writes a line with its memory: `resident 12345 kB`.
 * Then it waits until its standard input ends. Its threads, and so their connections, stay until then.
 * The exit code is 0 whatever the scripts do: only a crash, or PHP failing to start, changes it.
 */
/* PHP's headers need memrchr(). */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <sapi/embed/php_embed.h>

static const char *script;
static int requests;
/* All threads, and the main one, reach it before the memory is read and after it was read. */
static pthread_barrier_t together;

static void *serve(void *unused)
{
	(void) unused;
	ts_resource(0);
	for (int request = 1; request <= requests; ++request) {
		if (php_request_startup() == FAILURE) {
			fputs("a request could not start\n", stderr);
			exit(1);
		}
		zend_first_try {
			zend_file_handle file;
			zend_stream_init_filename(&file, script);
			php_execute_script(&file);
			zend_destroy_file_handle(&file);
		} zend_end_try();
		php_request_shutdown(NULL);
		if (request == requests / 5 || request == requests) {
			pthread_barrier_wait(&together);
			pthread_barrier_wait(&together);
		}
	}
	ts_free_thread();
	return NULL;
}

static void print_memory(void)
{
	long pages = 0;
	FILE *file = fopen("/proc/self/statm", "r");
	if (file == NULL || fscanf(file, "%*d %ld", &pages) != 1) {
		fputs("the memory is not readable\n", stderr);
		exit(1);
	}
	fclose(file);
	printf("resident %ld kB\n", pages * (sysconf(_SC_PAGESIZE) / 1024));
	fflush(stdout);
}

int main(int count, char **arguments)
{
	int number = count == 4 ? atoi(arguments[1]) : 0;
	requests = count == 4 ? atoi(arguments[2]) : 0;
	if (number < 1 || requests < 10) {
		fputs("usage: threads THREADS REQUESTS SCRIPT, with 10 requests or more\n", stderr);
		return 64;
	}
	script = arguments[3];
	if (php_embed_init(0, NULL) == FAILURE) {
		return 1;
	}
	pthread_barrier_init(&together, NULL, number + 1);
	pthread_t *threads = calloc(number, sizeof(pthread_t));
	for (int index = 0; index < number; ++index) {
		if (pthread_create(&threads[index], NULL, serve, NULL) != 0) {
			return 1;
		}
	}
	for (int time = 0; time < 2; ++time) {
		pthread_barrier_wait(&together);
		print_memory();
		while (time == 1 && getchar() != EOF) {
		}
		pthread_barrier_wait(&together);
	}
	for (int index = 0; index < number; ++index) {
		pthread_join(threads[index], NULL);
	}
	free(threads);
	php_embed_shutdown();
	return 0;
}
