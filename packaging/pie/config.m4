dnl Builds the extension with Cargo for `phpize && ./configure && make && make install`, the commands
dnl that PIE runs in this folder. Cargo must be on the PATH or in its usual place, ~/.cargo/bin.

AC_PATH_PROG([CARGO], [cargo], [no], [$PATH:$HOME/.cargo/bin])
if test "$CARGO" = no; then
  rust=`sed -n 's/^rust-version = "\(.*\)"/\1/p' "$abs_srcdir/../../Cargo.toml"`
  AC_MSG_ERROR([cargo was not found; Rust $rust or newer is needed: https://rustup.rs])
fi
case `uname -s` in
  Darwin) CELERY_LIBRARY=libcelery.dylib ;;
  *) CELERY_LIBRARY=libcelery.so ;;
esac
CELERY_ROOT=`cd "$abs_srcdir/../.." && pwd`
CELERY_PHP_CONFIG=`command -v "$PHP_CONFIG"`
PHP_SUBST(CARGO)
PHP_SUBST(CELERY_LIBRARY)
PHP_SUBST(CELERY_ROOT)
PHP_SUBST(CELERY_PHP_CONFIG)
PHP_MODULES='$(phplibdir)/celery.so'
PHP_ADD_MAKEFILE_FRAGMENT([$abs_srcdir/Makefile.frag], [$abs_srcdir], [.])
