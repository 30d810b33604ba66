# Part of the Makefile that ./configure writes. CARGO_TARGET_DIR is where Cargo builds; the profile
# is `release`, or `dev` with `make CELERY_PROFILE=dev`.
CELERY_PROFILE = release

# The file depends on nothing but this Makefile. So `sudo make install` does not call Cargo again,
# which root may not have.
#
# Cargo asks the PHP of PHP and PHP_CONFIG, else `php` and `php-config`. The variables are set only
# if they would name another PHP: Cargo builds again if they change.
$(phplibdir)/celery.so: $(top_builddir)/Makefile
	@set -e; \
	php=$${PHP:-$$(command -v php || true)}; \
	config=$${PHP_CONFIG:-$$(command -v php-config || true)}; \
	test "$$php" -ef "$(PHP_EXECUTABLE)" || export PHP="$(PHP_EXECUTABLE)"; \
	test "$$config" -ef "$(CELERY_PHP_CONFIG)" || export PHP_CONFIG="$(CELERY_PHP_CONFIG)"; \
	target=$${CARGO_TARGET_DIR:-$(CELERY_ROOT)/target}; \
	(cd "$(CELERY_ROOT)" && "$(CARGO)" build --locked --profile $(CELERY_PROFILE) \
		--target-dir "$$target" -p celery-php); \
	case $(CELERY_PROFILE) in dev) folder=debug ;; *) folder=$(CELERY_PROFILE) ;; esac; \
	cd "$(CELERY_ROOT)"; \
	cp "$$target/$$folder/$(CELERY_LIBRARY)" "$(phplibdir)/celery.so"
