/*
 * Serves requests in several threads of one process, as a thread-safe web server does:
 *
 *     threads THREADS REQUESTS SCRIPT
 *
 * Each thread runs the script REQUESTS times; its output goes to standard output. The exit code is
 * 0 whatever the scripts do: only a crash, or PHP failing to start, changes it.
 */
/* PHP's headers need memrchr(). */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <sapi/embed/php_embed.h>

static const char *script;
static int requests;

static void *serve(void *unused)
{
	(void) unused;
	ts_resource(0);
	for (int request = 0; request < requests; ++request) {
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
	}
	ts_free_thread();
	return NULL;
}

int main(int count, char **arguments)
{
	if (count != 4) {
		fputs("usage: threads THREADS REQUESTS SCRIPT\n", stderr);
		return 64;
	}
	int number = atoi(arguments[1]);
	requests = atoi(arguments[2]);
	script = arguments[3];
	if (php_embed_init(0, NULL) == FAILURE) {
		return 1;
	}
	pthread_t *threads = calloc(number, sizeof(pthread_t));
	for (int index = 0; index < number; ++index) {
		if (pthread_create(&threads[index], NULL, serve, NULL) != 0) {
			return 1;
		}
	}
	for (int index = 0; index < number; ++index) {
		pthread_join(threads[index], NULL);
	}
	free(threads);
	php_embed_shutdown();
	return 0;
}
